"""Recurring jobs: each slot of a schedule becomes exactly one job.

The primary key of `cron_slots` decides, in the transaction that stores the job, so any number of workers may insert at
the same time. A slot in the clock's future is never inserted, nor one that is not later than the last. Of several
missed slots only the latest becomes a job.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from recado.core.clock import Clock
from recado.core.database.engine import Database
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.errors import NotFound
from recado.core.ids import SYSTEM_OWNER, Ids
from recado.core.queue.job import Claim, Done, JobResult, NewJob, Replayed, ReplayRefused, StoredJob
from recado.core.queue.lane import HeldLanes, schedule_lane
from recado.core.queue.schedules import Schedule, When
from recado.core.queue.storage import enqueue, lanes, schedules, slots

CRON_PRIORITY = 9
"""After everything a customer waits for."""

AHEAD = timedelta(minutes=10)
"""A slot so far in the future was made by a clock that has been set back since. It is still to come."""

READ_SECONDS = 45.0
"""How often a process reads the table of schedules: a change by a person is in force within a minute."""


@dataclass(frozen=True, slots=True)
class ScheduleListing:
    """A schedule as people read it. It has no next slot while it is off."""

    schedule: Schedule
    last_slot: datetime | None
    next_slot: datetime | None


@dataclass(frozen=True, slots=True)
class _Slot:
    """A slot of a schedule, and until when no later slot is due."""

    schedule: Schedule
    begins: datetime
    until: datetime


class Cron:
    """Turns slots into jobs. `own` are this release's schedules; the table holds the ones in force."""

    def __init__(self, database: Database, clock: Clock, ids: Ids, own: Sequence[Schedule]) -> None:
        self._database = database
        self._clock = clock
        self._ids = ids
        self._own = own
        self._in_force: Sequence[Schedule] = ()
        self._read_at: float | None = None
        self._done: dict[str, _Slot] = {}

    async def insert_slots(self) -> int:
        """Store a job for each latest slot that has none yet. Return the number of jobs stored."""
        await self._refresh()
        now = self._clock.now()
        due = [slot for each in self._in_force if each.enabled and (slot := self._slot_due(each, now))]
        if not due:
            return 0
        made = await self._database.write(lambda uow: self._insert(uow, due, now), owner=None)
        self._done |= {slot.schedule.name: slot for slot in due}
        return made

    async def _refresh(self) -> None:
        """Read the table every `READ_SECONDS`. Store this release's schedules at the first time."""
        read_at = self._clock.monotonic()
        if self._read_at is not None and read_at - self._read_at < READ_SECONDS:
            return
        if self._read_at is None and await self._database.read(self._differs_from_release, owner=None):
            self._in_force = await self._database.write(lambda uow: schedules.update_own(uow, self._own), owner=None)
        else:
            self._in_force = await self._database.read(lambda uow: schedules.in_force(uow, self._own), owner=None)
        self._read_at = read_at

    def _differs_from_release(self, uow: UnitOfWork) -> bool:
        return schedules.differs_from_release(uow, self._own)

    def _slot_due(self, schedule: Schedule, now: datetime) -> _Slot | None:
        """Return the latest slot, unless this process has inserted it already."""
        done = self._done.get(schedule.name)
        if done is not None and done.schedule == schedule and done.begins - AHEAD < now < done.until:
            return None
        return _Slot(schedule, schedule.slot(now), schedule.next_slot(now))

    def _insert(self, uow: UnitOfWork, due: Sequence[_Slot], now: datetime) -> int:
        """Insert slots that are later than the last one, and store their jobs. Return the number of jobs.

        A clock that was set back a little, or a schedule that was just changed, repeats no slot. Slots far in the
        future do not count, because no job would be made until then. Those of an interval are deleted: a clock that was
        an hour ahead has made all of the next hour's. Those of a cron expression have had their job, though early.
        """
        uow.lock_by_name(
            "cron slots"
        )  # Two transactions at once must see each other's slots, not only refuse the same one.
        for slot in due:
            if isinstance(slot.schedule.when, timedelta):
                slots.forget_ahead(uow, slot.schedule.name, now + AHEAD)
        last = slots.last(uow, [slot.schedule.name for slot in due], now + AHEAD)
        wanted = [slot for slot in due if _is_later(slot, last, now)]
        new = slots.insert(uow, {slot.schedule.name: slot.begins for slot in wanted})
        jobs = [self._job(slot.schedule.name, now) for slot in wanted if slot.schedule.name in new]
        enqueue.add(lanes.hold_for(uow, jobs), jobs)
        return len(new)

    def _job(self, name: str, now: datetime) -> NewJob:
        return NewJob(
            id=self._ids.new(),
            name=name,
            owner_id=SYSTEM_OWNER,
            created_at=now,
            due_at=now,
            lane=schedule_lane(name),
            kind="schedule",
            priority=CRON_PRIORITY,
        )

    # --- For people ---------------------------------------------------------------------------------------------------

    async def list(self) -> Sequence[ScheduleListing]:
        """Return the schedules in force, with their last and next slots."""
        now = self._clock.now()
        return await self._database.read(lambda uow: self._listed(uow, now), owner=None)

    async def run(self, name: str) -> UUID:
        """Make a job of a schedule now, apart from its slots. Return the job's id. Raises `NotFound`."""
        self._require(name)
        job = self._job(name, self._clock.now())
        await self._database.write(lambda uow: enqueue.add(lanes.hold_for(uow, [job]), [job]), owner=None)
        return job.id

    async def set(self, name: str, *, when: When | None = None, enabled: bool | None = None) -> ScheduleListing:
        """Change a schedule from now on. What is None stays as it is. Raises `NotFound`."""
        own, now = self._require(name), self._clock.now()

        def work(uow: UnitOfWork) -> ScheduleListing:
            uow.lock_by_name("cron slots")
            [found] = schedules.in_force(uow, [own])
            changed = Schedule(name, when or found.when, found.enabled if enabled is None else enabled)
            stored = schedules.put(uow, changed, now)
            return _listed(stored, slots.last(uow, [name], now + AHEAD), now)

        return await self._database.write(work, owner=None)

    def _require(self, name: str) -> Schedule:
        for schedule in self._own:
            if schedule.name == name:
                return schedule
        raise NotFound(f"there is no schedule {name[:60]!r}; `recado cron list` shows them")

    def _listed(self, uow: UnitOfWork, now: datetime) -> Sequence[ScheduleListing]:
        last = slots.last(uow, [schedule.name for schedule in self._own], now + AHEAD)
        return [_listed(schedule, last, now) for schedule in schedules.in_force(uow, self._own)]


