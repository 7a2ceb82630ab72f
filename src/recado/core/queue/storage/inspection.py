"""The queue as people and monitoring see it: figures, dead letters and single jobs."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import and_, bindparam, func, select, text

from recado.core.database.prepared import Prepared, Row, param
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.queue.job import Job
from recado.core.queue.storage.lanes import lock_lanes
from recado.core.queue.storage.leases import JOB_COLUMNS
from recado.core.queue.storage.tables import IS_UNFINISHED, lanes, message_queue


@dataclass(frozen=True, slots=True)
class QueueStats:
    """How the line looks now."""

    waiting: int
    running: int
    dead: int
    oldest_due_seconds: float


def stats(uow: UnitOfWork, now: datetime) -> QueueStats:
    counted = uow.all(
        select(message_queue.c.status, func.count().label("n")).where(IS_UNFINISHED).group_by(message_queue.c.status)
    )
    by_status = {row["status"]: int(row["n"]) for row in counted}
    dead = uow.execute(select(func.count()).select_from(message_queue).where(_LISTED)).scalar_one()
    oldest = uow.execute(
        select(lanes.c.next_due_at).where(lanes.c.next_due_at.is_not(None)).order_by(lanes.c.next_due_at).limit(1)
    ).scalar()
    late = max(0.0, (now - oldest).total_seconds()) if oldest is not None else 0.0
    return QueueStats(
        by_status.get("waiting", 0) + by_status.get("collecting", 0), by_status.get("running", 0), int(dead), late
    )


@dataclass(frozen=True, slots=True)
class Due:
    """Lanes whose head is due and runs nowhere (10,000 at most are counted), and how long the oldest of them waits."""

    lanes: int
    oldest_seconds: float


def due(uow: UnitOfWork, now: datetime) -> Due:
    heads = select(lanes.c.next_due_at).where(lanes.c.next_due_at <= now).order_by(lanes.c.next_due_at)
    line = heads.limit(10_000).subquery()
    count, oldest = uow.execute(select(func.count(), func.min(line.c.next_due_at)).select_from(line)).one()
    return Due(int(count), (now - oldest).total_seconds() if oldest is not None else 0.0)


_NOT_REPLAYED = message_queue.c.replayed_by.is_(None)
PAGE = 500
"""How many dead letters are read at a time."""
_LISTED = and_(message_queue.c.status == text("'dead'"), message_queue.c.discarded_at.is_(None), _NOT_REPLAYED)
_DEAD = Prepared(
    select(*JOB_COLUMNS)
    .where(
        _LISTED,
        message_queue.c.id > param(message_queue.c.id, "after"),
        message_queue.c.id <= param(message_queue.c.id, "last"),
    )
    .order_by(message_queue.c.id)
    .limit(bindparam("most"))
)
FIRST_ID, LAST_ID = UUID(int=0), UUID(int=2**128 - 1)


def dead_letters(uow: UnitOfWork, *, after: UUID = FIRST_ID, last: UUID = LAST_ID, limit: int = PAGE) -> list[Job]:
    """A page of what was given up and neither replayed nor discarded, oldest first: those after one, up to another."""
    return [_stored(row) for row in uow.rows(_DEAD, after=after, last=last, most=limit)]


@dataclass(frozen=True, slots=True)
class DeadLetterSummary:
    """How many are listed, and the newest of them; None when there are none."""

    count: int
    newest: UUID | None


def dead_summary(uow: UnitOfWork) -> DeadLetterSummary:
    (count,) = uow.execute(select(func.count()).select_from(message_queue).where(_LISTED)).one()
    newest = uow.first(select(message_queue.c.id).where(_LISTED).order_by(message_queue.c.id.desc()).limit(1))
    return DeadLetterSummary(int(count), newest["id"] if newest is not None else None)


def find(uow: UnitOfWork, job_id: UUID) -> Job | None:
    """Any job by its id."""
    for row in uow.rows(_FIND, id=job_id):
        return _stored(row)
    return None


def find_held(uow: UnitOfWork, job_id: UUID) -> Job | None:
    """Any job by its id, as it is once nobody else can change its lane."""
    job = find(uow, job_id)
    if job is None or uow.dialect == "sqlite":
        return job
    lock_lanes(uow, [job.lane])
    return find(uow, job_id)


_FIND = Prepared(select(*JOB_COLUMNS).where(message_queue.c.id == bindparam("id")))


def _stored(row: Row) -> Job:
    """A job that nobody may hold: it is given a lease that no claim can have made."""
    values = dict(zip((column.name for column in JOB_COLUMNS), row, strict=True))
    values["lease_token"] = values["lease_token"] or UUID(int=0)
    values["leased_until"] = values["leased_until"] or values["created_at"]
    return Job(**values)


def unfinished(uow: UnitOfWork) -> int:
    """How many jobs are not finished (for --drain)."""
    return int(uow.execute(select(func.count()).select_from(message_queue).where(IS_UNFINISHED)).scalar_one())
