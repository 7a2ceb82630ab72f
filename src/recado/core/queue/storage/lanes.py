"""Lanes: lock them before their jobs are read, and refresh them after their jobs have changed."""

from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

from sqlalchemy import bindparam, text

from recado.core.database.prepared import Prepared, inserting
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.queue.job import NewJob
from recado.core.queue.lane import HeldLanes
from recado.core.queue.storage.tables import lanes


def hold(uow: UnitOfWork, names: Iterable[str]) -> HeldLanes:
    """Hold some lanes until the transaction ends. Once in a transaction, before anything in them is read.

    A reply lane and the send lane of the same pair are held together: a run stores sends, and a send settles turns.
    SQLite has one writer, so there is nothing to do. On PostgreSQL each later statement sees what earlier holders have
    stored. Lanes are locked in order, so two transactions cannot wait for each other.
    """
    uow.once("holds lanes")
    return _hold(uow, names)


def _hold(uow: UnitOfWork, names: Iterable[str]) -> HeldLanes:
    wanted = frozenset(each for name in names for each in _pair(name))
    _lock(uow, wanted)
    return HeldLanes(uow, wanted)


def hold_also(held: HeldLanes, names: Iterable[str]) -> HeldLanes:
    """Hold further lanes that were found only while others are held.

    The second lock may meet another transaction's in the opposite order. PostgreSQL then fails one of them, which runs
    again.
    """
    more = _hold(held.uow, set(names) - held.lanes)
    return HeldLanes(held.uow, held.lanes | more.lanes)


def hold_for(uow: UnitOfWork, jobs: Sequence[NewJob]) -> HeldLanes:
    """Hold the lanes of jobs that are to be stored, and make those that are new."""
    return hold_or_create(uow, {job.lane: job.owner_id for job in jobs})


def hold_or_create(uow: UnitOfWork, owners: Mapping[str, UUID]) -> HeldLanes:
    """Hold lanes of these owners, and make those that are new. See `hold`."""
    uow.once("holds lanes")
    wanted = frozenset(each for lane in owners for each in (lane, _reply_lane(lane)))
    if uow.dialect == "postgresql":
        # Existing rows first: a holder of one may be making its neighbour.
        found = _lock(uow, wanted)
        new = sorted((lane, owner) for lane, owner in owners.items() if lane not in found)
        if new:
            uow.run_many(_MAKE, [{"lane": lane, "owner_id": owner} for lane, owner in new])
            _lock(uow, wanted)
    return HeldLanes(uow, wanted)


def hold_free(uow: UnitOfWork, names: Iterable[str]) -> HeldLanes:
    """Hold those of some lanes that no other transaction holds, so that a frozen process stops nobody."""
    wanted = frozenset(names)
    if uow.dialect == "postgresql":
        rows = [{"lane": lane} for lane in sorted(wanted)]
        wanted = frozenset(lane for (lane,) in uow.rows_of_many(_HOLD_FREE, rows))
    return HeldLanes(uow, wanted)


def _lock(uow: UnitOfWork, names: frozenset[str]) -> set[str]:
    """Lock the rows of some lanes in order. Return the lanes that have a row (on SQLite: none are looked up)."""
    if uow.dialect != "postgresql":
        return set()
    return {lane for (lane,) in uow.rows_of_many(_HOLD, [{"lane": lane} for lane in sorted(names)])}


def _reply_lane(lane: str) -> str:
    return lane.removeprefix("send:")


def _pair(lane: str) -> tuple[str, str]:
    reply = _reply_lane(lane)
    return reply, f"send:{reply}"


_make = inserting(lanes, "lane", "owner_id")
_MAKE = Prepared(_make.on_conflict_do_nothing())
_HOLD_FREE = Prepared(text("SELECT lane FROM lanes WHERE lane IN (VALUES (:lane)) FOR UPDATE SKIP LOCKED"))
_HOLD = Prepared(text('SELECT lane FROM lanes WHERE lane IN (VALUES (:lane)) ORDER BY lane COLLATE "C" FOR UPDATE'))


