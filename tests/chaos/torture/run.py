"""One torture from beginning to end: set up, strike and revive under load, let it settle, judge."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Final, TypeVar

from recado.core.clock import SystemClock
from recado.core.errors import StorageUnavailable
from tests.chaos.torture.faults import SERVERS_WEATHER, Executioner, blows
from tests.chaos.torture.installation import APART, SHOPS, WORKERS, Scene, environment
from tests.chaos.torture.judging.journal import records
from tests.chaos.torture.judging.leases import Recoveries, Watch
from tests.chaos.torture.judging.ledger import Counts, Ledger
from tests.chaos.torture.judging.oracle import Twilio, judge
from tests.chaos.torture.judging.report import Outcome, Spans
from tests.chaos.torture.outside.load import Load
from tests.chaos.torture.outside.operator import Reception
from tests.chaos.torture.pace import Pace
from tests.chaos.torture.processes import Process, Target
from tests.chaos.torture.servers import Servers

T = TypeVar("T")

READY_SECONDS: Final = 60.0
LOOK_SECONDS: Final = 0.05
SETTLE_SECONDS: Final = 1800.0
STANDSTILL_SECONDS: Final = 420.0
"""The drain is given up when nothing has moved for so long: a send that needs two minutes of proof, twice, is no news
for longer than anything else, and a lease may have to end before it."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What was asked for."""

    cycles: int
    seed: int
    lease: float
    rate: float
    every: tuple[float, float]
    """Both are for a machine on which a process takes a second to start; `Pace` stretches them to this one."""
    backend: str
    database: str


Say = Callable[[str], None]


