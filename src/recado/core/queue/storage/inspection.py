"""The queue as people and monitoring see it: figures, dead letters and single jobs."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import and_, bindparam, func, not_, select, text

from recado.core.database.pages import FIRST_ID, LAST_ID
from recado.core.database.prepared import Prepared, param
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.queue.job import BACKGROUND_PRIORITY, StoredJob
from recado.core.queue.lane import HeldLanes
from recado.core.queue.storage import lanes
from recado.core.queue.storage.leases import JOB_COLUMNS
from recado.core.queue.storage.tables import IS_UNFINISHED, message_queue
from recado.core.queue.storage.tables import lanes as lanes_table


@dataclass(frozen=True, slots=True)
class QueueStats:
    """Figures of the queue: jobs by status, and how late the oldest due job is of those not in the background."""

    waiting: int
    running: int
    dead: int
    oldest_due_seconds: float


def stats(uow: UnitOfWork, now: datetime) -> QueueStats:
    """Return the figures of the queue."""
    counted = uow.all(
        select(message_queue.c.status, func.count().label("n")).where(IS_UNFINISHED).group_by(message_queue.c.status)
    )
    by_status = {row["status"]: int(row["n"]) for row in counted}
    dead = uow.execute(select(func.count()).select_from(message_queue).where(LISTED)).scalar_one()
    oldest = uow.execute(
        select(lanes_table.c.next_due_at)
        .where(lanes_table.c.next_due_at.is_not(None), lanes_table.c.next_priority != BACKGROUND_PRIORITY)
        .order_by(lanes_table.c.next_due_at)
        .limit(1)
    ).scalar()
    late = max(0.0, (now - oldest).total_seconds()) if oldest is not None else 0.0
    return QueueStats(
        by_status.get("waiting", 0) + by_status.get("collecting", 0), by_status.get("running", 0), int(dead), late
    )


_NEXT_DUE = Prepared(
    select(lanes_table.c.next_due_at)
    .where(lanes_table.c.next_due_at > bindparam("now"))
    .order_by(lanes_table.c.next_due_at)
    .limit(1)
)


def next_due_after(uow: UnitOfWork, now: datetime) -> datetime | None:
    """Return when the next job becomes due after a moment, or None when none is planned."""
    for (due_at,) in uow.rows(_NEXT_DUE, now=now):
        found: datetime = due_at
        return found
    return None


@dataclass(frozen=True, slots=True)
class Due:
    """Lanes with a due head and no running job (counted up to 10,000), and how long the oldest has waited."""

    lanes: int
    oldest_seconds: float


def due(uow: UnitOfWork, now: datetime) -> Due:
    """Return how much could be claimed now."""
    heads = (
        select(lanes_table.c.next_due_at).where(lanes_table.c.next_due_at <= now).order_by(lanes_table.c.next_due_at)
    )
    line = heads.limit(10_000).subquery()
    count, oldest = uow.execute(select(func.count(), func.min(line.c.next_due_at)).select_from(line)).one()
    return Due(int(count), (now - oldest).total_seconds() if oldest is not None else 0.0)


_NOT_REPLAYED = message_queue.c.replayed_by.is_(None)
PAGE = 500
"""How many dead letters are read at a time."""
LISTED = and_(message_queue.c.status == text("'dead'"), message_queue.c.discarded_at.is_(None), _NOT_REPLAYED)
_DEAD = Prepared(
    select(*JOB_COLUMNS)
    .where(
        LISTED,
        message_queue.c.id > param(message_queue.c.id, "after"),
        message_queue.c.id <= param(message_queue.c.id, "last"),
    )
    .order_by(message_queue.c.id)
    .limit(bindparam("most"))
)


def dead_letters(
    uow: UnitOfWork, *, after: UUID = FIRST_ID, last: UUID = LAST_ID, limit: int = PAGE
) -> list[StoredJob]:
    """Return a page of dead letters that were neither replayed nor discarded, oldest first.

    The page begins behind the id `after` and goes up to `last`.
    """
    return [StoredJob(*row) for row in uow.rows(_DEAD, after=after, last=last, most=limit)]


_DEAD_IDS = Prepared(
    select(message_queue.c.id)
    .where(message_queue.c.status == text("'dead'"), message_queue.c.id > param(message_queue.c.id, "after"))
    .order_by(message_queue.c.id)
    .limit(bindparam("most"))
)


def dead_ids(uow: UnitOfWork, after: UUID) -> list[UUID]:
    """Return a page of all dead letters behind the id `after`, also of those that were replayed or discarded."""
    return [id_ for (id_,) in uow.rows(_DEAD_IDS, after=after, most=PAGE)]


@dataclass(frozen=True, slots=True)
class DeadLetterSummary:
    """The number of listed dead letters, and the newest of them if there is one."""

    count: int
    newest: UUID | None


def dead_summary(uow: UnitOfWork) -> DeadLetterSummary:
    """Return the number of dead letters that were neither replayed nor discarded, and the newest."""
    (count,) = uow.execute(select(func.count()).select_from(message_queue).where(LISTED)).one()
    newest = uow.first(select(message_queue.c.id).where(LISTED).order_by(message_queue.c.id.desc()).limit(1))
    return DeadLetterSummary(int(count), newest["id"] if newest is not None else None)


def find(uow: UnitOfWork, job_id: UUID) -> StoredJob | None:
    """Return any job by its id."""
    for row in uow.rows(_FIND, id=job_id):
        return StoredJob(*row)
    return None


@dataclass(frozen=True, slots=True)
class Deed:
    """What a person did with a dead letter, if anything."""

    replayed_by: UUID | None
    discarded_at: datetime | None


_DEED = Prepared(
    select(message_queue.c.replayed_by, message_queue.c.discarded_at).where(message_queue.c.id == bindparam("id"))
)


def deed_of(uow: UnitOfWork, job_id: UUID) -> Deed:
    """Return what a person did with a job that is there."""
    [row] = uow.rows(_DEED, id=job_id)
    return Deed(*row)


def hold_job(uow: UnitOfWork, job_id: UUID) -> tuple[HeldLanes, StoredJob] | None:
    """Hold the lane of a job, then return the job as it is now.

    A job that has ended may have no lane any more: then its own row is what keeps two people apart.
    """
    found = find(uow, job_id)
    if found is None:
        return None
    held = lanes.hold(uow, [found.lane])
    for row in uow.rows(_FIND_LOCKED, id=job_id):
        return held, StoredJob(*row)
    return None


_BY_ID = select(*JOB_COLUMNS).where(message_queue.c.id == bindparam("id"))
_FIND = Prepared(_BY_ID)
_FIND_LOCKED = Prepared(_BY_ID.with_for_update())


def unfinished(uow: UnitOfWork, now: datetime) -> int:
    """Return the number of unfinished jobs, without those in the background whose lane waits for another try."""
    of_lane = lanes_table.c.lane == message_queue.c.lane
    later = select(lanes_table.c.lane).where(of_lane, lanes_table.c.next_due_at > now)
    waits = and_(message_queue.c.priority == BACKGROUND_PRIORITY, later.exists())
    counted = select(func.count()).select_from(message_queue).where(IS_UNFINISHED, not_(waits))
    return int(uow.execute(counted).scalar_one())


_UNFINISHED_OF = Prepared(
    select(message_queue.c.id)
    .where(
        IS_UNFINISHED,
        message_queue.c.owner_id == bindparam("owner_id"),
        text(f"(message_queue.priority <> {BACKGROUND_PRIORITY} OR message_queue.status = 'running')"),
    )
    .limit(1)
)


def has_unfinished(uow: UnitOfWork, owner_id: UUID) -> bool:
    """Return whether an owner has a job that waits or runs. One in the background counts only while it runs."""
    return bool(uow.rows(_UNFINISHED_OF, owner_id=owner_id))
