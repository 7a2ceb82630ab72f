"""The product's own writer over one in-memory database, without its threads.

A model makes thousands of transactions a second and needs neither a disk nor a thread to find a wrong one. The engine
is kept from one example to the next, since its compiled statements are what costs; the rows are wiped.
"""

import functools
import sqlite3
from collections.abc import Callable
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import Engine, make_url

from recado.bootstrap import metadata
from recado.core.database.inbox import Inbox, Item
from recado.core.database.sqlite.connections import sqlite_engine
from recado.core.database.sqlite.database import SqliteDatabase
from recado.core.database.sqlite.driver import sqlite_module
from recado.core.database.sqlite.writer import SqliteWriter
from recado.core.database.unit_of_work import UnitOfWork

T = TypeVar("T")


@functools.cache
def _memory() -> tuple[Engine, sqlite3.Connection, sqlite3.Connection]:
    """The engine, its one connection, and an empty database to wipe it with."""
    engine = sqlite_engine(make_url("sqlite://"))
    with engine.begin() as connection:
        metadata().create_all(connection)
        live = connection.connection.driver_connection
    assert live is not None
    empty: sqlite3.Connection = sqlite_module().connect(":memory:")
    live.backup(empty)
    return engine, live, empty


class _Never(Inbox):
    """An inbox in which nothing ever waits."""

    def __init__(self, writer: SqliteWriter) -> None:
        super().__init__()
        self._writer = writer

    def put(self, item: "Item[Any]", *, urgent: bool) -> None:  # noqa: ARG002 - there is nothing to go before
        groups: list[list[Item[Any]]] = [[item], []]
        self._writer.run(lambda: groups.pop(0))


class InlineDatabase(SqliteDatabase):
    """Runs what it is given at once, one transaction each, through the writer that the product uses."""

    def __init__(self) -> None:
        super().__init__("sqlite://")
        engine, live, empty = _memory()
        empty.backup(live)
        self._engine = engine
        self._writer = SqliteWriter(engine)
        self._live = live
        self._inbox = _Never(self._writer)

    async def read(self, work: Callable[[UnitOfWork], T], *, owner: UUID | None) -> T:
        with self._engine.connect() as connection, connection.begin():
            return work(UnitOfWork(connection, owner))

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """A bare question."""
        return self._live.execute(sql, values).fetchall()

    async def close(self) -> None:
        self._writer.close()

    def _start(self) -> None:
        """There is no thread."""
