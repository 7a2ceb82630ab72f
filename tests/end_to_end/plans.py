"""Asks the database how it will look for what each statement wants, before the statement is run.

    plans = Plans()
    world = await World.open(Watched(database, plans), …)     # everything it does is planned, on either database
    await fill(database, owner)                                # first: in an empty table any plan looks well
    assert plans.walks() == []

A plan *walks* when it reads a table, or an index, from one end to the other, or everything that an owner has: what it
costs then grows with the table. `EXPLAIN` is asked in the transaction of the statement, under its role and settings.
"""

import json
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import TypeAlias, TypeVar
from uuid import UUID

from sqlalchemy import Boolean, Column, Connection, Integer, LargeBinary, Table, event

from recado.bootstrap import metadata
from recado.core.database.driver import driver_of
from recado.core.database.engine import Database
from recado.core.database.postgres.database import PostgresDatabase
from recado.core.database.prepared import Prepared
from recado.core.database.types import Id, Json, JsonObject, JsonValue, Moment, ProviderId
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.queue.lane import send_lane
from tests.conftest import NOON
from tests.support.lanes import lane_named

T = TypeVar("T")
I = TypeVar("I")  # noqa: E741 - input
O = TypeVar("O")  # noqa: E741 - output

Node: TypeAlias = "dict[str, JsonValue]"

ROWS = 600
"""In each table: enough for PostgreSQL to prefer an index, if there is one."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a plan: how a table is read."""

    statement: str
    table: str
    how: str

    def __str__(self) -> str:
        return f"{self.how}\n    {self.statement}"


@dataclass(slots=True)
class Plans:
    """The steps of every statement that was planned, by its text."""

    of: dict[str, list[Step]] = field(default_factory=dict)

    def walks(self) -> list[Step]:
        """The steps whose cost grows with their table."""
        return [step for steps in self.of.values() for step in steps if step.how]

    def add(self, uow: UnitOfWork, sql: str, values: Sequence[object] | Mapping[str, object]) -> None:
        """Plan a statement with its values."""
        key = _normal(sql)
        if key in self.of or not re.match(r"SELECT|INSERT|UPDATE|DELETE|WITH", key):
            return
        self.of[key] = list(_steps(uow, key, sql, values))

    def add_prepared(self, uow: UnitOfWork, prepared: Prepared) -> None:
        """Plan a statement whatever its values may be."""
        form = prepared.compiled(uow.dialect)
        key = _normal(form.driver_sql)
        if key not in self.of:
            self.of[key] = list(_steps(uow, key, form.driver_sql, None))


def _normal(sql: str) -> str:
    """A statement in one line; rows of values that are repeated, once."""
    line = " ".join(sql.split())
    return re.sub(r"(\((?:[?]|\$\d+)(?:, (?:[?]|\$\d+))*\))(?:, ?\((?:[?]|\$\d+)(?:, (?:[?]|\$\d+))*\))+", r"\1", line)


# --- What a plan says -------------------------------------------------------------------------------------------------


def _steps(
    uow: UnitOfWork, key: str, sql: str, values: Sequence[object] | Mapping[str, object] | None
) -> Iterator[Step]:
    if uow.dialect == "sqlite":
        yield from _sqlite_steps(uow, key, sql, values)
    else:
        yield from _postgres_steps(uow, key, sql, values)


def _sqlite_steps(
    uow: UnitOfWork, key: str, sql: str, values: Sequence[object] | Mapping[str, object] | None
) -> Iterator[Step]:
    bound = [None] * sql.count("?") if values is None else values
    cursor = driver_of(uow._connection).execute(f"EXPLAIN QUERY PLAN {sql}", bound)  # type: ignore[arg-type]
    names = _names(sql)
    for row in cursor.fetchall():
        detail = str(row[-1])
        found = re.match(r"(SCAN|SEARCH) (\S+)(?: USING (?:AUTOMATIC )?.*?INDEX \S+)?", detail)
        if found is None or (table := names.get(found[2])) is None:
            continue
        searched = re.search(r"\((.*)\)$", detail)
        conditions = searched[1] if searched else ""
        yield Step(key, table, detail if found[1] == "SCAN" or _of_an_owner(conditions) else "")


