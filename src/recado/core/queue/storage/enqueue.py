"""Store jobs, open and extend burst windows, and change what still waits."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import and_, bindparam, delete, select, text, update

from recado.core.database.prepared import Prepared, inserting, param
from recado.core.database.types import earlier
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.queue.job import NewJob
from recado.core.queue.lane import HeldLanes, Lane
from recado.core.queue.storage import lanes
from recado.core.queue.storage.tables import IS_UNFINISHED, message_queue
from recado.core.unicode import storable


def add(held: HeldLanes, jobs: Sequence[NewJob]) -> None:
    """Store jobs that wait for their due time, each behind the older jobs of its lane."""
    if not jobs:
        return
    held.uow.run_many(_ADD, [_row(job) for job in jobs])
    lanes.upsert(held, lanes.new_lanes(jobs))


def add_alone(held: HeldLanes, jobs: Sequence[NewJob]) -> None:
    """Store jobs that name no lane, each in one of its own, in a transaction that holds other lanes.

    So does who starts such a job again: its lane has gone with it, and that of the new job goes with the new one.
    """
    add(lanes.hold_also(held, [job.in_lane for job in jobs]), jobs)


def collect(held: HeldLanes, jobs: Sequence[NewJob], *, due_at_once: frozenset[Lane] = frozenset()) -> None:
    """Open or extend the burst windows of some lanes, at most one job a lane given.

    A window that is open already moves its due time to `min(new due, window's end)`; the end is set only once, at
    insert, and comes nearer only when a clock was set back. The lanes in `due_at_once` (a button was tapped) close
    their window now.
    """
    if not jobs:
        return
    held.uow.run_many(_COLLECT, [_row(job) for job in jobs])
    if due_at_once:
        now = max(job.created_at for job in jobs)
        at_once = and_(message_queue.c.lane.in_(sorted(due_at_once)), message_queue.c.status == text("'collecting'"))
        held.uow.execute(update(message_queue).where(at_once).values(due_at=now, window_ends_at=now, timed_at=now))
    lanes.upsert(held, lanes.new_lanes(jobs))


_new = inserting(
    message_queue, "id", "name", "message_sid", "payload", "status", "attempts", "created_at", "owner_id", "lane",
    "priority", "due_at", "window_ends_at", "timed_at", "turn_id", "max_attempts", "crashes", "crashes_alone",
    "faults", "dispatches", "trace",
)  # fmt: skip
_ADD = Prepared(_new)
_COLLECT = Prepared(
    _new.on_conflict_do_update(
        index_elements=["lane"],
        index_where=text("status='collecting'"),
        set_={
            "due_at": earlier(_new.excluded.due_at, message_queue.c.window_ends_at),
            "window_ends_at": earlier(_new.excluded.window_ends_at, message_queue.c.window_ends_at),
            "timed_at": _new.excluded.timed_at,
            "message_sid": _new.excluded.message_sid,
            "payload": _new.excluded.payload,
            "trace": _new.excluded.trace,
        },
    )
)


def _row(job: NewJob) -> dict[str, object]:
    return {
        "id": job.id,
        "name": job.name,
        "message_sid": None if job.message_sid is None else storable(job.message_sid),
        "payload": job.payload,
        "status": "collecting" if job.collecting else "waiting",
        "attempts": 0,
        "created_at": job.created_at,
        "owner_id": job.owner_id,
        "lane": job.in_lane,
        "priority": job.priority,
        "due_at": job.due_at,
        "window_ends_at": job.window_ends_at,
        "timed_at": job.created_at,
        "turn_id": job.turn_id,
        "max_attempts": job.max_attempts,
        "crashes": 0,
        "crashes_alone": 0,
        "faults": 0,
        "dispatches": 0,
        "trace": job.trace,
    }


_COLLECTING = select(message_queue.c.id, message_queue.c.due_at).where(
    message_queue.c.lane == bindparam("lane"), message_queue.c.status == text("'collecting'")
)
_WINDOW = Prepared(_COLLECTING)
_REMOVE = Prepared(delete(message_queue).where(message_queue.c.id == bindparam("id")))
# The index's own condition, word for word, beside ours: without it SQLite reads the whole queue.
_MAKE_DUE = Prepared(
    update(message_queue)
    .where(
        message_queue.c.lane == bindparam("of_lane"),
        IS_UNFINISHED,
        message_queue.c.status == text("'waiting'"),
        message_queue.c.due_at > bindparam("at"),
    )
    .values(due_at=param(message_queue.c.due_at, "at"), timed_at=param(message_queue.c.timed_at, "now"))
)


def open_windows(uow: UnitOfWork, running: Sequence[Lane]) -> set[Lane]:
    """Return those of some lanes that have an open burst window."""
    return {lane for lane in running if uow.rows(_WINDOW, lane=lane)}


def collecting_in(uow: UnitOfWork, lane: Lane) -> tuple[UUID, datetime] | None:
    """Return the job and the due time of a lane's open burst window, or None."""
    for job_id, due_at in uow.rows(_WINDOW, lane=lane):
        return job_id, due_at
    return None


def remove(held: HeldLanes, job_id: UUID, lane: Lane) -> None:
    """Delete a job whose messages another job carries now."""
    held.uow.run(_REMOVE, id=job_id)
    lanes.refresh(held, [lane])


def make_due_now(held: HeldLanes, lane: Lane, now: datetime) -> None:
    """Make the waiting jobs of a lane due now, because the news that they wait for has come."""
    make_due(held, {lane: now}, now)


def make_due(held: HeldLanes, moments: Mapping[Lane, datetime], now: datetime) -> None:
    """Make the waiting jobs of some lanes due at these moments, where they were due later."""
    held.uow.run_many(_MAKE_DUE, [{"of_lane": lane, "at": at, "now": now} for lane, at in sorted(moments.items())])
    lanes.refresh(held, moments)
