"""Choose the lanes of a claim: by priority, then the owner served longest ago, then the oldest due.

The cost of a claim must not grow with the number of waiting jobs. So it finds the owners with a due job in two ways. A
page of the oldest due heads names every owner as long as all due heads fit on it. When they do not, a walk over the
owners at each priority visits some more each time, from where the last walk ended. An owner with a hundred thousand due
lanes fills the page but is one step of the walk, so it hides other owners for one walk at most.

The heads are chosen without a lock. Then exactly those are held; heads that another transaction holds are skipped for
others. Two workers that claim at the same time both find work, and neither waits.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby
from typing import Final
from uuid import UUID

from sqlalchemy import Boolean, Integer, TextualSelect, bindparam, func, literal_column, select, text

from recado.core.database.prepared import Prepared, param
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.queue.job import BACKGROUND_PRIORITY
from recado.core.queue.lane import HeldLanes, Lane
from recado.core.queue.storage.tables import lanes, message_queue, queue_owners

LEEWAY: Final = timedelta(seconds=5)
"""How far the clocks of processes that share a database may differ."""
PAGE: Final = 256
"""How many of the oldest due heads are read."""
STEPS: Final = 128
"""How many owners a walk visits."""
MAX_TRIES: Final = 4
"""How often a claim chooses again when other workers hold its choice, each time further back."""
_NOBODY: Final = UUID(int=0)


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a lane that may be claimed."""

    lane: Lane
    job_id: UUID
    owner_id: UUID
    isolated: bool
    due_at: datetime


@dataclass(slots=True)
class OwnerWalk:
    """How far the walk over the owners has come, for each priority. One per process; a loss does no harm."""

    after: dict[int, UUID] = field(default_factory=dict)


@dataclass(slots=True)
class _OwnerState:
    """When an owner was served last, and how many jobs it may still get in this claim."""

    served_at: datetime | None
    room: int


@dataclass(slots=True)
class _ClaimRun:
    """One claim under way."""

    uow: UnitOfWork
    now: datetime
    limit: int
    max_isolated: int
    locks: bool
    max_background: int
    known: dict[UUID, _OwnerState] = field(default_factory=dict)
    taken: list[Head] = field(default_factory=list)
    skipped: set[Lane] = field(default_factory=set)
    ceiling: int = 0
    """How many heads may be taken at the priority that is looked at."""

    @property
    def missing(self) -> int:
        return self.ceiling - len(self.taken)

    def look_at(self, priority: int) -> None:
        """Go on with a priority. Jobs in the background get no more than their share of the slots."""
        self.ceiling = self.limit
        if priority == BACKGROUND_PRIORITY:
            self.ceiling = min(self.limit, len(self.taken) + self.max_background)


def hold_heads(
    uow: UnitOfWork, now: datetime, limit: int, max_isolated: int, walk: OwnerWalk, max_background: int | None = None
) -> tuple[HeldLanes, list[Head]]:
    """Hold the lanes of up to `limit` due heads. Return the proof and the heads, in the order in which to run them.

    At most `max_isolated` of them are isolated jobs, at most `max_background` jobs in the background, and no owner gets
    more than its cap.
    """
    background = limit if max_background is None else max(max_background, 0)
    run = _ClaimRun(uow, now, limit, max(max_isolated, 0), uow.dialect == "postgresql", background)
    heads = _choose_heads(run, walk)
    return HeldLanes(uow, frozenset(head.lane for head in heads)), heads


def read_heads(uow: UnitOfWork, now: datetime, limit: int, max_isolated: int, walk: OwnerWalk) -> list[Head]:
    """Return the heads that a claim would hold, without holding them."""
    return _choose_heads(_ClaimRun(uow, now, limit, max(max_isolated, 0), locks=False, max_background=limit), walk)


def _choose_heads(run: _ClaimRun, walk: OwnerWalk) -> list[Head]:
    uow, now = run.uow, run.now
    page = uow.rows(_PAGE, now=now, most=PAGE)
    if sum(count for _, _, count in page) < PAGE:
        for priority, rows in groupby(sorted(page), key=lambda row: row[0]):
            _take_at(run, priority, {owner for _, owner, _ in rows})
        return run.taken
    above = -1
    while len(run.taken) < run.limit:
        [(priority,)] = uow.rows(_PRIORITY, above=above)
        if priority is None:
            break
        above = priority
        run.look_at(priority)
        walked = _walk(run, priority, walk)
        _take_at(run, priority, {owner for at, owner, _ in page if at == priority} | walked)
    return run.taken


