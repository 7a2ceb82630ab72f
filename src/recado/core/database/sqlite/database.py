"""SQLite as a database: one writer's thread and several readers.

SQLite has one writer, so all writes of a process go through one thread that commits in groups: each function runs in
its own savepoint, so one that raises undoes nothing of the others, and one fsync serves them all. Writers of several
processes wait for each other with a retry of our own (see `retry_while_locked`).
"""

import asyncio
import sqlite3 as stdlib_sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar
from uuid import UUID

from sqlalchemy import Connection
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from recado.core.database.changes import Changes
from recado.core.database.inbox import DatabaseWithInbox
from recado.core.database.sqlite.checkpoints import Checkpoints
from recado.core.database.sqlite.connections import (
    IN_MEMORY,
    LOCK_SECONDS,
    connect_to,
    lock_deadline,
    record_opened,
    retry_while_locked,
    sqlite_engine,
)
from recado.core.database.sqlite.driver import sqlite_is_safe, sqlite_module
from recado.core.database.sqlite.errors import (
    LOCK_TIMEOUT,
    as_storage_error,
)
from recado.core.database.sqlite.files import DatabaseFiles, Displaced, OpenedFiles, existing
from recado.core.database.sqlite.writer import SqliteWriter
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.errors import Busy, ConfigurationError
from recado.core.metrics import Meters

T = TypeVar("T")


class SqliteDatabase(DatabaseWithInbox):
    """SQLite behind one writer's thread and a few readers' threads.

    No connection is ever carried over a fork: connections opened before a fork and used after it lost acknowledged rows
    in four of eight trial runs. Our processes are spawned.
    """

    def __init__(
        self,
        url: str,
        meters: Meters | None = None,
        changes: Changes | None = None,
        *,
        readers: int = 4,
        lock_seconds: float = LOCK_SECONDS,
    ) -> None:
        self._lock_seconds = lock_seconds
        self._url = make_url(url)
        if self._url.get_backend_name() != "sqlite":
            raise ConfigurationError(f"{self._url.render_as_string()} is not a SQLite database")
        if self._url.query or str(self._url.database).startswith("file:"):
            raise ConfigurationError(
                "RECADO_DATABASE_URL: after sqlite:/// comes a path and nothing else, no ?… or file:"
            )
        super().__init__()
        self._files = None if self._url.database in IN_MEMORY else DatabaseFiles(str(self._url.database))
        self._writer = SqliteWriter(
            sqlite_engine(self._url), meters, self._last_write, self._files, changes, lock_seconds=lock_seconds
        )
        self._read_engine = sqlite_engine(self._url, read_only=True)
        self._readers = ThreadPoolExecutor(readers, thread_name_prefix="recado-read")
        self._local = threading.local()
        self._read_connections: list[tuple[Connection, OpenedFiles | None]] = []
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._checkpoints = Checkpoints(self.open_connection, sqlite_module().Error)
        if sqlite_is_safe() and self._url.database not in IN_MEMORY:
            self._writer.on_commit(self._checkpoints.committed)

    @property
    def url(self) -> str:
        return self._url.render_as_string(hide_password=False)

    async def read(self, work: Callable[[UnitOfWork], T], *, owner: UUID | None) -> T:
        self._inbox.check_open()
        loop, requested_at = asyncio.get_running_loop(), time.monotonic()
        return await loop.run_in_executor(self._readers, self._read, work, owner, requested_at)

    def on_commit(self, listener: Callable[[], None]) -> None:
        self._writer.on_commit(listener)

    def open_connection(self) -> stdlib_sqlite3.Connection:
        """Return a connection of the caller's own; raises the driver's error where there is no such file."""
        if self._files is None:
            return connect_to(":memory:", uri=False)
        try:
            self._files.before_opening()
        except Displaced as error:
            raise sqlite_module().OperationalError(str(error)) from error
        return connect_to(existing(self._files.path), uri=True)

    async def close(self) -> None:
        self._inbox.close()
        loop = asyncio.get_running_loop()
        if self._thread is not None:
            await loop.run_in_executor(None, self._thread.join)
        await loop.run_in_executor(None, self._checkpoints.close)
        await loop.run_in_executor(None, self._readers.shutdown)
        while self._read_connections:
            connection, opened = self._read_connections.pop()
            if self._files is not None and opened is not None:
                self._files.closing(opened)
            connection.close()

    def _start(self) -> None:
        """Start the writer's thread with the first write: a process that only reads has none."""
        if self._thread is None:
            with self._starting:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._write_loop, name="recado-write", daemon=True)
                    self._thread.start()

    def _write_loop(self) -> None:
        while self._inbox.wait():
            if not self._writer.run(self._inbox.take):
                self._inbox.fail_older(self._lock_seconds, Busy(LOCK_TIMEOUT))
        self._writer.close()

    def _read(self, work: Callable[[UnitOfWork], T], owner: UUID | None, requested_at: float) -> T:
        deadline = lock_deadline(requested_at, self._lock_seconds)

        def run() -> T:
            with connection.begin():
                return work(UnitOfWork(connection, owner))

        try:
            connection = self._reader(deadline)
            return retry_while_locked(run, deadline)
        except DBAPIError as error:
            raise as_storage_error(error) from error

    def _reader(self, deadline: float) -> Connection:
        """Return this thread's connection; raises `Displaced` when the file was moved or replaced."""
        found: tuple[Connection, OpenedFiles | None] | None = getattr(self._local, "reader", None)
        if found is not None:
            connection, opened = found
            if self._files is not None and opened is not None:
                self._files.check(opened)
            return connection
        if self._files is not None:
            self._files.before_opening()
        connection = retry_while_locked(self._read_engine.connect, deadline)
        self._local.reader = (connection, record_opened(self._files, connection))
        self._read_connections.append(self._local.reader)
        return connection
