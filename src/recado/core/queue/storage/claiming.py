"""Which lanes a worker takes: by priority, then the owner served longest ago, then the oldest due.

What is looked at must not grow with what waits. So a claim asks who has something due, in two ways: a page of the
oldest due heads, which names every owner as long as no more is due than fits on it; and when more is, a walk over the
owners at each priority, a stretch each time, that goes on where the last one ended. An owner with a hundred thousand
due lanes fills the page and is one step of the walk, so it hides nobody for longer than a round of the walk.

The heads are chosen without a lock; then exactly those chosen are held, and those that somebody else holds are passed
over for others. Two workers that look at the same moment both find work, and nobody waits for anybody.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby
from typing import Final
from uuid import UUID

from sqlalchemy import Boolean, Integer, TextualSelect, bindparam, func, literal_column, select, text

from recado.core.database.prepared import Prepared, given
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.queue.storage.tables import lanes, message_queue, queue_owners

LEEWAY: Final = timedelta(seconds=5)
"""How far the clocks of processes that share a database may differ."""
PAGE: Final = 256
"""How many of the oldest due heads are looked at."""
STEPS: Final = 128
"""How many owners a walk visits."""
LOOKS: Final = 4
"""How often a claim looks again when others hold what it has chosen; each time further back."""
_NOBODY: Final = UUID(int=0)


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a lane that may be claimed."""

    lane: str
    job_id: UUID
    owner_id: UUID
    suspect: bool
    due_at: datetime


@dataclass(slots=True)
class Round:
    """How far each priority's walk over the owners has come. One per process; none is lost with it."""

    after: dict[int, UUID] = field(default_factory=dict)


@dataclass(slots=True)
class _Standing:
    """An owner as this claim sees it: when it was served, and how many jobs it may still get."""

    served_at: datetime | None
    room: int


@dataclass(slots=True)
class _Look:
    """One claim under way."""

    uow: UnitOfWork
    now: datetime
    limit: int
    suspects: int
    locks: bool
    known: dict[UUID, _Standing] = field(default_factory=dict)
    taken: list[Head] = field(default_factory=list)
    passed_over: set[str] = field(default_factory=set)

    @property
    def missing(self) -> int:
        return self.limit - len(self.taken)


def heads(uow: UnitOfWork, now: datetime, limit: int, suspects: int, round_: Round, *, hold: bool = True) -> list[Head]:
    """Heads of lanes to claim, in their order; on PostgreSQL their lanes are held.

    At most `suspects` of them are jobs that ran out of a lease before, and no owner gets more than its cap. Who only
    wants to know does not `hold` them, and begins a round of its own, so that it sees the same as before.
    """
    look = _Look(uow, now, limit, max(suspects, 0), hold and uow.dialect == "postgresql")
    page = uow.rows(_PAGE, now=now, most=PAGE)
    if sum(count for _, _, count in page) < PAGE:
        for priority, rows in groupby(sorted(page), key=lambda row: row[0]):
            _take_at(look, priority, {owner for _, owner, _ in rows})
        return look.taken
    above = -1
    while look.missing > 0:
        [(priority,)] = uow.rows(_PRIORITY, above=above)
        if priority is None:
            break
        above = priority
        walked = _walk(look, priority, round_)
        _take_at(look, priority, {owner for at, owner, _ in page if at == priority} | walked)
    return look.taken


_PAGE = Prepared(
    text(
        """
SELECT next_priority, owner_id, count(*) FROM (
    SELECT next_priority, owner_id FROM lanes WHERE next_due_at <= :now ORDER BY next_due_at LIMIT :most) AS page
GROUP BY next_priority, owner_id
"""
    )
    .bindparams(given(lanes.c.next_due_at, "now"))
    .columns(lanes.c.next_priority, lanes.c.owner_id, literal_column("count", Integer))
)
_PRIORITY = Prepared(
    select(func.min(lanes.c.next_priority)).where(
        lanes.c.next_due_at.is_not(None), lanes.c.next_priority > bindparam("above")
    )
)


# --- The walk over the owners -----------------------------------------------------------------------------------------


def _walk(look: _Look, priority: int, round_: Round) -> set[UUID]:
    """The next owners with something due, from where the last walk ended; after the last owner comes the first."""
    after = round_.after.get(priority, _NOBODY)
    visited = _visit(look, priority, after, STEPS)
    if len(visited) < STEPS and after != _NOBODY:
        visited |= _visit(look, priority, _NOBODY, STEPS - len(visited))
        round_.after[priority] = _NOBODY
    if len(visited) == STEPS:
        round_.after[priority] = list(visited)[-1]
    return {owner for owner, due in visited.items() if due}


def _visit(look: _Look, priority: int, after: UUID, steps: int) -> dict[UUID, bool]:
    rows = look.uow.rows(_WALK, priority=priority, after=after, steps=steps, now=look.now, suspects=look.suspects)
    return {owner: bool(due) for owner, due in sorted(rows)}


