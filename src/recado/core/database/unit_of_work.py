"""What a function sees of its transaction.

A unit of work is a plain function: no `await` fits in it, so no transaction is ever held across a model or a Twilio
call. It may run twice (after a lock, after a neighbour broke the batch), so ids and time are handed to it and it
touches nothing but its unit of work.
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from uuid import UUID

from sqlalchemy import Connection, CursorResult, Table
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import RowMapping
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql import Executable

from recado.core.database.driver import driver_of, set_answer_seconds
from recado.core.database.prepared import CompiledStatement, Prepared, Row
from recado.core.metrics import Counter, Meters

if TYPE_CHECKING:
    pass

LONG_SECONDS: Final = 300
"""How long a statement of unhurried work may take."""

Rows: TypeAlias = CursorResult[*tuple[Any, ...]]
"""Rows as the driver gives them: this is the parsing edge of the database, repositories turn them into entities."""


_Executed: TypeAlias = tuple[int, list[Row]]
"""How many rows a statement changed, and the rows it gave."""


class UnitOfWork:
    """One function's share of a transaction; `owner` is the tenant whose rows owner-scoped repositories reach."""

    __slots__ = ("_connection", "_dialect", "_driver", "_hooks", "_meters", "_notifies", "owner")

    def __init__(self, connection: Connection, owner: UUID | None = None, meters: Meters | None = None) -> None:
        self._connection = connection
        self._dialect = connection.dialect.name
        self._driver = driver_of(connection)
        self._hooks: list[Callable[[], None]] = []
        self._notifies: list[bool] = []
        self._meters = meters
        self.owner = owner

    def for_owner(self, owner: UUID) -> "UnitOfWork":
        """The same transaction, narrowed to one owner's rows; nobody's transaction becomes another's."""
        if self.owner not in {None, owner}:
            raise RuntimeError("a unit of work of one owner was about to be another's")
        narrowed = UnitOfWork(self._connection, owner, self._meters)
        narrowed._hooks, narrowed._notifies = self._hooks, self._notifies
        return narrowed

    def rows(self, prepared: Prepared, **values: object) -> list[Row]:
        """All rows of a prepared statement."""
        compiled = prepared.compiled(self._dialect)
        return compiled.typed_rows(self._execute(compiled.driver_sql, compiled.bind(values))[1])

    def run(self, prepared: Prepared, **values: object) -> int:
        """Run a prepared statement; how many rows it changed."""
        compiled = prepared.compiled(self._dialect)
        return self._execute(compiled.driver_sql, compiled.bind(values))[0]

    def run_many(self, prepared: Prepared, values: Iterable[Mapping[str, object]]) -> int:
        """Run a prepared statement for each of many rows; how many rows were changed."""
        return sum(changed for changed, _ in self._run_many(prepared.compiled(self._dialect), values))

    def rows_of_many(self, prepared: Prepared, values: Iterable[Mapping[str, object]]) -> list[Row]:
        """Run a prepared statement with RETURNING for each of many rows; what it returned."""
        compiled = prepared.compiled(self._dialect)
        return [row for _, rows in self._run_many(compiled, values) for row in compiled.typed_rows(rows)]

    def execute_raw(self, sql: str, *values: object) -> list[Row]:
        """Bare SQL on the driver itself, with the database's own placeholders (`?`, `$1`); what it returned."""
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
        """The error that SQLAlchemy would have made of it; without the values, as it is logged and stored."""
        base = self._connection.dialect.loaded_dbapi.Error
        made: Exception = DBAPIError.instance(sql, None, error, base, hide_parameters=True)
        return made

    def execute(
        self, statement: Executable, values: Mapping[str, object] | Sequence[Mapping[str, object]] | None = None
    ) -> Rows:
        """Run a statement that is built anew each time; a sequence of mappings runs it for each."""
        return self._connection.execute(statement, values)

    def first(self, statement: Executable, values: Mapping[str, object] | None = None) -> RowMapping | None:
        """The first row, or None."""
        return self.execute(statement, values).mappings().first()

    def all(self, statement: Executable, values: Mapping[str, object] | None = None) -> Sequence[RowMapping]:
        """Every row."""
        return self.execute(statement, values).mappings().all()

    def changed(self, statement: Executable, values: Mapping[str, object] | None = None) -> int:
        """How many rows an UPDATE or DELETE met."""
        return self.execute(statement, values).rowcount

    def insert(self, table: Table) -> postgresql.Insert:
        """The dialect's INSERT, which knows ON CONFLICT."""
        return postgresql.insert(table)

    def after_commit(self, hook: Callable[[], None]) -> None:
        """Call `hook` once the transaction is durable; it must be quick and must not raise."""
        self._hooks.append(hook)

    def count(self, counter: Counter, *labels: str, by: float = 1.0) -> None:
        """Count what this transaction does, once it is durable."""
        if self._meters is not None:
            self._hooks.append(functools.partial(self._meters.count, counter, *labels, by=by))

    def allow_long_statements(self) -> None:
        """Let the statements of this transaction take minutes: they look at everything there is."""
        if self._dialect == "postgresql":
            self.execute_raw(f"SET LOCAL statement_timeout = '{LONG_SECONDS}s'")
            set_answer_seconds(self._connection, LONG_SECONDS)

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`, for the few statements that differ by more than their text."""
        return self._dialect

    def lock_by_name(self, name: str) -> None:
        """Nobody else who holds that name goes on before this transaction ends. SQLite has one writer anyway."""
        if self._dialect == "postgresql":
            self.execute_raw("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", name)

    def notify(self) -> None:
        """Something may be due: after the commit whoever waits elsewhere is told, unless the file tells them."""
        if not self._notifies:
            self._notifies.append(True)

    @property
    def notifies(self) -> bool:
        return bool(self._notifies)

    @property
    def hooks(self) -> Sequence[Callable[[], None]]:
        """What is to be called after the commit."""
        return self._hooks
