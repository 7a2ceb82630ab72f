"""Statements that are compiled once and then run on the driver itself.

Building a statement with SQLAlchemy, finding it in its cache and running it costs about 300 us each time, running the
compiled text on the driver 5 us (measured). So statements of the road of a message are constants whose values are
bound, written with SQLAlchemy's expressions all the same: tables, columns and their types are named in one place.

Each database has its form of a statement: its placeholders, its types, and where its SQL differs, a text of its own.
"""

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, cached_property
from typing import Any, TypeAlias

from sqlalchemy import ClauseElement, Dialect, bindparam
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import BindParameter
from sqlalchemy.sql.schema import Column, Table
from sqlalchemy.sql.selectable import ReturnsRows
from sqlalchemy.types import NullType

Row: TypeAlias = tuple[Any, ...]
"""A row with the domain's types: this is the parsing edge of the database, repositories turn it into entities."""

_Process: TypeAlias = Callable[[Any], object] | None


@cache
def _dialect(name: str) -> Dialect:
    """How a database wants its SQL, with values by position as the driver itself takes them."""
    if name == "sqlite":
        return sqlite.dialect(paramstyle="qmark")
    from sqlalchemy.dialects.postgresql import psycopg  # Who has SQLite need not have psycopg.

    compiled: Dialect = psycopg.dialect(paramstyle="format")  # type: ignore[no-untyped-call]
    return compiled


class Prepared:
    """A statement whose values are `bindparam`s; each value is converted as the type of its column says.

    It is compiled when it is first used, so that importing a module full of them costs nothing. `on_postgresql` is said
    there instead, with the same values and columns.
    """

    def __init__(self, statement: ClauseElement, *, on_postgresql: ClauseElement | None = None) -> None:
        self._statements = {"sqlite": statement, "postgresql": statement if on_postgresql is None else on_postgresql}
        self._compiled_for: dict[str, CompiledStatement] = {}

    def compiled(self, dialect: str) -> "CompiledStatement":
        """The statement as one database takes it."""
        compiled = self._compiled_for.get(dialect)
        if compiled is None:
            compiled = self._compiled_for[dialect] = CompiledStatement(self._statements[dialect], _dialect(dialect))
        return compiled


