"""Statements that are compiled once and then run on the driver itself.

Building a statement with SQLAlchemy, finding it in its cache and running it costs about 300 µs each time, running the
compiled text on the driver 5 µs (measured). So frequent statements are constants with bound values. They are written
with SQLAlchemy's expressions all the same: tables, columns and their types are named in one place.

Each database has its own compiled statement: its placeholders, its types, and where its SQL differs, its own text.
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
"""A row with the domain's types. This is the parsing edge of the database; repositories turn rows into entities."""

_Process: TypeAlias = Callable[[Any], object] | None


@cache
def _dialect(name: str) -> Dialect:
    """Return the dialect of a database, with values by position as the driver takes them."""
    if name == "sqlite":
        return sqlite.dialect(paramstyle="qmark")
    from sqlalchemy.dialects.postgresql import psycopg  # SQLite needs no psycopg.

    compiled: Dialect = psycopg.dialect(paramstyle="format")  # type: ignore[no-untyped-call]
    return compiled


class Prepared:
    """A statement whose values are `bindparam`s; each value is converted as the type of its column says.

    The statement is compiled at its first use, so that importing a module full of them costs nothing. On PostgreSQL
    `on_postgresql` is used instead, with the same values and columns.
    """

    def __init__(self, statement: ClauseElement, *, on_postgresql: ClauseElement | None = None) -> None:
        self._statements = {"sqlite": statement, "postgresql": statement if on_postgresql is None else on_postgresql}
        self._compiled_for: dict[str, CompiledStatement] = {}

    def compiled(self, dialect: str) -> "CompiledStatement":
        """Return the statement for one database."""
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
            raise TypeError("a prepared statement cannot bind a list of values; run it once for each value")
        return str(self._compiler)

    @cached_property
    def driver_sql(self) -> str:
        """The text as it is sent to the driver."""
        return self.sql if self._mark == "?" else with_numbered_placeholders(self.sql)

    @cached_property
    def _binds(self) -> list[tuple[str, _Process, object]]:
        """Name and conversion of each value, and the value itself where the statement contains it."""
        return [_bind(name, self._compiler.binds[name], self._dialect) for name in self._compiler.positiontup or ()]

    @cached_property
    def _results(self) -> list[_Process]:
        statement = self._statement
        columns = statement.exported_columns if isinstance(statement, ReturnsRows) else ()
        return [column.type.result_processor(self._dialect, None) for column in columns]

    def bind(self, values: Mapping[str, object]) -> list[object]:
        """Return the values in the driver's order and types. A missing name raises KeyError."""
        return [
            (values[name] if process is None else process(values[name])) if own is _PARAM else own
            for name, process, own in self._binds
        ]

    def bind_rows(self, values: Iterable[Mapping[str, object]]) -> list[list[object]]:
        """Return the values of many rows."""
        return [self.bind(row) for row in values]

    @cached_property
    def _values_group(self) -> str | None:
        """The `(?, ?, …)` of VALUES that can be repeated; None unless it holds every bound value of the statement."""
        _, found, rest = self.sql.partition("VALUES (")
        group = f"({rest.partition(')')[0]})"
        whole = found and group.count(self._mark) == len(self._binds) == self.sql.count(self._mark)
        return group if whole else None

    def statements_for(self, rows: Sequence[Sequence[object]]) -> Iterator[tuple[str, list[object]]]:
        """Yield the fewest statements that store all rows, if VALUES can take many; else one for each row.

        The driver releases the interpreter's lock while a statement runs and must get it back after each: row by row, a
        busy event loop would make it wait thousands of times a second. The sizes of VALUES are powers of two, so that
        the driver keeps all of them compiled.
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
        """On PostgreSQL, the text that takes an array for each column: one text and one plan for any number of rows.

        Thirteen rows are one round trip instead of three. With many columns VALUES is faster nevertheless: psycopg
        makes an array in Python, value by value.
        """
        if self._values_group is None or self._mark == "?" or not 1 <= len(self._binds) <= _NARROW:
            return None
        before, _, after = self.sql.partition(f"VALUES {self._values_group}")
        arrays = ", ".join(f"%s::{name}[]" for name in self._type_names())
        if before.endswith("IN ("):  # The planner turns an array into an index search.
            return with_numbered_placeholders(f"{before.removesuffix('IN (')}= ANY ({arrays}){after.removeprefix(')')}")
        return with_numbered_placeholders(f"{before}SELECT * FROM unnest({arrays}){after}")

    def _type_names(self) -> list[str]:
        """Return PostgreSQL's names of the values' types, without a length: a cast would cut longer values."""
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
        """Return rows of the driver with the domain's types."""
        if not any(self._results):
            return list(rows)
        results = self._results
        return [
            tuple([v if convert is None else convert(v) for v, convert in zip(row, results, strict=True)])
            for row in rows
        ]


def with_numbered_placeholders(sql: str) -> str:
    """Replace `%s` by PostgreSQL's own placeholders:

    psycopg would search a long text for `%s` at each execution (a sixth of an accept).
    """
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
    """Return a value of a column's type, bound under the column's name or another."""
    return bindparam(name or column.name, type_=column.type)


def inserting(table: Table, *names: str) -> postgresql.Insert:
    """Return INSERT with one bound value for each named column, or for all; ON CONFLICT works on each database."""
    columns = [table.c[name] for name in names] if names else list(table.c)
    return postgresql.insert(table).values({column.name: param(column) for column in columns})
