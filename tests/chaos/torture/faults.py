"""What is done to which process, drawn from the seed: one fault a cycle, and now and then a disturbance beside it.

A disturbance is not counted as a cycle: the model's server is killed (it refuses connections until it is back) or
suspended, or the emulator is suspended. A process that was killed is started again at once.
"""

import random
import signal
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from recado.core.queue.crash import CRASH_POINTS
from tests.chaos.torture.installation import WORKERS
from tests.chaos.torture.judging.leases import Kill
from tests.chaos.torture.processes import Target

ARMED: Final = 0.2
"""The share of starts after which a process kills itself at the first crash point it comes to."""
POINTS: Final[Mapping[str, Sequence[str]]] = {
    "api": ["after_accept"],
    **{worker: [point for point in CRASH_POINTS if point != "after_accept"] for worker in WORKERS},
}

_FAULTS: Mapping[str, int] = {
    "api": 22,
    "worker-1": 27,
    "worker-2": 27,
    "both workers": 7,
    "everything": 4,
    "worker-1 SIGTERM": 4,
    "worker-2 SIGTERM": 4,
    "api SIGTERM": 5,
}
_DISTURBANCES: Mapping[str, int] = {"none": 88, "model killed": 4, "model stands still": 4, "emulator stands still": 4}
SERVER_DISTURBANCES: Final[Mapping[str, Mapping[str, int]]] = {
    "postgres": {"postgres killed": 6, "postgres stands still": 2},
    "redis": {"redis killed": 6, "redis stands still": 4, "redis flushed": 6, "redis full": 4},
    "sqs": {"sqs killed": 5, "sqs stands still": 5},
    "endpoint": {"endpoint killed": 10, "endpoint stands still": 6},
}
"""What else there is to hit, by the server that a run has beside our processes."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One cycle: how long to wait before it, which processes it hits, how, and the disturbance."""

    after: float
    name: str
    disturbance: str
    lasts: float

    @property
    def targets(self) -> tuple[str, ...]:
        match self.name:
            case "both workers":
                return WORKERS
            case "everything":
                return ("api", *WORKERS)
        return (self.name.removesuffix(" SIGTERM"),)

    @property
    def signal(self) -> signal.Signals:
        return signal.SIGTERM if self.name.endswith("SIGTERM") else signal.SIGKILL


def faults(
    seed: int, cycles: int, every: tuple[float, float], disturbance: Mapping[str, int] | None = None
) -> list[Fault]:
    """The whole torture, known before it begins; `disturbance` is what else there is to hit."""
    disturbance = {**_DISTURBANCES, **(disturbance or {})}
    chance = random.Random(f"faults {seed}")  # noqa: S311 - no secret
    names, weights = list(_FAULTS), list(_FAULTS.values())
    disturbances, likely = list(disturbance), list(disturbance.values())
    return [
        Fault(
            chance.uniform(*every),
            chance.choices(names, weights)[0],
            chance.choices(disturbances, likely)[0],
            chance.uniform(0.3, 4.0),
        )
        for _ in range(cycles)
    ]


class FaultInjector:
    """Inject faults, restart what has ended, and resume what is suspended when its time is over."""

    def __init__(self, processes: Mapping[str, Target], kills: list[Kill], seed: int) -> None:
        self._processes = processes
        self._chance = random.Random(f"arms {seed}")  # noqa: S311 - no secret
        self._kills = kills
        self._still: dict[str, float] = {}
        self._stopped = False
        self.injected: Counter[str] = Counter()

    def inject(self, fault: Fault, now: float, monotonic: float) -> None:
        for target in fault.targets:
            if self._processes[target].inject(fault.signal) and target in WORKERS and fault.signal is signal.SIGKILL:
                self._kills.append(Kill(target, now))
        self.injected[fault.name] += 1
        who, _, what = fault.disturbance.partition(" ")
        if what and who not in self._still:
            self.injected[fault.disturbance] += 1
            self._processes[who].disturb(what)
            self._still[who] = monotonic + fault.lasts

    def incarnation(self, name: str) -> int:
        """How often a process has been started."""
        return self._processes[name].incarnation

    def restart_ended(self, now: float, monotonic: float) -> None:
        """Start what has ended, unless it is meant to be away for a while."""
        for who in [name for name, until in self._still.items() if until <= monotonic]:
            del self._still[who]
            self._processes[who].clear()
        for name, process in self._processes.items():
            if name not in self._still and not process.lives:
                if process.killed_itself:
                    self._reached_crash_point(process, now)
                process.start_again(self._crash_point(name))

    def stop_faults(self) -> None:
        """Stop the faults: resume what is suspended, and start again without it what is armed with a crash point."""
        for who in self._still:
            self._processes[who].clear()
        self._still.clear()
        for process in self._processes.values():
            if process.armed is not None:
                process.inject(signal.SIGTERM)
        self._stopped = True

    def _reached_crash_point(self, process: Target, now: float) -> None:
        self.injected[f"itself {process.armed}"] += 1
        if process.name in WORKERS:
            self._kills.append(Kill(process.name, now))

    def _crash_point(self, name: str) -> str | None:
        """The crash point a process is started with: at these places a random kill hardly ever hits."""
        if self._stopped or name not in POINTS or self._chance.random() >= ARMED:
            return None
        return self._chance.choice(POINTS[name])
