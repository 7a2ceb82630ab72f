"""Lanes: lock them before their jobs are read, and refresh them after their jobs have changed."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text

from recado.core.database.prepared import Prepared, inserting, param
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.queue.job import NewJob, StoredJob
from recado.core.queue.lane import HeldLanes, Lane, LaneKind, job_lane, reply_lane, send_lane
from recado.core.queue.storage.tables import lanes


@dataclass(frozen=True, slots=True)
class LaneOwner:
    """Whose lane it is, and what it is for."""

    owner_id: UUID
    kind: LaneKind


def hold(uow: UnitOfWork, names: Iterable[Lane]) -> HeldLanes:
    """Hold some lanes until the transaction ends. Once in a transaction, before anything in them is read.

    A reply lane and the send lane of the same pair are held together: a run stores sends, and a send settles turns.
    SQLite has one writer, so there is nothing to do. On PostgreSQL each later statement sees what earlier holders have
    stored. Lanes are locked in order, so two transactions cannot wait for each other.
    """
    uow.once("holds lanes")
    return _hold(uow, names)


def _hold(uow: UnitOfWork, names: Iterable[Lane]) -> HeldLanes:
    wanted = frozenset(each for name in names for each in _pair(name))
    _lock(uow, wanted)
    return HeldLanes(uow, wanted)


def hold_also(held: HeldLanes, names: Iterable[Lane]) -> HeldLanes:
    """Hold further lanes that were found only while others are held.

    The second lock may meet another transaction's in the opposite order. PostgreSQL then fails one of them, which runs
    again.
    """
    more = _hold(held.uow, set(names) - held.lanes)
    return HeldLanes(held.uow, held.lanes | more.lanes)


def new_lanes(jobs: Iterable[NewJob]) -> dict[Lane, LaneOwner]:
    """Return whose lanes the jobs run in, and of which kind the lanes are."""
    return {job.in_lane: LaneOwner(job.owner_id, job.kind) for job in jobs}


def hold_for(uow: UnitOfWork, jobs: Sequence[NewJob]) -> HeldLanes:
    """Hold the lanes of jobs that are to be stored, and make those that are new."""
    return hold_or_create(uow, new_lanes(jobs))


def hold_or_create(uow: UnitOfWork, owners: Mapping[Lane, LaneOwner]) -> HeldLanes:
    """Hold lanes of these owners, and make those that are new. See `hold`."""
    uow.once("holds lanes")
    wanted = frozenset(each for lane in owners for each in (lane, reply_lane(lane)))
    if uow.dialect == "postgresql":
        # Existing rows first: a holder of one may be making its neighbour.
        found = _lock(uow, wanted)
        new = {lane: owner for lane, owner in owners.items() if lane not in found}
        if new:
            uow.run_many(_MAKE, _rows(new))
            _lock(uow, wanted)
    return HeldLanes(uow, wanted)


def hold_free(uow: UnitOfWork, names: Iterable[Lane]) -> HeldLanes:
    """Hold those of some lanes that no other transaction holds, so that a frozen process stops no other."""
    wanted = frozenset(names)
    if uow.dialect == "postgresql":
        rows = [{"lane": lane} for lane in sorted(wanted)]
        wanted = frozenset(lane for (lane,) in uow.rows_of_many(_HOLD_FREE, rows))
    return HeldLanes(uow, wanted)


def _lock(uow: UnitOfWork, names: frozenset[Lane]) -> set[Lane]:
    """Lock the rows of some lanes in order. Return the lanes that have a row (on SQLite: none are looked up)."""
    if uow.dialect != "postgresql":
        return set()
    return {lane for (lane,) in uow.rows_of_many(_HOLD, [{"lane": lane} for lane in sorted(names)])}


def _pair(lane: Lane) -> tuple[Lane, Lane]:
    return reply_lane(lane), send_lane(lane)


def _rows(owners: Mapping[Lane, LaneOwner]) -> list[dict[str, object]]:
    """Return the values of some lanes, in lane order."""
    return [{"lane": lane, "owner_id": of.owner_id, "kind": of.kind} for lane, of in sorted(owners.items())]


_LANE = param(lanes.c.lane)
_make = inserting(lanes, "lane", "owner_id", "kind")
_MAKE = Prepared(_make.on_conflict_do_nothing())
_HELD = "SELECT lane FROM lanes WHERE lane IN (VALUES (:lane))"
_HOLD_FREE = Prepared(text(f"{_HELD} FOR UPDATE SKIP LOCKED").bindparams(_LANE).columns(lanes.c.lane))
_HOLD = Prepared(text(f"{_HELD} ORDER BY lane FOR UPDATE").bindparams(_LANE).columns(lanes.c.lane))


def upsert(held: HeldLanes, owners: Mapping[Lane, LaneOwner]) -> None:
    """Make the lanes that are new, then refresh the heads of all, in lane order so that no two writers deadlock."""
    for lane in owners:
        held.require(lane)
    held.uow.run_many(_UPSERT, _rows(owners))
    held.uow.notify()


_UPSERT = Prepared(
    text(
        """
