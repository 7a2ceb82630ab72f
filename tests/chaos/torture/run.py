"""One torture from beginning to end: set up, strike and revive under load, let it settle, judge."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Final, TypeVar

from recado.core.clock import SystemClock
from recado.core.errors import StorageUnavailable
from tests.chaos.torture.faults import SERVER_DISTURBANCES, FaultInjector, faults
from tests.chaos.torture.installation import APART, SHOPS, WORKERS, Installation, environment
from tests.chaos.torture.judging.events import judge_events
from tests.chaos.torture.judging.journal import records
from tests.chaos.torture.judging.leases import LeaseWatcher, Recoveries
from tests.chaos.torture.judging.ledger import Counts, Ledger
from tests.chaos.torture.judging.oracle import Twilio, judge
from tests.chaos.torture.judging.report import Outcome, Percentiles
from tests.chaos.torture.outside.load import Load
from tests.chaos.torture.outside.operator import Operator
from tests.chaos.torture.pace import MachinePace
from tests.chaos.torture.processes import Process, Target
from tests.chaos.torture.servers import Servers
from tests.chaos.torture.telling import ENDPOINT, Telling, newest_of

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
    """Both are for a machine on which a process takes a second to start; `MachinePace` stretches them to this one."""
    backend: str
    database: str
    tells: bool = False
    """Whether the shops' own programs are told what happens."""


Progress = Callable[[str], None]