_PAGE = Prepared(
    text(
        """
SELECT next_priority, owner_id, count(*) FROM (
    SELECT next_priority, owner_id FROM lanes WHERE next_due_at <= :now ORDER BY next_due_at LIMIT :most) AS page
GROUP BY next_priority, owner_id
"""
    )
    .bindparams(param(lanes.c.next_due_at, "now"))
    .columns(lanes.c.next_priority, lanes.c.owner_id, literal_column("count", Integer))
)
_PRIORITY = Prepared(
    select(func.min(lanes.c.next_priority)).where(
        lanes.c.next_due_at.is_not(None), lanes.c.next_priority > bindparam("above")
    )
)


# --- The walk over the owners -----------------------------------------------------------------------------------------


def _walk(run: _ClaimRun, priority: int, walk: OwnerWalk) -> set[UUID]:
    """Return the next owners with a due job, from where the last walk ended. After the last owner comes the first."""
    after = walk.after.get(priority, _NOBODY)
    visited = _visit(run, priority, after, STEPS)
    if len(visited) < STEPS and after != _NOBODY:
        visited |= _visit(run, priority, _NOBODY, STEPS - len(visited))
        walk.after[priority] = _NOBODY
    if len(visited) == STEPS:
        walk.after[priority] = list(visited)[-1]
    return {owner for owner, due in visited.items() if due}


def _visit(run: _ClaimRun, priority: int, after: UUID, steps: int) -> dict[UUID, bool]:
    rows = run.uow.rows(_WALK, priority=priority, after=after, steps=steps, now=run.now, max_isolated=run.max_isolated)
    return {owner: bool(due) for owner, due in sorted(rows)}


# Each step jumps to the next owner in the index: a million due jobs of one owner cost one step.
_WALK_SQL: Final = """
WITH RECURSIVE owner(id, step) AS (
    {first}
    UNION ALL
    SELECT {next}, step + 1 FROM owner WHERE owner.id IS NOT NULL AND step < :steps)
SELECT owner.id, EXISTS (
    SELECT 1 FROM lanes WHERE next_priority = :priority AND owner_id = owner.id AND isolated = false
    AND next_due_at <= :now) OR (:max_isolated > 0 AND EXISTS (
    SELECT 1 FROM lanes WHERE next_priority = :priority AND owner_id = owner.id AND isolated = true
    AND next_due_at <= :now)) AS due
FROM owner WHERE owner.id IS NOT NULL
"""
_FROM: Final = "FROM lanes WHERE next_priority = :priority AND next_due_at IS NOT NULL AND owner_id >"
_FIRST: Final = f"SELECT owner_id {_FROM} {{after}} ORDER BY owner_id LIMIT 1"


def _walking(first: str) -> Prepared:
    sql = _WALK_SQL.format(first=first, next=f"({_FIRST.format(after='owner.id')})")
    statement = text(sql).bindparams(
        param(lanes.c.next_due_at, "now"), param(lanes.c.owner_id, "after"), bindparam("priority", type_=Integer)
    )
    statement = statement.bindparams(bindparam("steps", type_=Integer), bindparam("max_isolated", type_=Integer))
    return Prepared(statement.columns(lanes.c.owner_id.label("id"), literal_column("due", Boolean)))


_WALK = _walking(f"SELECT ({_FIRST.format(after=':after')}), 1")


# --- What an owner may get --------------------------------------------------------------------------------------------


