"""What a function sees of its transaction.

A unit of work is a plain function: no `await` fits in it, so no transaction is ever held across a model or a Twilio
call. It may run twice (after a lock, after a neighbour broke the batch), so ids and time are handed to it and it
touches nothing but its unit of work.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias
from uuid import UUID

from sqlalchemy import ClauseElement, Connection, CursorResult, Table
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import RowMapping
from sqlalchemy.sql import Executable
from sqlalchemy.sql.compiler import SQLCompiler

Rows: TypeAlias = CursorResult[*tuple[Any, ...]]
"""Rows as the driver gives them: this is the parsing edge of the database, repositories turn them into entities."""


_SQLITE = sqlite.dialect(paramstyle="qmark")


class Prepared:
    """A statement compiled once, for hot functions: what SQLAlchemy does anew for each row costs as much as the row.

    `statement` names every column it sets; rows are mappings with those keys.
    """

    __slots__ = ("_binds", "sql")

    def __init__(self, statement: ClauseElement) -> None:
        compiled = statement.compile(dialect=_SQLITE)
        if not isinstance(compiled, SQLCompiler):
            raise TypeError("only statements with values can be prepared")
        self.sql = str(compiled)
        names = compiled.positiontup or ()
        self._binds = [(name, compiled.binds[name].type.bind_processor(_SQLITE)) for name in names]

    def rows(self, values: Iterable[Mapping[str, object]]) -> list[tuple[object, ...]]:
        """The rows as the driver takes them."""
        binds = self._binds
        return [
            tuple([row[name] if process is None else process(row[name]) for name, process in binds]) for row in values
        ]


class UnitOfWork:
    """One function's share of a transaction; `owner` is the tenant whose rows owner-scoped repositories reach."""

    __slots__ = ("_connection", "_hooks", "owner")

    def __init__(self, connection: Connection, owner: UUID | None = None) -> None:
        self._connection = connection
        self._hooks: list[Callable[[], None]] = []
        self.owner = owner

    def for_owner(self, owner: UUID) -> "UnitOfWork":
        """The same transaction, narrowed to one owner's rows."""
        narrowed = UnitOfWork(self._connection, owner)
        narrowed._hooks = self._hooks
        return narrowed

    def execute(
        self, statement: Executable, values: Mapping[str, object] | Sequence[Mapping[str, object]] | None = None
    ) -> Rows:
        """Run a statement; a sequence of mappings becomes one multi-row statement where the database can."""
        return self._connection.execute(statement, values)

    def run_many(self, prepared: Prepared, values: Iterable[Mapping[str, object]]) -> int:
        """Run a prepared statement for each row; how many rows were changed."""
        rows = prepared.rows(values)
        return self._connection.exec_driver_sql(prepared.sql, rows).rowcount if rows else 0

    def first(self, statement: Executable, values: Mapping[str, object] | None = None) -> RowMapping | None:
        """The first row, or None."""
        return self.execute(statement, values).mappings().first()

    def all(self, statement: Executable, values: Mapping[str, object] | None = None) -> Sequence[RowMapping]:
        """Every row."""
        return self.execute(statement, values).mappings().all()

    def changed(self, statement: Executable, values: Mapping[str, object] | None = None) -> int:
        """How many rows an UPDATE or DELETE met."""
        return self.execute(statement, values).rowcount

    def insert(self, table: Table) -> sqlite.Insert:
        """The dialect's INSERT, which knows ON CONFLICT."""
        return sqlite.insert(table)

    def after_commit(self, hook: Callable[[], None]) -> None:
        """Call `hook` once the transaction is durable; it must be quick and must not raise."""
        self._hooks.append(hook)

    @property
    def hooks(self) -> Sequence[Callable[[], None]]:
        """What is to be called after the commit."""
        return self._hooks