def _postgres_steps(
    uow: UnitOfWork, key: str, sql: str, values: Sequence[object] | Mapping[str, object] | None
) -> Iterator[Step]:
    how = "EXPLAIN (FORMAT JSON, GENERIC_PLAN)" if values is None else "EXPLAIN (FORMAT JSON)"
    driver = uow._connection.connection.driver_connection
    import psycopg

    assert isinstance(driver, psycopg.Connection)
    if isinstance(values, Mapping):
        [[told]] = driver.execute(f"{how} {sql}".encode(), values).fetchall()
    elif values is None:
        [[told]] = driver.execute(f"{how} {sql}".encode()).fetchall()
    else:
        [[told]] = psycopg.RawCursor(driver).execute(f"{how} {sql}".encode(), values).fetchall()
    plan = json.loads(told) if isinstance(told, str) else told
    for node in _nodes(plan[0]["Plan"]):
        table, kind = node.get("Relation Name"), str(node["Node Type"])
        if kind == "Bitmap Index Scan":
            table = str(node["Index Name"])
        if not isinstance(table, str):
            continue
        condition = str(node.get("Index Cond", ""))
        index = node.get("Index Name", "")
        if kind == "Seq Scan" or ("Index" in kind and (not condition or _of_an_owner(condition))):
            yield Step(key, table, f"{kind} {table} {index} {condition}".strip())
        else:
            yield Step(key, table, "")


def _nodes(node: Node) -> Iterator[Node]:
    yield node
    below = node.get("Plans", [])
    assert isinstance(below, list)
    for each in below:
        assert isinstance(each, dict)
        yield from _nodes(each)


def _names(sql: str) -> dict[str, str]:
    """What the tables of a statement are called in it."""
    names = {}
    for table in metadata().tables:
        names[table] = table
        for alias in re.findall(rf"\b{table}(?: AS)? (\w+)", sql):
            names.setdefault(alias, table)
    return names


def _of_an_owner(conditions: str) -> bool:
    """Whether a search is only for an owner, who may have everything."""
    return re.fullmatch(r"owner_id=\?|\(owner_id = [^()]*(?:\([^()]*\))?[^()]*\)", conditions) is not None


# --- Watching ---------------------------------------------------------------------------------------------------------


class WatchedUnit(UnitOfWork):
    """A unit of work whose statements are planned before they are run."""

    __slots__ = ("_plans",)

    _plans: Plans

    @classmethod
    def over(cls, uow: UnitOfWork, plans: Plans) -> "WatchedUnit":
        made = cls(uow._connection, uow.owner, uow._meters, uow._changes)
        made._hooks, made._notifies, made._plans = uow._hooks, uow._notifies, plans
        _watch(uow._connection, plans)
        return made

    def for_owner(self, owner: UUID) -> UnitOfWork:
        return WatchedUnit.over(super().for_owner(owner), self._plans)

    def _execute(self, sql: str, bound: Sequence[object]) -> tuple[int, list[tuple[object, ...]]]:
        self._plans.add(self, sql, bound)
        return super()._execute(sql, bound)


def _watch(connection: Connection, plans: Plans) -> None:
    """What SQLAlchemy runs is planned too."""
    if connection.info.get("plans") is plans:
        return
    connection.info["plans"] = plans

    def plan(connection: Connection, _cursor: object, sql: str, values: object, _context: object, many: bool) -> None:
        first = values[0] if many and isinstance(values, Sequence) else values
        assert isinstance(first, Mapping | Sequence)
        plans.add(UnitOfWork(connection), sql, first)

    event.listen(connection, "before_cursor_execute", plan)


class Watched:
    """A database that plans whatever is run on it."""

    def __init__(self, inner: Database, plans: Plans) -> None:
        self._inner = inner
        self._plans = plans

    @property
    def url(self) -> str:
        return self._inner.url

    @property
    def last_failure(self) -> str | None:
        return self._inner.last_failure

    def _watching(self, work: Callable[[UnitOfWork], T]) -> Callable[[UnitOfWork], T]:
        return lambda uow: work(WatchedUnit.over(uow, self._plans))

    async def write(self, work: Callable[[UnitOfWork], T], *, owner: UUID | None, urgent: bool = False) -> T:
        return await self._inner.write(self._watching(work), owner=owner, urgent=urgent)

    async def read(self, work: Callable[[UnitOfWork], T], *, owner: UUID | None) -> T:
        return await self._inner.read(self._watching(work), owner=owner)

    def batched(
        self, work: Callable[[UnitOfWork, Sequence[I]], Sequence[O]], *, refusable: bool = False
    ) -> Callable[[I], Awaitable[O]]:
        return self._inner.batched(
            lambda uow, given: work(WatchedUnit.over(uow, self._plans), given), refusable=refusable
        )

    def write_from_thread(self, work: Callable[[UnitOfWork], T]) -> "Future[T]":
        return self._inner.write_from_thread(self._watching(work))

    def on_commit(self, listener: Callable[[], None]) -> None:
        self._inner.on_commit(listener)

    async def close(self) -> None:
        await self._inner.close()


