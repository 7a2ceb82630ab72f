"""A function's view of its transaction.

A unit of work is a plain function: it cannot `await`, so no transaction is ever held across a call of a model or a
provider. It may run twice (after a lock, or when another function broke the batch), so ids and time are handed to it,
and it changes nothing but through its unit of work.
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias
from uuid import UUID

from sqlalchemy import Connection, CursorResult
from sqlalchemy.engine import RowMapping
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql import Executable

from recado.core.database.changes import Changes, Topic
from recado.core.database.driver import driver_of, set_answer_seconds
from recado.core.database.prepared import CompiledStatement, Prepared, Row
from recado.core.metrics import Counter, Meters

LONG_SECONDS: Final = 300
"""How long a statement may take after `allow_long_statements`."""

STEP: Final = 500
"""The most rows that one write changes, so that no other write waits long for the lock."""

Rows: TypeAlias = CursorResult[*tuple[Any, ...]]
"""Rows as the driver returns them. This is the parsing edge of the database; repositories turn rows into entities."""


_Executed: TypeAlias = tuple[int, list[Row]]
"""The number of rows that a statement changed, and the rows that it returned."""


Channel: TypeAlias = Literal["recado_jobs", "recado_events"]
"""Where other processes listen on PostgreSQL: for jobs that may be due, and for events that were numbered."""


class UnitOfWork:
    """One function's share of a transaction; `owner` is the tenant whose rows owner-scoped repositories reach."""

    __slots__ = ("_changes", "_connection", "_dialect", "_done", "_driver", "_hooks", "_meters", "_notifies", "owner")

    def __init__(
        self,
        connection: Connection,
        owner: UUID | None = None,
        meters: Meters | None = None,
        changes: Changes | None = None,
    ) -> None:
        self._connection = connection
        self._dialect = connection.dialect.name
        self._driver = driver_of(connection)
        self._hooks: list[Callable[[], None]] = []
        self._notifies: list[Channel] = []
        self._done: set[str] = set()
        self._meters = meters
        self._changes = changes
        self.owner = owner

    def for_owner(self, owner: UUID) -> "UnitOfWork":
        """Return the same transaction narrowed to one owner's rows;

        raises `RuntimeError` if it belongs to another owner.
        """
        if self.owner not in {None, owner}:
            raise RuntimeError("a unit of work of one owner was about to be another's")
        narrowed = UnitOfWork(self._connection, owner, self._meters, self._changes)
        narrowed._hooks, narrowed._notifies, narrowed._done = self._hooks, self._notifies, self._done
        return narrowed

    def rows(self, prepared: Prepared, **values: object) -> list[Row]:
        """Return all rows of a prepared statement."""
        compiled = prepared.compiled(self._dialect)
        return compiled.typed_rows(self._execute(compiled.driver_sql, compiled.bind(values))[1])

    def run(self, prepared: Prepared, **values: object) -> int:
        """Run a prepared statement; return the number of changed rows."""
        compiled = prepared.compiled(self._dialect)
        return self._execute(compiled.driver_sql, compiled.bind(values))[0]

    def run_many(self, prepared: Prepared, values: Iterable[Mapping[str, object]]) -> int:
        """Run a prepared statement for each of many rows; return the number of changed rows."""
        return sum(changed for changed, _ in self._run_many(prepared.compiled(self._dialect), values))

    def rows_of_many(self, prepared: Prepared, values: Iterable[Mapping[str, object]]) -> list[Row]:
        """Run a prepared statement with RETURNING for each of many rows; return the rows."""
        compiled = prepared.compiled(self._dialect)
        return [row for _, rows in self._run_many(compiled, values) for row in compiled.typed_rows(rows)]

    def execute_raw(self, sql: str, *values: object) -> list[Row]:
        """Run SQL on the driver itself, with the database's own placeholders (`?`, `$1`); return the rows."""
        return self._execute(sql, values)[1]

    def _run_many(self, compiled: CompiledStatement, values: Iterable[Mapping[str, object]]) -> Iterator[_Executed]:
        for sql, row in compiled.statements_for(compiled.bind_rows(values)):
            yield self._execute(sql, row)

    def _execute(self, sql: str, bound: Sequence[object]) -> _Executed:
        try:
            cursor = self._driver.execute(sql, bound)
            if cursor.description is None:
                return cursor.rowcount, []
            return cursor.rowcount, cursor.fetchall()  # An error may come with any row, not only with the first.
        except self._connection.dialect.loaded_dbapi.Error as error:
            raise self._database_error(sql, error) from error

    def _database_error(self, sql: str, error: Exception) -> Exception:
        """Return the error that SQLAlchemy would have raised, without the values: it is logged and stored."""
        base = self._connection.dialect.loaded_dbapi.Error
        made: Exception = DBAPIError.instance(sql, None, error, base, hide_parameters=True)
        return made

    def execute(
        self, statement: Executable, values: Mapping[str, object] | Sequence[Mapping[str, object]] | None = None
    ) -> Rows:
        """Run a statement that is built for each call; a sequence of mappings runs it for each of them."""
        return self._connection.execute(statement, values)

    def first(self, statement: Executable, values: Mapping[str, object] | None = None) -> RowMapping | None:
        """Return the first row, or None."""
        return self.execute(statement, values).mappings().first()

    def all(self, statement: Executable, values: Mapping[str, object] | None = None) -> Sequence[RowMapping]:
        """Return every row."""
        return self.execute(statement, values).mappings().all()

    def changed(self, statement: Executable, values: Mapping[str, object] | None = None) -> int:
        """Return the number of rows that an UPDATE or DELETE changed."""
        return self.execute(statement, values).rowcount

    def after_commit(self, hook: Callable[[], None]) -> None:
        """Call `hook` once the transaction is durable; it must be quick and must not raise."""
        self._hooks.append(hook)

    def count(self, counter: Counter, *labels: str, by: float = 1.0) -> None:
        """Count an event of this transaction once the transaction is durable."""
        if self._meters is not None:
            self._hooks.append(functools.partial(self._meters.count, counter, *labels, by=by))

    def tell(self, topic: Topic, owner: UUID) -> None:
        """Tell those in this process who asked for a topic, once the transaction is durable."""
        if self._changes is not None:
            self._hooks.append(functools.partial(self._changes.tell, topic, owner))

    def allow_long_statements(self) -> None:
        """Let the statements of this transaction take minutes, for those that read whole tables."""
        if self._dialect == "postgresql":
            self.execute_raw(f"SET LOCAL statement_timeout = '{LONG_SECONDS}s'")
            set_answer_seconds(self._connection, LONG_SECONDS)

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`, for the few statements that differ by more than their text."""
        return self._dialect

    def once(self, what: str) -> None:
        """Raise `RuntimeError` when this is called again with the same text in one transaction."""
        if what in self._done:
            raise RuntimeError(f"a transaction {what} twice; this is a fault of Recado")
        self._done.add(what)

    def lock_by_name(self, name: str) -> None:
        """Lock a name until the transaction ends. SQLite has one writer anyway."""
        if self._dialect == "postgresql":
            self.execute_raw("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", name)

    def notify(self, channel: Channel = "recado_jobs") -> None:
        """Notify other processes after the commit, by default that a job may be due.

        SQLite needs no call: its readers watch `data_version`.
        """
        if channel not in self._notifies:
            self._notifies.append(channel)

    @property
    def notifies(self) -> Sequence[Channel]:
        """The channels to notify after the commit."""
        return self._notifies

    @property
    def hooks(self) -> Sequence[Callable[[], None]]:
        """Functions to call after the commit."""
        return self._hooks
