"""Measures recovery: from the kill of a worker to the next claim of each job it held.

No row says which process holds a job. But each claim makes a new token, a UUIDv7 that bears its moment, and a job of a
dead worker stays `running` under that token until its lease ends; and the two workers are given leases that differ by a
little (`installation.APART`), so the first `leased_until` seen tells whose claim it was. The kill that counts is the
first one of that worker after the claim. Where a claim was first seen after a heartbeat, it is the first kill of any
worker: that can only make recovery look longer than it was.
"""

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from uuid import UUID

from tests.chaos.torture.judging.ledger import Held, JobState, Ledger

POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Kill:
    """`kill -9` of a worker."""

    worker: str
    at: float


@dataclass(frozen=True, slots=True)
class Hold:
    """One claim of one job."""

    job: str
    name: str
    token: UUID
    claimed_at: float
    crashes: int
    worker: str | None


@dataclass(slots=True)
class Recoveries:
    """Follows every claim; knows nothing of threads or databases, so that a test can play one by hand."""

    lease: float
    apart: float
    workers: Sequence[str]
    kills: list[Kill] = field(default_factory=list)
    spans: list[float] = field(default_factory=list)
    unexplained: list[str] = field(default_factory=list)
    """Leases that ran out although nobody had killed their worker."""
    _holds: dict[str, Hold] = field(default_factory=dict)
    _orphans: dict[str, float] = field(default_factory=dict)

    def gone(self, running: Sequence[Held]) -> list[str]:
        """The jobs whose rows must be read, because they were followed and do not run now."""
        held = {each.job for each in running}
        return [job for job in {**self._holds, **self._orphans} if job not in held]

    def see(self, running: Sequence[Held], states: "dict[str, JobState]") -> None:
        """One look at the table: what runs, and the state of what `gone` named."""
        for job, state in states.items():
            self._ended(job, state)
        for held in running:
            self._running(held)

    @property
    def waiting(self) -> int:
        """Jobs of dead workers that nobody has claimed again yet."""
        return len(self._orphans)

    def _ended(self, job: str, state: JobState) -> None:
        hold = self._holds.pop(job, None)
        if hold is not None and state.crashes > hold.crashes:
            self._orphan(hold)
        if job in self._orphans and state.finished_at is not None:
            self._recovered(job, state.finished_at)

    def _running(self, held: Held) -> None:
        hold = self._holds.get(held.job)
        if hold is not None and hold.token == held.token:
            return
        if hold is not None and held.crashes > hold.crashes:
            self._orphan(hold)
        claimed_at = moment_of(held.token)
        if held.job in self._orphans:
            self._recovered(held.job, claimed_at)
        self._holds[held.job] = Hold(
            held.job, held.name, held.token, claimed_at, held.crashes, self._worker(held.until - claimed_at)
        )

    def _worker(self, lasts: float) -> str | None:
        for number, worker in enumerate(self.workers):
            if abs(lasts - self.lease - number * self.apart) < self.apart / 2:
                return worker
        return None

    def _orphan(self, hold: Hold) -> None:
        after = [kill.at for kill in self.kills if kill.at > hold.claimed_at]
        of_it = [kill.at for kill in self.kills if kill.at > hold.claimed_at and hold.worker in (None, kill.worker)]
        if not after:
            self.unexplained.append(f"{hold.name} {hold.job} claimed by {hold.worker}")
            return
        self._orphans[hold.job] = (of_it or after)[0]

    def _recovered(self, job: str, at: float) -> None:
        self.spans.append(max(0.0, at - self._orphans.pop(job)))


class LeaseWatcher(threading.Thread):
    """Looks at the table ten times a second, over a connection of its own."""

    def __init__(self, ledger: Callable[[], AbstractContextManager[Ledger]], recoveries: Recoveries) -> None:
        super().__init__(name="torture-watch", daemon=True)
        self._ledger = ledger
        self._recoveries = recoveries
        self._stopping = threading.Event()
        self.failure: Exception | None = None

    def run(self) -> None:
        try:
            with self._ledger() as ledger:
                while not self._stopping.wait(POLL_SECONDS):
                    running = ledger.held()
                    gone = self._recoveries.gone(running)
                    self._recoveries.see(running, dict(ledger.jobs(gone)))
        except Exception as error:  # noqa: BLE001 - whatever it is, the run must hear of it
            self.failure = error

    def close(self) -> None:
        self._stopping.set()
        self.join()


def moment_of(token: UUID) -> float:
    """When a UUIDv7 was made."""
    return (token.int >> 80) / 1000