# Each step jumps to the next owner in the index: a million due jobs of one owner cost one step.
_WALK_SQL: Final = """
WITH RECURSIVE owner(id, step) AS (
    {first}
    UNION ALL
    SELECT {next}, step + 1 FROM owner WHERE owner.id IS NOT NULL AND step < :steps)
SELECT owner.id, EXISTS (
    SELECT 1 FROM lanes WHERE next_priority = :priority AND owner_id = owner.id AND suspect = false
    AND next_due_at <= :now) OR (:suspects > 0 AND EXISTS (
    SELECT 1 FROM lanes WHERE next_priority = :priority AND owner_id = owner.id AND suspect = true
    AND next_due_at <= :now)) AS due
FROM owner WHERE owner.id IS NOT NULL
"""
_FROM: Final = "FROM lanes WHERE next_priority = :priority AND next_due_at IS NOT NULL AND owner_id >"
_FIRST: Final = f"SELECT owner_id {_FROM} {{after}} ORDER BY owner_id LIMIT 1"


def _walking(first: str) -> Prepared:
    sql = _WALK_SQL.format(first=first, next=f"({_FIRST.format(after='owner.id')})")
    statement = text(sql).bindparams(
        given(lanes.c.next_due_at, "now"), given(lanes.c.owner_id, "after"), bindparam("priority", type_=Integer)
    )
    statement = statement.bindparams(bindparam("steps", type_=Integer), bindparam("suspects", type_=Integer))
    return Prepared(statement.columns(lanes.c.owner_id.label("id"), literal_column("due", Boolean)))


_WALK = _walking(f"SELECT ({_FIRST.format(after=':after')}), 1")


# --- What an owner may get --------------------------------------------------------------------------------------------


def _stand(look: _Look, owners: Iterable[UUID]) -> None:
    """Learn when some owners were served and what they may get.

    A cap counts what runs, so on PostgreSQL the row of an owner with a cap is held while it is counted and until what
    is taken runs; when somebody else has it, this claim gives that owner nothing.
    """
    new = [{"owner": owner} for owner in sorted(owners) if owner not in look.known]
    stored = {owner: (served_at, cap) for owner, served_at, cap in look.uow.rows_of_many(_STANDING, new)}
    capped = {owner: cap for owner, (_, cap) in stored.items() if cap is not None}
    held = set(capped)
    if look.locks:
        asked = [{"owner": owner} for owner in sorted(capped)]
        held = {owner for (owner,) in look.uow.rows_of_many(_HOLD_OWNER, asked)}
    running: dict[UUID, int] = dict(look.uow.rows_of_many(_RUNNING, [{"owner": owner} for owner in sorted(held)]))
    for owner in (row["owner"] for row in new):
        served_at, _ = stored.get(owner, (None, None))
        if served_at is not None and served_at > look.now + LEEWAY:
            served_at = None  # A clock that was ahead told it: this owner would come after all others until then.
        room = look.limit if owner not in capped else 0
        if owner in held:
            room = max(0, capped[owner] - running.get(owner, 0))
        look.known[owner] = _Standing(served_at, room)


_STANDING = Prepared(
    text("SELECT owner_id, served_at, max_running FROM queue_owners WHERE owner_id IN (VALUES (:owner))")
    .bindparams(given(queue_owners.c.owner_id, "owner"))
    .columns(queue_owners.c.owner_id, queue_owners.c.served_at, queue_owners.c.max_running)
)
_HOLD_OWNER = Prepared(
    text("SELECT owner_id FROM queue_owners WHERE owner_id IN (VALUES (:owner)) FOR UPDATE SKIP LOCKED")
    .bindparams(given(queue_owners.c.owner_id, "owner"))
    .columns(queue_owners.c.owner_id)
)
_RUNNING = Prepared(
    text(
        "SELECT owner_id, count(*) FROM message_queue WHERE status = 'running' AND owner_id IN (VALUES (:owner)) "
        "GROUP BY owner_id"
    )
    .bindparams(given(message_queue.c.owner_id, "owner"))
    .columns(message_queue.c.owner_id, literal_column("count", Integer))
)


# --- Choosing and holding ---------------------------------------------------------------------------------------------


def _take_at(look: _Look, priority: int, owners: set[UUID]) -> None:
    """Take heads of one priority, one of each owner in turn."""
    if look.missing <= 0:
        return
    _stand(look, owners)
    for _ in range(LOOKS):
        chosen = _choose(look, priority, owners)
        got = _hold(look, chosen)
        for head in got:
            look.known[head.owner_id].room -= 1
            look.suspects -= head.suspect
        look.taken += got
        look.passed_over |= {head.lane for head in chosen}
        if look.missing <= 0 or len(got) == len(chosen):
            return