class Torture:
    """The processes of one run; `play` may be called once."""

    def __init__(self, plan: Plan, directory: Path, say: Say, servers: Servers) -> None:
        self._plan = plan
        self._say = say
        self._servers = servers.targets
        self._scene = Scene.at(directory, plan.seed, plan.lease, plan.backend, servers)
        self._clock = SystemClock()
        self._begun = self._clock.monotonic()
        self._recoveries = Recoveries(plan.lease, APART, WORKERS)
        self._outcome = Outcome(plan.seed, 0, plan.backend, plan.database, plan.lease)
        self._pause = threading.Event()
        self._told_at = 0.0
        self._pace = Pace(1.0)
        self._known = Counts(0, 0, 0, 0, unfinished=1)
        self._reception = Reception(self._scene.env(plan.lease), plan.seed)

    def play(self) -> Outcome:
        """Everything; processes are stopped whatever happens."""
        with ExitStack() as stack:
            processes = self._started(stack)
            watch = Watch(self._scene.ledger, self._recoveries)
            load = Load(self._scene, lambda: self._plan.rate / self._pace.unit)
            watch.start()
            load.start()
            try:
                executioner = Executioner(processes, self._recoveries.kills, self._plan.seed)
                self._outcome.blows = executioner.dealt
                self._strike(executioner, load)
                self._settle(executioner, load)
            except KeyboardInterrupt:
                self._outcome.interrupted = True
                self._say("interrupted: judging what there is")
            finally:
                watch.close()
            for failure in (watch.failure, load.failure):
                if failure is not None:
                    raise failure
            self._outcome.surprises += [each for process in processes.values() for each in process.surprises]
        return self._judged(load)

    # --- Before -------------------------------------------------------------------------------------------------------

    def _started(self, stack: ExitStack) -> dict[str, Target]:
        scene = self._scene
        scene.furnish()
        (scene.directory / "env").write_text(environment(scene.env(scene.lease)))
        provider, product = scene.provider(), scene.product()
        for process in provider:
            stack.callback(process.stop)
            process.start()
        self._until(lambda: self._answers(scene.introduce), provider[0])
        for process in product:
            stack.callback(process.stop)
            process.start()
        begun = self._clock.monotonic()
        self._until(scene.serves, product[0])
        self._pace = Pace(self._clock.monotonic() - begun)
        processes: dict[str, Target] = {process.name: process for process in (*provider, *product)}
        return processes | dict(self._servers)

    def _answers(self, call: Callable[[], None]) -> bool:
        try:
            call()
        except (OSError, HTTPException, json.JSONDecodeError):
            return False
        return True

    def _until(self, done: Callable[[], bool], process: Process) -> None:
        end = self._clock.monotonic() + READY_SECONDS
        while not done():
            if self._clock.monotonic() > end or not process.lives:
                raise RuntimeError(f"{process.name} did not come up; {process.last_words}")
            self._pause.wait(LOOK_SECONDS)

    # --- The torture --------------------------------------------------------------------------------------------------

    def _strike(self, executioner: Executioner, load: Load) -> None:
        last = self._clock.monotonic()
        with self._scene.ledger_now() as ledger:
            skies = {sky: share for name in self._servers for sky, share in SERVERS_WEATHER[name].items()}
            for blow in blows(self._plan.seed, self._plan.cycles, self._plan.every, skies):
                while (now := self._clock.monotonic()) < last + blow.after * self._pace.unit:
                    executioner.tend(self._clock.now().timestamp(), now)
                    self._pace.look(executioner.incarnation("api"), self._scene.serves, now)
                    self._outcome.units.append(self._pace.unit)
                    self._reception.tend(lambda: self._seen(ledger.peoples, []), now, self._pace.unit)
                    self._progress(ledger, load)
                    self._pause.wait(LOOK_SECONDS)
                last = now
                executioner.strike(blow, self._clock.now().timestamp(), now)
                executioner.tend(self._clock.now().timestamp(), now)
                self._outcome.cycles += 1
                if load.failure is not None:
                    return

    def _settle(self, executioner: Executioner, load: Load) -> None:
        """Fine weather and two workers, until nothing is open; bounded, for what is stuck stays stuck."""
        begun = self._clock.monotonic()
        executioner.clear_up()
        self._reception.close()
        load.close(40.0, lambda: executioner.tend(self._clock.now().timestamp(), self._clock.monotonic()))
        self._scene.heal()
        with self._scene.ledger_now() as ledger:
            before, moved = self._counts(ledger), begun
            while not before.quiet:
                if (now := self._clock.monotonic()) > min(moved + STANDSTILL_SECONDS, begun + SETTLE_SECONDS):
                    break
                executioner.tend(self._clock.now().timestamp(), now)
                self._progress(ledger, load, "settling")
                self._pause.wait(0.2)
                if (counts := self._counts(ledger)) != before:
                    before, moved = counts, now
            self._outcome.unfinished = self._seen(ledger.unfinished, ["the database was gone at the end"])
        self._outcome.drained_in = self._clock.monotonic() - begun

    def _progress(self, ledger: Ledger, load: Load, doing: str = "") -> None:
        now = self._clock.monotonic()
        if now < self._told_at + 1.0:
            return
        self._told_at = now
        found, elapsed = self._counts(ledger), now - self._begun
        done, left = self._outcome.cycles, self._plan.cycles - self._outcome.cycles
        eta = left * sum(self._plan.every) / 2 * self._pace.unit
        self._say(
            f"{doing or 'cycle'} {done}/{self._plan.cycles} · accepted {len(load.accepted)} · stored {found.stored} · "
            f"open {found.open} · unknown sends {found.unknown} · orphaned jobs {self._recoveries.waiting} · "
            f"{elapsed:.0f} s" + (f", about {eta:.0f} s to go" if left else "")
        )

    def _counts(self, ledger: Ledger) -> Counts:
        self._known = self._seen(ledger.counts, self._known)
        return self._known

    def _seen(self, look: Callable[[], T], otherwise: T) -> T:
        """What the database says; while it is gone, something else."""
        try:
            return look()
        except StorageUnavailable:
            return otherwise

    # --- After --------------------------------------------------------------------------------------------------------

    def _judged(self, load: Load) -> Outcome:
        """Every process has ended; what is written now is all there will ever be."""
        outcome, scene = self._outcome, self._scene
        twilio = Twilio.of(records(scene.twilio_journal))
        outcome.written, outcome.unaccepted = load.written, load.given_up
        outcome.statuses = twilio.statuses
        outcome.given_back, outcome.not_taken_back = self._reception.given_back, self._reception.refused
        with scene.ledger() as ledger:
            prefers = {shop.number for shop in SHOPS if shop.prefers_delivery}
            outcome.verdict = judge(twilio, ledger.messages(), prefers)
            outcome.unknown = Spans.of(ledger.unknowns())
            outcome.unknown_left = ledger.counts().unknown
            outcome.sound = ledger.sound()
        outcome.violations = self._violations()
        outcome.recovery = Spans.of(self._recoveries.spans)
        outcome.unrecovered = self._recoveries.waiting
        outcome.unexplained = self._recoveries.unexplained
        outcome.seconds = self._clock.monotonic() - self._begun
        return outcome

    def _violations(self) -> list[str]:
        """What `recado verify` finds: the command itself, as an operator would type it."""
        ran = subprocess.run(
            [sys.executable, "-m", "recado", "verify", "--json"],
            env=self._scene.env(self._scene.lease),
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        try:
            found = json.loads(ran.stdout)["violations"]
        except (json.JSONDecodeError, KeyError):
            return [f"recado verify failed: {ran.stderr[-500:]}"]
        return [f"{each['message_sid']}: {each['why']}" for each in found]