def _load_owners(run: _ClaimRun, owners: Iterable[UUID]) -> None:
    """Read when some owners were served and how many jobs they may get.

    A cap counts running jobs, so on PostgreSQL the row of an owner with a cap is locked from the count until the
    claimed jobs run. When another transaction has locked it, this claim gives that owner nothing.
    """
    new = [{"owner": owner} for owner in sorted(owners) if owner not in run.known]
    stored = {owner: (served_at, cap) for owner, served_at, cap in run.uow.rows_of_many(_OWNER_STATES, new)}
    capped = {owner: cap for owner, (_, cap) in stored.items() if cap is not None}
    held = set(capped)
    if run.locks:
        asked = [{"owner": owner} for owner in sorted(capped)]
        held = {owner for (owner,) in run.uow.rows_of_many(_HOLD_OWNER, asked)}
    running: dict[UUID, int] = dict(run.uow.rows_of_many(_RUNNING, [{"owner": owner} for owner in sorted(held)]))
    for owner in (row["owner"] for row in new):
        served_at, _ = stored.get(owner, (None, None))
        if served_at is not None and served_at > run.now + LEEWAY:
            served_at = None  # Of a clock that was ahead: this owner would come after all others until then.
        room = run.limit if owner not in capped else 0
        if owner in held:
            room = max(0, capped[owner] - running.get(owner, 0))
        run.known[owner] = _OwnerState(served_at, room)


_OWNER_STATES = Prepared(
    text("SELECT owner_id, served_at, max_running FROM queue_owners WHERE owner_id IN (VALUES (:owner))")
    .bindparams(param(queue_owners.c.owner_id, "owner"))
    .columns(queue_owners.c.owner_id, queue_owners.c.served_at, queue_owners.c.max_running)
)
_HOLD_OWNER = Prepared(
    text("SELECT owner_id FROM queue_owners WHERE owner_id IN (VALUES (:owner)) FOR UPDATE SKIP LOCKED")
    .bindparams(param(queue_owners.c.owner_id, "owner"))
    .columns(queue_owners.c.owner_id)
)
_RUNNING = Prepared(
    text(
        "SELECT owner_id, count(*) FROM message_queue WHERE status = 'running' AND owner_id IN (VALUES (:owner)) "
        "GROUP BY owner_id"
    )
    .bindparams(param(message_queue.c.owner_id, "owner"))
    .columns(message_queue.c.owner_id, literal_column("count", Integer))
)


# --- Choosing and holding ---------------------------------------------------------------------------------------------


def _take_at(run: _ClaimRun, priority: int, owners: set[UUID]) -> None:
    """Take heads of one priority, one of each owner in turn."""
    run.look_at(priority)
    if run.missing <= 0:
        return
    _load_owners(run, owners)
    for _ in range(MAX_TRIES):
        chosen = _choose(run, priority, owners)
        got = _hold(run, chosen)
        for head in got:
            run.known[head.owner_id].room -= 1
            run.max_isolated -= head.isolated
        run.taken += got
        run.skipped |= {head.lane for head in chosen}
        if run.missing <= 0 or len(got) == len(chosen):
            return