# --- Filling ----------------------------------------------------------------------------------------------------------


async def fill(database: Database, owner: UUID) -> None:
    """Put a busy year of one owner into every table: mostly what has ended, and a long queue."""

    for table in metadata().sorted_tables:
        if table.name not in _LEFT_ALONE:
            rows = [_row(table, n, owner) for n in range(1, ROWS + 1)]
            await database.write(partial(_insert, table=table, rows=rows), owner=None)
    if isinstance(database, PostgresDatabase):
        with closing(database.open_connection()) as connection:
            connection.execute("ANALYZE")


def _insert(uow: UnitOfWork, table: Table, rows: Sequence[Mapping[str, object]]) -> None:
    uow.execute(table.insert(), rows)


_LEFT_ALONE = {"owners", "users", "sessions", "user_links", "schedules", "directory_generation", "event_numbers"}
"""What the world makes itself, and what refers to it."""
_OFTEN: dict[str, Sequence[str]] = {
    "lanes.kind": ("reply", "send"),
    "message_queue.status": ("done",) * 10 + ("waiting",) * 4 + ("dead", "running"),
    "messages.outcome": ("answered", "superseded", "suppressed"),
    "messages.source": ("webhook",),
    "conversations.status": ("closed", "closed", "open"),
    "conversations.held_by": ("agent", "person"),
    "answers.author": ("agent", "agent", "person", "apology"),
    "answers.state": ("accepted",),
    "attempts.state": ("accepted",),
    "event_deliveries.state": ("delivered",),
    "bulk_operations.kind": ("retry", "discard"),
}
_NULL = {
    "messages.answered_by",
    "message_queue.replayed_by",
    "message_queue.discarded_at",
    "message_queue.leased_until",
    "channel_accounts.paused_until",
}
_OPEN = {
    "messages.turn_id": 10,
    "messages.outcome": 10,
    "turns.settled_at": 12,
    "answers.settled_at": 11,
    "inbox_items.resolved_at": 12,
}
"""What has not ended, of every sixteen: each with a job of its lane that waits, so that nothing is to be rescued."""
_TO_COME = {"message_queue.due_at", "lanes.next_due_at", "conversations.last_activity_at", "turns.deadline_at"}
"""Or the world would go and work on it."""


def _row(table: Table, n: int, owner: UUID) -> dict[str, object]:
    return {column.name: _value(column, n, owner) for column in table.columns if column.computed is None}


def _value(column: "Column[object]", n: int, owner: UUID) -> object:
    name = f"{column.table.name}.{column.name}"
    if name in _NULL or _OPEN.get(name) == n % 16:
        return None
    if name in _OFTEN:
        return _OFTEN[name][n % len(_OFTEN[name])]
    if name in _TO_COME:
        return NOON + timedelta(days=300)
    if column.name in ("lane", "send_lane"):
        sends = column.name == "send_lane" or (name == "message_queue.lane" and n % 2 == 1)
        return send_lane(lane_named(f"{n}")) if sends else lane_named(f"{n}")
    if column.name == "owner_id" and not column.primary_key:
        return owner
    return _by_type(column, n)


def _by_type(column: "Column[object]", n: int) -> object:
    if isinstance(column.type, Integer):
        if column.table.name in ("events", "search_documents"):  # What the world adds is numbered from 1 on.
            return n - ROWS
        return n if column.primary_key or column.name == "position" else 1
    made: Mapping[type, object] = {
        Id: UUID(int=n),
        Moment: NOON - timedelta(days=300) + timedelta(minutes=n),
        ProviderId: f"SM{n:032x}",
        Boolean: False,
        LargeBinary: b"%d" % n,
        Json: {},
        JsonObject: {},
    }
    return made.get(type(column.type), f"{n}")