def upsert(held: HeldLanes, owners: Mapping[str, UUID]) -> None:
    """Make the lanes that are new, then refresh the heads of all, in lane order so that no two writers deadlock."""
    for lane in owners:
        held.require(lane)
    held.uow.run_many(_UPSERT, [{"lane": lane, "owner_id": owner} for lane, owner in sorted(owners.items())])
    held.uow.notify()


_UPSERT = Prepared(
    text(
        """
WITH given (lane, owner_id) AS (VALUES (:lane, :owner_id))
INSERT INTO lanes (lane, owner_id, head_job, next_due_at, next_priority, isolated)
SELECT given.lane, given.owner_id, head.id,
    CASE WHEN EXISTS (SELECT 1 FROM message_queue r WHERE r.lane = given.lane AND r.status = 'running')
        THEN NULL ELSE head.due_at END,
    head.priority, head.crashes > 0
FROM given CROSS JOIN message_queue AS head ON head.id = (
    SELECT id FROM message_queue
    WHERE lane = given.lane AND status IN ('collecting', 'waiting', 'running') AND status <> 'running'
    ORDER BY id LIMIT 1)
WHERE true
ON CONFLICT (lane) DO UPDATE SET head_job = excluded.head_job, next_due_at = excluded.next_due_at,
    next_priority = excluded.next_priority, isolated = excluded.isolated
"""
    ).bindparams(bindparam("owner_id", type_=lanes.c.owner_id.type)),
    on_postgresql=text(
        """
WITH given (lane, owner_id) AS (VALUES (:lane, :owner_id))
INSERT INTO lanes (lane, owner_id, head_job, next_due_at, next_priority, isolated)
SELECT given.lane, given.owner_id, head.id,
    CASE WHEN EXISTS (SELECT 1 FROM message_queue r WHERE r.lane = given.lane AND r.status = 'running')
        THEN NULL ELSE head.due_at END,
    head.priority, head.crashes > 0
FROM given JOIN LATERAL (
    SELECT id, due_at, priority, crashes FROM message_queue
    WHERE lane = given.lane AND status IN ('collecting', 'waiting', 'running') AND status <> 'running'
    ORDER BY id LIMIT 1) AS head ON true
ON CONFLICT (lane) DO UPDATE SET head_job = excluded.head_job, next_due_at = excluded.next_due_at,
    next_priority = excluded.next_priority, isolated = excluded.isolated
"""
    ).bindparams(bindparam("owner_id", type_=lanes.c.owner_id.type)),
)


_REFRESH = Prepared(
    text(
        """
UPDATE lanes SET (head_job, next_due_at, next_priority, isolated) = (
    SELECT id,
        CASE WHEN EXISTS (SELECT 1 FROM message_queue r WHERE r.lane = lanes.lane AND r.status = 'running')
            THEN NULL ELSE due_at END,
        priority, crashes > 0
    FROM message_queue AS head
    WHERE head.lane = lanes.lane AND head.status IN ('collecting', 'waiting', 'running') AND head.status <> 'running'
    ORDER BY head.id LIMIT 1)
WHERE lane IN (VALUES (:lane))
"""
    )
)
_DELETE_UNUSED = Prepared(
    text(
        """
DELETE FROM lanes WHERE lane IN (VALUES (:lane)) AND head_job IS NULL
    AND NOT EXISTS (SELECT 1 FROM message_queue r WHERE r.lane = lanes.lane AND r.status = 'running')
"""
    )
)


def refresh(held: HeldLanes, names: Iterable[str]) -> None:
    """Point each lane at its oldest waiting job. The row of a lane that was made for one job goes with the job."""
    ordered = sorted(set(names))
    if not ordered:
        return
    for lane in ordered:
        held.require(lane)
    held.uow.run_many(_REFRESH, [{"lane": lane} for lane in ordered])
    held.uow.notify()
    held.uow.run_many(_DELETE_UNUSED, [{"lane": lane} for lane in ordered if lane.startswith("job:")])