class CompiledStatement:
    """A statement compiled for one database."""

    def __init__(self, statement: ClauseElement, dialect: Dialect) -> None:
        self._statement = statement
        self._dialect = dialect
        self._mark = "?" if dialect.name == "sqlite" else "%s"
        self._sizes: dict[int, str] = {}

    @cached_property
    def _compiler(self) -> SQLCompiler:
        compiled = self._statement.compile(dialect=self._dialect)
        assert isinstance(compiled, SQLCompiler)  # noqa: S101 - narrows the type: only DDL is compiled by another
        return compiled

    @cached_property
    def sql(self) -> str:
        """The text as SQLAlchemy writes it."""
        if self._compiler.has_out_parameters or self._compiler.post_compile_params:
            raise TypeError("a list of values cannot be bound in a prepared statement: run it for each")
        return str(self._compiler)

    @cached_property
    def driver_sql(self) -> str:
        """The same as it is sent to the driver."""
        return self.sql if self._mark == "?" else with_numbered_placeholders(self.sql)

    @cached_property
    def _binds(self) -> list[tuple[str, _Process, object]]:
        """Name, conversion, and the value of those that the statement brings itself."""
        return [_bind(name, self._compiler.binds[name], self._dialect) for name in self._compiler.positiontup or ()]

    @cached_property
    def _results(self) -> list[_Process]:
        statement = self._statement
        columns = statement.exported_columns if isinstance(statement, ReturnsRows) else ()
        return [column.type.result_processor(self._dialect, None) for column in columns]

    def bind(self, values: Mapping[str, object]) -> list[object]:
        """The values in the driver's order and types. A name that is missing is a KeyError."""
        return [
            (values[name] if process is None else process(values[name])) if own is _PARAM else own
            for name, process, own in self._binds
        ]

    def bind_rows(self, values: Iterable[Mapping[str, object]]) -> list[list[object]]:
        """The same for many rows."""
        return [self.bind(row) for row in values]

    @cached_property
    def _values_group(self) -> str | None:
        """The `(?, ?, …)` that can be repeated: one row of VALUES that holds every bound value of the statement."""
        _, found, rest = self.sql.partition("VALUES (")
        group = f"({rest.partition(')')[0]})"
        whole = found and group.count(self._mark) == len(self._binds) == self.sql.count(self._mark)
        return group if whole else None

    def statements_for(self, rows: Sequence[Sequence[object]]) -> Iterator[tuple[str, list[object]]]:
        """The fewest statements that store all rows, if VALUES can take many; else one for each.

        The driver lets go of the interpreter's lock while a statement runs and must get it back after each: row by row,
        a busy event loop would let it wait thousands of times a second. Sizes of VALUES are powers of two, so that the
        driver keeps them all compiled.
        """
        if self.by_column is not None:
            for at in range(0, len(rows), _MOST_IN_ARRAYS):
                yield self.by_column, [list(column) for column in zip(*rows[at : at + _MOST_IN_ARRAYS], strict=True)]
            return
        at = 0
        while at < len(rows):
            size = min(1 << ((len(rows) - at).bit_length() - 1), _MOST_ROWS) if self._values_group else 1
            yield self._repeated(size), [value for row in rows[at : at + size] for value in row]
            at += size

    @cached_property
    def by_column(self) -> str | None:
        """On PostgreSQL, the text that takes an array for each column: one text, and one plan, for any number of rows.

        Thirteen rows are one round trip instead of three. With many columns VALUES wins nevertheless: psycopg makes an
        array in Python, value by value.
        """
        if self._values_group is None or self._mark == "?" or len(self._binds) > _NARROW:
            return None
        before, _, after = self.sql.partition(f"VALUES {self._values_group}")
        arrays = ", ".join(f"%s::{name}[]" for name in self._type_names())
        if before.endswith("IN ("):  # Of an array the planner makes a search in an index.
            return with_numbered_placeholders(f"{before.removesuffix('IN (')}= ANY ({arrays}){after.removeprefix(')')}")
        return with_numbered_placeholders(f"{before}SELECT * FROM unnest({arrays}){after}")

    def _type_names(self) -> list[str]:
        """PostgreSQL's names of the values' types, without a length: a cast would cut what is longer."""
        types = [self._compiler.binds[name].type for name, _, _ in self._binds]
        told = ["TEXT" if isinstance(each, NullType) else each.compile(self._dialect) for each in types]
        return [_LENGTH.sub("", name) for name in told]

    def _repeated(self, size: int) -> str:
        sql = self._sizes.get(size)
        if sql is None:
            group = self._values_group or ""
            sql = self.sql.replace(group, ", ".join([group] * size)) if size > 1 else self.sql
            sql = self._sizes[size] = sql if self._mark == "?" else with_numbered_placeholders(sql)
        return sql

    def typed_rows(self, rows: Sequence[Row]) -> list[Row]:
        """Rows of the driver in the domain's types."""
        if not any(self._results):
            return list(rows)
        results = self._results
        return [
            tuple([v if convert is None else convert(v) for v, convert in zip(row, results, strict=True)])
            for row in rows
        ]


def with_numbered_placeholders(sql: str) -> str:
    """With PostgreSQL's own placeholders: psycopg looks for its `%s` in a long text each time anew (a sixth of an
    accept)."""
    numbers = itertools.count(1)
    return _MARK.sub(lambda found: "%" if found[0] == "%%" else f"${next(numbers)}", sql)


_MARK = re.compile("%[s%]")
_LENGTH = re.compile(r"\(\d+\)")
_PARAM = object()
_MOST_ROWS = 128
"""SQLite binds 32,766 values at most."""
_MOST_IN_ARRAYS = 1_000
_NARROW = 3


def _bind(name: str, bind: BindParameter[Any], dialect: Dialect) -> tuple[str, _Process, object]:
    process = bind.type.dialect_impl(dialect).bind_processor(dialect)
    if bind.required:
        return name, process, _PARAM
    return name, None, bind.value if process is None else process(bind.value)


def param(column: "Column[Any]", name: str | None = None) -> BindParameter[Any]:
    """A value of a column's type, bound under the column's name or another."""
    return bindparam(name or column.name, type_=column.type)


def inserting(table: Table, *names: str) -> postgresql.Insert:
    """INSERT with one bound value for each column named, or for all of them; it knows ON CONFLICT on each database."""
    columns = [table.c[name] for name in names] if names else list(table.c)
    return postgresql.insert(table).values({column.name: param(column) for column in columns})