def _choose(run: _ClaimRun, priority: int, owners: set[UUID]) -> list[Head]:
    """Choose a fair share of each owner's heads first, and all of them only when that is not enough."""
    waiting = [owner for owner in sorted(owners) if run.known[owner].room > 0]
    waiting.sort(key=lambda owner: _fairness_key(run.known[owner]))
    asked_owners = waiting[: run.missing] if not run.skipped else waiting
    chosen: list[Head] = []
    share = -(-run.missing // max(len(asked_owners), 1))
    for most in (share, run.missing):
        queues = _owner_queues(run, priority, asked_owners, most)
        chosen = _round_robin(queues, run.missing, run.max_isolated)
        if len(chosen) == run.missing or most == run.missing or all(len(queue) < most for queue in queues):
            break
    if len(chosen) < run.missing and len(asked_owners) < len(
        waiting
    ):  # What isolated jobs may not fill is the others'.
        queues = _owner_queues(run, priority, waiting, run.missing)
        chosen = _round_robin(queues, run.missing, run.max_isolated)
    return chosen


def _fairness_key(standing: _OwnerState) -> tuple[bool, datetime | None]:
    """Return the sort key of an owner: owners that were never served come first."""
    return (standing.served_at is not None, standing.served_at)


def _owner_queues(run: _ClaimRun, priority: int, owners: Sequence[UUID], most: int) -> list[list[Head]]:
    """Each owner's due heads, healthy ones first: isolated jobs at the front must not hide those behind."""
    more = len(run.skipped)
    asked: list[dict[str, object]] = [
        {
            "priority": priority,
            "owner": owner,
            "now": run.now,
            "most": min(most, run.known[owner].room) + more,
            "max_isolated": run.max_isolated and run.max_isolated + more,
        }
        for owner in owners
    ]
    rows = run.uow.rows_of_many(_OWNER_HEADS, asked)
    found: Mapping[UUID, list[Head]] = {owner: [] for owner in owners}
    for head in sorted((Head(*row) for row in rows), key=lambda head: (head.isolated, head.due_at)):
        queue = found[head.owner_id]
        if head.lane not in run.skipped and len(queue) < min(most, run.known[head.owner_id].room):
            queue.append(head)
    return [found[owner] for owner in owners]


_HEAD_COLUMNS = (lanes.c.lane, lanes.c.head_job, lanes.c.owner_id, lanes.c.isolated, lanes.c.next_due_at)


_GIVEN_OWNERS: Final = (
    "WITH given (priority, owner, now, most, max_isolated) AS (VALUES (:priority, :owner, :now, :most, :max_isolated))"
)
_HEADS_OF_ONE_OWNER: Final = """
    SELECT {what} FROM (SELECT {what} FROM lanes AS line
        WHERE next_priority = given.priority AND owner_id = given.owner AND isolated = false
        AND next_due_at <= given.now ORDER BY next_due_at LIMIT {most}) AS healthy
    UNION ALL
    SELECT {what} FROM (SELECT {what} FROM lanes AS line
        WHERE next_priority = given.priority AND owner_id = given.owner AND isolated = true
        AND next_due_at <= given.now ORDER BY next_due_at LIMIT {max_isolated}) AS isolated_heads
"""


def _owner_heads(sql: str, **words: str) -> TextualSelect:
    """Return the statement for all owners at once: a statement for each was half of the cost of a claim."""
    statement = text(f"{_GIVEN_OWNERS} {sql}".format(parts=_HEADS_OF_ONE_OWNER.format(**words)))
    statement = statement.bindparams(param(lanes.c.owner_id, "owner"), param(lanes.c.next_due_at, "now"))
    numbers = (bindparam(name, type_=Integer) for name in ("priority", "most", "max_isolated"))
    return statement.bindparams(*numbers).columns(*_HEAD_COLUMNS)


_OWNER_HEADS = Prepared(
    # Without LATERAL, and with one limit for all rows: an owner with a lower cap gets too many here. The list between
    # the two keeps SQLite from reading all lanes for each owner, as it would where ANALYZE has seen few of them.
    _owner_heads(
        "SELECT lane, head_job, owner_id, isolated, next_due_at FROM given "
        "CROSS JOIN json_each((SELECT json_group_array(rowid) FROM ({parts}))) AS one "
        "CROSS JOIN lanes ON lanes.rowid = one.value",
        what="rowid",
        most="(SELECT max(most) FROM given)",
        max_isolated="(SELECT max(max_isolated) FROM given)",
    ),
    on_postgresql=_owner_heads(
        "SELECT lane, head_job, owner_id, isolated, next_due_at FROM given JOIN LATERAL ({parts}) AS line ON true",
        what="lane, head_job, owner_id, isolated, next_due_at",
        most="given.most",
        max_isolated="given.max_isolated",
    ),
)


def _round_robin(queues: Sequence[Sequence[Head]], limit: int, max_isolated: int) -> list[Head]:
    """Return the first head of each owner, then the second of each, up to a limit."""
    found: list[Head] = []
    for position in range(max(map(len, queues), default=0)):
        for queue in queues:
            if position < len(queue) and len(found) < limit and max_isolated >= queue[position].isolated:
                max_isolated -= queue[position].isolated
                found.append(queue[position])
    return found


def _hold(run: _ClaimRun, chosen: Sequence[Head]) -> list[Head]:
    """Lock the chosen heads. Return those that no other transaction holds and that are unchanged."""
    if not run.locks:
        return list(chosen)
    asked = [{"lane": lane} for lane in sorted(head.lane for head in chosen)]
    held = {head.lane: head for head in (Head(*row) for row in run.uow.rows_of_many(_HOLD, asked))}
    return [head for head in chosen if held.get(head.lane) == head]


_HOLD = Prepared(
    text(
        """
SELECT lane, head_job, owner_id, isolated, next_due_at FROM lanes
WHERE lane IN (VALUES (:lane)) AND next_due_at IS NOT NULL FOR UPDATE SKIP LOCKED
"""
    )
    .bindparams(param(lanes.c.lane))
    .columns(*_HEAD_COLUMNS)
)