def _choose(look: _Look, priority: int, owners: set[UUID]) -> list[Head]:
    """A fair share of each owner's line first; whole lines only when that is not enough."""
    waiting = [owner for owner in sorted(owners) if look.known[owner].room > 0]
    waiting.sort(key=lambda owner: _turn(look.known[owner]))
    in_turn = waiting[: look.missing] if not look.passed_over else waiting
    chosen: list[Head] = []
    share = -(-look.missing // max(len(in_turn), 1))
    for most in (share, look.missing):
        lines = _lines(look, priority, in_turn, most)
        chosen = _in_turn(lines, look.missing, look.suspects)
        if len(chosen) == look.missing or most == look.missing or all(len(line) < most for line in lines):
            break
    if len(chosen) < look.missing and len(in_turn) < len(waiting):  # What suspects may not fill is the others'.
        lines = _lines(look, priority, waiting, look.missing)
        chosen = _in_turn(lines, look.missing, look.suspects)
    return chosen


def _turn(standing: _Standing) -> tuple[bool, datetime | None]:
    """Those who were never served come first."""
    return (standing.served_at is not None, standing.served_at)


def _lines(look: _Look, priority: int, owners: Sequence[UUID], most: int) -> list[list[Head]]:
    """Each owner's due heads, healthy ones first: a page of suspects at the front must not hide those behind it."""
    more = len(look.passed_over)
    asked: list[dict[str, object]] = [
        {
            "priority": priority,
            "owner": owner,
            "now": look.now,
            "most": min(most, look.known[owner].room) + more,
            "suspects": look.suspects and look.suspects + more,
        }
        for owner in owners
    ]
    rows = look.uow.rows_of_many(_LINES, asked)
    found: Mapping[UUID, list[Head]] = {owner: [] for owner in owners}
    for head in sorted((Head(*row) for row in rows), key=lambda head: (head.suspect, head.due_at)):
        line = found[head.owner_id]
        if head.lane not in look.passed_over and len(line) < min(most, look.known[head.owner_id].room):
            line.append(head)
    return [found[owner] for owner in owners]


_HEAD_COLUMNS = (lanes.c.lane, lanes.c.head_job, lanes.c.owner_id, lanes.c.suspect, lanes.c.next_due_at)


_GIVEN_LINES: Final = (
    "WITH given (priority, owner, now, most, suspects) AS (VALUES (:priority, :owner, :now, :most, :suspects))"
)
_PARTS_OF_A_LINE: Final = """
    SELECT {what} FROM (SELECT {what} FROM lanes AS line
        WHERE next_priority = given.priority AND owner_id = given.owner AND suspect = false
        AND next_due_at <= given.now ORDER BY next_due_at LIMIT {most}) AS healthy
    UNION ALL
    SELECT {what} FROM (SELECT {what} FROM lanes AS line
        WHERE next_priority = given.priority AND owner_id = given.owner AND suspect = true
        AND next_due_at <= given.now ORDER BY next_due_at LIMIT {suspects}) AS suspects
"""


def _lines_of(sql: str, **words: str) -> TextualSelect:
    """All lines in one statement: a statement for each owner was half of what a claim cost."""
    statement = text(f"{_GIVEN_LINES} {sql}".format(parts=_PARTS_OF_A_LINE.format(**words)))
    statement = statement.bindparams(given(lanes.c.owner_id, "owner"), given(lanes.c.next_due_at, "now"))
    numbers = (bindparam(name, type_=Integer) for name in ("priority", "most", "suspects"))
    return statement.bindparams(*numbers).columns(*_HEAD_COLUMNS)


_LINES = Prepared(
    # Without LATERAL, and with one limit for all rows: an owner with a lower cap gets too many here. The list between
    # the two keeps SQLite from reading all lanes for each owner, as it would where ANALYZE has seen few of them.
    _lines_of(
        "SELECT lane, head_job, owner_id, suspect, next_due_at FROM given "
        "CROSS JOIN json_each((SELECT json_group_array(rowid) FROM ({parts}))) AS one "
        "CROSS JOIN lanes ON lanes.rowid = one.value",
        what="rowid",
        most="(SELECT max(most) FROM given)",
        suspects="(SELECT max(suspects) FROM given)",
    ),
    on_postgresql=_lines_of(
        "SELECT lane, head_job, owner_id, suspect, next_due_at FROM given JOIN LATERAL ({parts}) AS line ON true",
        what="lane, head_job, owner_id, suspect, next_due_at",
        most="given.most",
        suspects="given.suspects",
    ),
)


def _in_turn(lines: Sequence[Sequence[Head]], limit: int, suspects: int) -> list[Head]:
    """The first of each line, then the second of each, up to a limit."""
    found: list[Head] = []
    for position in range(max(map(len, lines), default=0)):
        for line in lines:
            if position < len(line) and len(found) < limit and suspects >= line[position].suspect:
                suspects -= line[position].suspect
                found.append(line[position])
    return found


def _hold(look: _Look, chosen: Sequence[Head]) -> list[Head]:
    """Those of the chosen heads that nobody else holds and that are still as they were."""
    if not look.locks:
        return list(chosen)
    asked = [{"lane": lane} for lane in sorted(head.lane for head in chosen)]
    held = {head.lane: head for head in (Head(*row) for row in look.uow.rows_of_many(_HOLD, asked))}
    return [head for head in chosen if held.get(head.lane) == head]


_HOLD = Prepared(
    text(
        """
SELECT lane, head_job, owner_id, suspect, next_due_at FROM lanes
WHERE lane IN (VALUES (:lane)) AND next_due_at IS NOT NULL FOR UPDATE SKIP LOCKED
"""
    ).columns(*_HEAD_COLUMNS)
)