WITH given (lane, owner_id, kind) AS (VALUES (:lane, :owner_id, :kind))
INSERT INTO lanes (lane, owner_id, kind, head_job, next_due_at, next_priority, isolated)
SELECT given.lane, given.owner_id, given.kind, head.id,
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
    ).bindparams(_LANE, param(lanes.c.owner_id), param(lanes.c.kind)),
    on_postgresql=text(
        """
WITH given (lane, owner_id, kind) AS (VALUES (:lane, :owner_id, :kind))
INSERT INTO lanes (lane, owner_id, kind, head_job, next_due_at, next_priority, isolated)
SELECT given.lane, given.owner_id, given.kind, head.id,
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
    ).bindparams(_LANE, param(lanes.c.owner_id), param(lanes.c.kind)),
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
    ).bindparams(_LANE)
)
_IS_UNUSED = """lane IN (VALUES (:lane)) AND kind = 'job' AND head_job IS NULL
    AND NOT EXISTS (SELECT 1 FROM message_queue r WHERE r.lane = lanes.lane AND r.status = 'running')"""
_DELETE_UNUSED = Prepared(text(f"DELETE FROM lanes WHERE {_IS_UNUSED}").bindparams(_LANE))
_UNUSED = Prepared(text(f"SELECT lane FROM lanes WHERE {_IS_UNUSED}").bindparams(_LANE).columns(lanes.c.lane))


def refresh_after(held: HeldLanes, jobs: Collection[StoredJob]) -> None:
    """Refresh the lanes of jobs that have ended. The row of a lane that was made for one job goes with the job."""
    refresh(held, [job.lane for job in jobs])
    own = sorted(job.lane for job in jobs if job.has_own_lane)
    held.uow.run_many(_DELETE_UNUSED, [{"lane": lane} for lane in own])


def unused(uow: UnitOfWork, letters: Collection[UUID]) -> list[Lane]:
    """Return the lanes of some dead letters that were lanes of their own, have no unfinished job and are still there.

    An earlier release started a dead letter again in its own lane, whose row then stayed.
    """
    return [lane for (lane,) in uow.rows_of_many(_UNUSED, [{"lane": job_lane(letter)} for letter in letters])]


def delete_unused(uow: UnitOfWork, names: Collection[Lane]) -> int:
    """Delete those of some lanes that are still unused. Return their number. A lane held elsewhere is left."""
    held = hold_free(uow, names)
    return uow.run_many(_DELETE_UNUSED, [{"lane": lane} for lane in sorted(held.lanes)])


def refresh(held: HeldLanes, names: Iterable[Lane]) -> None:
    """Point each lane at its oldest waiting job."""
    ordered = sorted(set(names))
    if not ordered:
        return
    for lane in ordered:
        held.require(lane)
    held.uow.run_many(_REFRESH, [{"lane": lane} for lane in ordered])
    held.uow.notify()
