"""Lanes: lock them before their jobs are read, and refresh them after their jobs have changed."""

from collections.abc import Iterable, Mapping
from uuid import UUID

from sqlalchemy import bindparam, text

from recado.core.database.prepared import Prepared, inserting
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.queue.storage.tables import lanes


def make_lanes(uow: UnitOfWork, owners: Mapping[str, UUID]) -> None:
    """Make the lanes that are new, and hold all of them: what changes in them meanwhile must wait."""
    if uow.dialect == "postgresql":
        # Those that are there, before new ones: whoever holds one may be making its neighbour.
        held = {lane for (lane,) in uow.rows_of_many(_HOLD, _in_order(owners))}
        new = sorted((lane, owner) for lane, owner in owners.items() if lane not in held)
        if new:
            uow.run_many(_MAKE, [{"lane": lane, "owner_id": owner} for lane, owner in new])
            lock_lanes(uow, owners)


def lock_lanes(uow: UnitOfWork, names: Iterable[str]) -> None:
    """Hold some lanes until the transaction ends, before anything in them is looked at.

    A lane of sends is held together with the lane it sends for, whose turns and outcomes it changes. SQLite has one
    writer, so there is nothing to do; on PostgreSQL each later statement sees what earlier holders have stored. In
    lane order, so that two cannot wait for each other.
    """
    if uow.dialect == "postgresql":
        uow.run_many(_HOLD, _in_order(names))


def _in_order(names: Iterable[str]) -> list[dict[str, object]]:
    wanted = {each for name in names for each in (name, name.removeprefix("send:"))}
    return [{"lane": lane} for lane in sorted(wanted)]


def lock_free_lanes(uow: UnitOfWork, names: Iterable[str]) -> set[str]:
    """Hold those of some lanes that nobody holds: what a frozen process has hold of must not stop everybody else."""
    wanted = set(names)
    if uow.dialect != "postgresql":
        return wanted
    return {lane for (lane,) in uow.rows_of_many(_HOLD_FREE, [{"lane": lane} for lane in sorted(wanted)])}


_make = inserting(lanes, "lane", "owner_id")
_MAKE = Prepared(_make.on_conflict_do_nothing())
_HOLD_FREE = Prepared(text("SELECT lane FROM lanes WHERE lane IN (VALUES (:lane)) FOR UPDATE SKIP LOCKED"))
_HOLD = Prepared(text('SELECT lane FROM lanes WHERE lane IN (VALUES (:lane)) ORDER BY lane COLLATE "C" FOR UPDATE'))


def touch_lanes(uow: UnitOfWork, owners: Mapping[str, UUID]) -> None:
    """Make the lanes that are new, then refresh their heads. In lane order, so that two writers cannot deadlock."""
    uow.run_many(_TOUCH, [{"lane": lane, "owner_id": owner} for lane, owner in sorted(owners.items())])
    uow.notify()


_TOUCH = Prepared(
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


def refresh_lanes(uow: UnitOfWork, names: Iterable[str]) -> None:
    """Point each lane at the oldest job of its line; a lane made for one job goes with it."""
    ordered = sorted(set(names))
    if not ordered:
        return
    uow.run_many(_REFRESH, [{"lane": lane} for lane in ordered])
    uow.notify()
    uow.run_many(_DELETE_UNUSED, [{"lane": lane} for lane in ordered if lane.startswith("job:")])