class Torture:
    """The processes of one run; `play` may be called once."""

    def __init__(self, plan: Plan, directory: Path, say: Progress, servers: Servers) -> None:
        self._plan = plan
        self._say = say
        self._servers = servers.targets
        self._installation = Installation.at(directory, plan.seed, plan.lease, plan.backend, servers, tells=plan.tells)
        self._clock = SystemClock()
        self._begun = self._clock.monotonic()
        self._recoveries = Recoveries(plan.lease, APART, WORKERS)
        self._outcome = Outcome(plan.seed, 0, plan.backend, plan.database, plan.lease)
        self._pause = threading.Event()
        self._reported_at = 0.0
        self._pace = MachinePace(1.0)
        self._known = Counts(0, 0, 0, 0, unfinished=1)
        env = self._installation.env(plan.lease)
        self._operator = Operator(env, plan.seed, lambda held: ["conversations", "release", held])
        self._telling: Telling | None = None
        self._switcher = Operator(env, plan.seed, self._switch_on)

    def play(self) -> Outcome:
        """Everything; processes are stopped whatever happens."""
        with ExitStack() as stack:
            processes = self._start(stack)
            watch = LeaseWatcher(self._installation.ledger, self._recoveries)
            load = Load(self._installation, lambda: self._plan.rate / self._pace.unit)
            watch.start()
            load.start()
            if self._telling is not None:
                self._telling.start()
            try:
                injector = FaultInjector(processes, self._recoveries.kills, self._plan.seed)
                self._outcome.faults = injector.injected
                self._inject(injector, load)
                self._drain(injector, load)
            except KeyboardInterrupt:
                self._outcome.interrupted = True
                self._say("interrupted: judging what there is")
            finally:
                watch.close()
            told = () if self._telling is None else self._telling.failures
            for failure in (watch.failure, load.failure, *told):
                if failure is not None:
                    raise failure
            self._outcome.surprises += [each for process in processes.values() for each in process.surprises]
        return self._judge(load)

    # --- Before -------------------------------------------------------------------------------------------------------

    def _start(self, stack: ExitStack) -> dict[str, Target]:
        installation = self._installation
        installation.create_owners()
        if self._plan.tells:
            self._telling = Telling(installation.programs, installation.api_port, self._plan.seed)
        (installation.directory / "env").write_text(environment(installation.env(installation.lease)))
        provider, product = installation.provider(), installation.product()
        for process in provider:
            stack.callback(process.stop)
            process.start()
        self._until(lambda: self._answers(installation.register_numbers), provider[0])
        for process in product:
            stack.callback(process.stop)
            process.start()
        begun = self._clock.monotonic()
        self._until(installation.serves, product[0])
        self._pace = MachinePace(self._clock.monotonic() - begun)
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

    def _inject(self, injector: FaultInjector, load: Load) -> None:
        last = self._clock.monotonic()
        with self._installation.ledger_now() as ledger:
            others = [*self._servers, *([ENDPOINT] if self._plan.tells else [])]
            disturbances = {what: share for name in others for what, share in SERVER_DISTURBANCES[name].items()}
            for fault in faults(self._plan.seed, self._plan.cycles, self._plan.every, disturbances):
                while (now := self._clock.monotonic()) < last + fault.after * self._pace.unit:
                    injector.restart_ended(self._clock.now().timestamp(), now)
                    self._pace.sample(injector.incarnation("api"), self._installation.serves, now)
                    self._outcome.units.append(self._pace.unit)
                    self._operator.work(lambda: self._when_reachable(ledger.peoples, []), now, self._pace.unit)
                    self._switch_on_again(ledger.switched_off, now)
                    self._progress(ledger, load)
                    self._pause.wait(LOOK_SECONDS)
                last = now
                injector.inject(fault, self._clock.now().timestamp(), now)
                injector.restart_ended(self._clock.now().timestamp(), now)
                self._outcome.cycles += 1
                if load.failure is not None:
                    return

    def _drain(self, injector: FaultInjector, load: Load) -> None:
        """Let two workers run without faults until nothing is open; bounded, for what is stuck stays stuck."""
        begun = self._clock.monotonic()
        injector.stop_faults()
        self._operator.close()
        load.close(40.0, lambda: injector.restart_ended(self._clock.now().timestamp(), self._clock.monotonic()))
        self._installation.heal()
        with self._installation.ledger_now() as ledger:
            self._settle(injector, load, ledger, begun)
            self._outcome.unfinished = self._when_reachable(ledger.unfinished, ["the database was gone at the end"])
            self._switcher.close()
            if self._telling is not None:
                self._telling.close(newest_of(self._when_reachable(ledger.events, [])))
        self._outcome.drained_in = self._clock.monotonic() - begun

    def _settle(self, injector: FaultInjector, load: Load, ledger: Ledger, begun: float) -> None:
        before, moved = self._counts(ledger), begun
        while not before.quiet:
            if (now := self._clock.monotonic()) > min(moved + STANDSTILL_SECONDS, begun + SETTLE_SECONDS):
                return
            injector.restart_ended(self._clock.now().timestamp(), now)
            self._switch_on_again(ledger.left_alone, now)
            self._progress(ledger, load, "settling")
            self._pause.wait(0.2)
            if (counts := self._counts(ledger)) != before:
                before, moved = counts, now

    def _switch_on_again(self, waiting: Callable[[], list[str]], now: float) -> None:
        """Switch on an endpoint that has answered 410; when all is well again also one that was failing."""
        if self._telling is not None:
            self._switcher.work(lambda: self._when_reachable(waiting, []), now, self._pace.unit)

    def _switch_on(self, endpoint_id: str) -> Sequence[str]:
        assert self._telling is not None
        return self._telling.switch_on(endpoint_id)

    def _progress(self, ledger: Ledger, load: Load, doing: str = "") -> None:
        now = self._clock.monotonic()
        if now < self._reported_at + 1.0:
            return
        self._reported_at = now
        found, elapsed = self._counts(ledger), now - self._begun
        done, left = self._outcome.cycles, self._plan.cycles - self._outcome.cycles
        eta = left * sum(self._plan.every) / 2 * self._pace.unit
        self._say(
            f"{doing or 'cycle'} {done}/{self._plan.cycles} · accepted {len(load.accepted)} · stored {found.stored} · "
            f"open {found.open} · unknown sends {found.unknown} · orphaned jobs {self._recoveries.waiting} · "
            f"{elapsed:.0f} s" + (f", about {eta:.0f} s to go" if left else "")
        )

    def _counts(self, ledger: Ledger) -> Counts:
        self._known = self._when_reachable(ledger.counts, self._known)
        return self._known

    def _when_reachable(self, query: Callable[[], T], otherwise: T) -> T:
        """What the database says; while it is gone, something else."""
        try:
            return query()
        except StorageUnavailable:
            return otherwise

    # --- After --------------------------------------------------------------------------------------------------------

    def _judge(self, load: Load) -> Outcome:
        """Every process has ended; what is written now is all there will ever be."""
        outcome, installation = self._outcome, self._installation
        twilio = Twilio.of(records(installation.twilio_journal))
        outcome.written, outcome.unaccepted = load.written, load.given_up
        outcome.statuses = twilio.statuses
        outcome.given_back, outcome.not_taken_back = self._operator.done, self._operator.refused
        with installation.ledger() as ledger:
            prefers = {shop.number for shop in SHOPS if shop.prefers_delivery}
            outcome.verdict = judge(twilio, ledger.messages(), prefers)
            outcome.unknown = Percentiles.of(ledger.unknowns())
            outcome.unknown_left = ledger.counts().unknown
            self._judge_telling(ledger)
            outcome.sound = ledger.sound()
        outcome.violations = self._violations()
        outcome.recovery = Percentiles.of(self._recoveries.spans)
        outcome.unrecovered = self._recoveries.waiting
        outcome.unexplained = self._recoveries.unexplained
        outcome.seconds = self._clock.monotonic() - self._begun
        return outcome

    def _judge_telling(self, ledger: Ledger) -> None:
        if self._telling is not None:
            self._outcome.switched_on = self._switcher.done
            received = records(self._installation.endpoint_journal)
            self._outcome.events = judge_events(ledger.events(), ledger.told(), received, self._telling.read())

    def _violations(self) -> list[str]:
        """What `recado verify` finds: the command itself, as an operator would type it."""
        ran = subprocess.run(
            [sys.executable, "-m", "recado", "verify", "--json"],
            env=self._installation.env(self._installation.lease),
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
