"""Periodic work goes through the queue: a slot of a schedule becomes exactly one job, whoever notices it first.

The PRIMARY KEY of `cron_slots` decides, in the transaction that stores the job, so any number of workers may look at
the same moment. A slot in the clock's future is never inserted, and of several missed ones only the latest is made up
for.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete

from recado.core.clock import Clock
from recado.core.database.engine import Database
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.ids import SYSTEM_OWNER, Ids
from recado.core.queue import store
from recado.core.queue.job import Done, Job, JobResult, NewJob, Replayed, ReplayRefused
from recado.core.queue.tables import cron_slots

CRON_PRIORITY = 9
"""After everything a customer waits for."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Schedule:
    """Work that comes round: the name of its jobs, and how far apart its slots are."""

    name: str
    every: timedelta

    def slot(self, now: datetime) -> datetime:
        """The latest slot that is not in the future."""
        return now - (now - _EPOCH) % self.every


class Cron:
    """Turns slots into jobs."""

    def __init__(self, database: Database, clock: Clock, ids: Ids, schedules: Sequence[Schedule]) -> None:
        self._database = database
        self._clock = clock
        self._ids = ids
        self._schedules = schedules
        self._seen: dict[str, datetime] = {}

    @property
    def schedules(self) -> Sequence[Schedule]:
        return self._schedules

    async def insert_slots(self) -> int:
        """Store a job for each latest slot that has none yet; how many this call stored."""
        now = self._clock.now()
        due = [schedule for schedule in self._schedules if self._seen.get(schedule.name) != schedule.slot(now)]
        if not due:
            return 0
        made = await self._database.write(lambda uow: self._insert(uow, due, now), owner=None)
        self._seen |= {schedule.name: schedule.slot(now) for schedule in due}
        return made

    def _insert(self, uow: UnitOfWork, due: Sequence[Schedule], now: datetime) -> int:
        insert = uow.insert(cron_slots).on_conflict_do_nothing().returning(cron_slots.c.name)
        rows = [{"name": schedule.name, "slot": schedule.slot(now)} for schedule in due]
        new = {row[0] for row in uow.execute(insert, rows).all()}
        store.add(uow, [self._job(schedule, now) for schedule in due if schedule.name in new])
        return len(new)

    def _job(self, schedule: Schedule, now: datetime) -> NewJob:
        return NewJob(
            id=self._ids.new(),
            name=schedule.name,
            owner_id=SYSTEM_OWNER,
            created_at=now,
            due_at=now,
            lane=f"cron:{schedule.name}",
            priority=CRON_PRIORITY,
        )


class Sweep:
    """A handler of cron jobs: does one round of something that is safe to do at any time, and any number of times."""

    time_limit = timedelta(minutes=5)

    def __init__(self, name: str, work: Callable[[], Awaitable[object]]) -> None:
        self.name = name
        self._work = work

    async def run(self, job: Job) -> JobResult:  # noqa: ARG002 - a round has no payload
        await self._work()
        return Done()

    def exhausted(self, uow: UnitOfWork, job: Job, error: str) -> None:
        """The next slot is the retry."""

    def replay(self, uow: UnitOfWork, job: Job, *, force: bool) -> Replayed | ReplayRefused:  # noqa: ARG002
        return ReplayRefused(job.id, "it comes round again by itself")

    def discarded(self, uow: UnitOfWork, job: Job) -> str | None:  # noqa: ARG002
        return None


def forget_slots(uow: UnitOfWork, before: datetime) -> None:
    """Slots older than any that could still be inserted."""
    uow.execute(delete(cron_slots).where(cron_slots.c.slot < before))