def _is_later(slot: _Slot, last: Mapping[str, datetime], now: datetime) -> bool:
    before, set_at = last.get(slot.schedule.name), slot.schedule.set_at
    in_force = set_at is None or slot.begins >= set_at or set_at > now + AHEAD
    return (before is None or slot.begins > before) and in_force


def _listed(schedule: Schedule, last: Mapping[str, datetime], now: datetime) -> ScheduleListing:
    return ScheduleListing(schedule, last.get(schedule.name), schedule.next_slot(now) if schedule.enabled else None)


class Sweep:
    """A handler of recurring jobs, for work that is safe at any time and any number of times."""

    time_limit = timedelta(minutes=5)

    def __init__(self, name: str, work: Callable[[], Awaitable[object]]) -> None:
        self.name = name
        self._work = work

    async def run(self, claim: Claim) -> JobResult:  # noqa: ARG002 - the job has no payload
        await self._work()
        return Done()

    def exhausted(self, held: HeldLanes, job: StoredJob, error: str, now: datetime, ids: Ids) -> None:
        """Do nothing: the next slot is the retry."""

    def replay(
        self,
        held: HeldLanes,  # noqa: ARG002
        job: StoredJob,
        *,
        force: bool,  # noqa: ARG002
        now: datetime,  # noqa: ARG002
        ids: Ids,  # noqa: ARG002
    ) -> Replayed | ReplayRefused:
        return ReplayRefused(job.id, "its schedule runs it again")

    def discarded(self, held: HeldLanes, job: StoredJob, now: datetime, ids: Ids) -> str | None:  # noqa: ARG002
        return None
