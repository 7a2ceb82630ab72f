"""Which jobs a wake-up was published for, and how often.

These columns change without holding lanes: they decide nothing about a job, only when a broker is told of it again.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Integer, bindparam, select, text

from recado.core.database.prepared import Prepared, param
from recado.core.database.unit_of_work import STEP, UnitOfWork
from recado.core.queue.lane import Lane
from recado.core.queue.storage.tables import UNFINISHED, message_queue


@dataclass(frozen=True, slots=True)
class DispatchState:
    """When a job's last wake-up was published, and what the next one depends on."""

    job_id: UUID
    dispatched_at: datetime | None
    dispatches: int
    attempts: int
    crashes: int


_STATE = Prepared(
    select(
        message_queue.c.id,
        message_queue.c.dispatched_at,
        message_queue.c.dispatches,
        message_queue.c.attempts,
        message_queue.c.crashes,
    ).where(text("id IN (VALUES (:job))").bindparams(bindparam("job", type_=message_queue.c.id.type)))
)
_MARK = Prepared(
    text(
        """
WITH given (job, before, at) AS (VALUES (:job, :before, :at))
UPDATE message_queue SET dispatched_at = given.at, dispatches = dispatches + 1
FROM given WHERE message_queue.id = given.job AND dispatches = given.before AND status IN ('collecting', 'waiting')
RETURNING id, lane, dispatches
"""
    )
    .bindparams(
        param(message_queue.c.id, "job"),
        param(message_queue.c.dispatches, "before"),
        param(message_queue.c.dispatched_at, "at"),
    )
    .columns(message_queue.c.id, message_queue.c.lane, message_queue.c.dispatches)
)
_LOCK = Prepared(
    text("SELECT id FROM message_queue WHERE id IN (VALUES (:job)) ORDER BY id FOR UPDATE SKIP LOCKED")
    .bindparams(bindparam("job", type_=message_queue.c.id.type))
    .columns(message_queue.c.id)
)
_UNMARK = Prepared(
    text(
        """
WITH given (job, dispatch) AS (VALUES (:job, :dispatch))
UPDATE message_queue SET dispatched_at = NULL
FROM given WHERE message_queue.id = given.job AND dispatches = given.dispatch AND status IN ('collecting', 'waiting')
"""
    ).bindparams(param(message_queue.c.id, "job"), param(message_queue.c.dispatches, "dispatch"))
)


def states(uow: UnitOfWork, job_ids: Iterable[UUID]) -> list[DispatchState]:
    """Return what is stored of the wake-ups of some jobs."""
    return [DispatchState(*row) for row in uow.rows_of_many(_STATE, [{"job": job_id} for job_id in job_ids])]


def mark(uow: UnitOfWork, before: Mapping[UUID, int], now: datetime) -> list[tuple[UUID, Lane, int]]:
    """Mark jobs as dispatched once more, each from the count it had before. Return (job, lane, new count) of those.

    Of several dispatchers that read the same count, the first mark wins.
    """
    rows = [{"job": job_id, "before": count, "at": now} for job_id, count in before.items()]
    if uow.dialect == "postgresql":  # A claim holds lanes and then jobs, in its own order: wait for none of them.
        free = {row[0] for row in uow.rows_of_many(_LOCK, [{"job": row["job"]} for row in rows])}
        rows = [row for row in rows if row["job"] in free]
    marked = uow.rows_of_many(_MARK, rows) if rows else []
    return [(job_id, lane, count) for job_id, lane, count in marked]


def unmark(uow: UnitOfWork, marked: Sequence[tuple[UUID, int]]) -> None:
    """Take marks back, unless the job was dispatched again since."""
    uow.run_many(_UNMARK, [{"job": job_id, "dispatch": count} for job_id, count in marked])


def clear_dispatched(uow: UnitOfWork) -> int:
    """Forget the wake-ups of some waiting jobs, so that all are published again. Return their number."""
    return uow.run(_CLEAR_DISPATCHED, most=STEP)


_DISPATCHED = f"""SELECT id FROM message_queue
    WHERE status IN ({", ".join(f"'{status}'" for status in UNFINISHED)}) AND status <> 'running'
    AND dispatched_at IS NOT NULL LIMIT :most"""
_MOST = bindparam("most", type_=Integer)
_CLEAR = "UPDATE message_queue SET dispatched_at = NULL WHERE id"
_CLEAR_DISPATCHED = Prepared(
    text(f"{_CLEAR} IN ({_DISPATCHED})").bindparams(_MOST),
    on_postgresql=text(f"{_CLEAR} = ANY (ARRAY({_DISPATCHED} FOR UPDATE SKIP LOCKED))").bindparams(_MOST),
)
