"""PostgreSQL as a database: several writers' threads that share one inbox, each with a connection, and readers.

Each group of inputs is one READ COMMITTED transaction: locks on lanes (`lanes.lock_lanes`) keep apart what must not
happen at the same time. A group runs again after a serialization failure or a deadlock, and when the connection was
lost before the commit. A connection lost *during* the commit leaves open whether it was stored: the server is asked for
the state of the transaction by its number, so nothing is stored twice and nothing that was stored is reported as lost.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar
from uuid import UUID

import structlog
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from recado.core.clock import Clock, ServerClock, SystemClock
from recado.core.database.changes import Changes
from recado.core.database.inbox import DatabaseWithInbox, Item, resolve_all
from recado.core.database.postgres.connections import DURABLE, bounded_connection
from recado.core.database.postgres.doors import Doors, ThreadConnections
from recado.core.database.postgres.errors import (
    UNREACHABLE,
    ConnectionLost,
    as_storage_error,
    is_connection_lost,
)
from recado.core.database.postgres.writer import ANSWER_SECONDS, OUTAGE_SECONDS, PostgresWriter
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.errors import Busy, ConfigurationError
from recado.core.metrics import Meters

if TYPE_CHECKING:
    import psycopg


T = TypeVar("T")

log = structlog.get_logger(__name__)

WRITERS: Final = 4
READERS: Final = 4


class PostgresDatabase(DatabaseWithInbox):
    """PostgreSQL behind some writers' and readers' threads. Connections are made when they are first needed."""

    def __init__(
        self,
        url: str,
        meters: Meters | None = None,
        changes: Changes | None = None,
        *,
        writers: int = WRITERS,
        readers: int = READERS,
        host_clock: Clock | None = None,
        outage_seconds: float = OUTAGE_SECONDS,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        self._answer_seconds = answer_seconds
        self._outage = outage_seconds
        self._meters = meters
        self._changes = changes
        self._url = make_url(url)
        self._clock = ServerClock(host_clock or SystemClock())
        self._clock_is_set = False
        if self._url.get_backend_name() != "postgresql":
            raise ConfigurationError(f"{self._url.render_as_string()} is not a PostgreSQL database")
        self._doors = Doors(self._url, answer_seconds)
        self._readers = ThreadPoolExecutor(readers, thread_name_prefix="recado-read")
        self._local = threading.local()
        self._read_connections: list[ThreadConnections] = []
        super().__init__()
        self._count = writers
        self._threads: list[threading.Thread] = []
        self._starting = threading.Lock()
        self._listeners: list[Callable[[], None]] = []

    @property
    def url(self) -> str:
        return self._url.render_as_string(hide_password=False)

    @property
    def conninfo(self) -> str:
        """The URL as the driver and PostgreSQL's own tools take it."""
        return self._url.set(drivername="postgresql").render_as_string(hide_password=False)

    @property
    def clock(self) -> Clock:
        """The server's clock. It is asked once and waited for; later each write brings the time along.

        Raises `StorageUnavailable` when the server does not answer: a process with a wrong clock would take leases away
        from others.
        """
        if not self._clock_is_set:
            with closing(self.open_connection()) as connection:
                asked = self._clock.monotonic()
                [[now]] = self._query(connection, b"SELECT clock_timestamp()")
                assert isinstance(now, datetime)  # noqa: S101 - narrows the type
                self._clock.synchronize(now, asked, self._clock.monotonic())
            self._clock_is_set = True
        return self._clock

    def _query(self, connection: "psycopg.Connection[tuple[object, ...]]", question: bytes) -> list[tuple[object, ...]]:
        import psycopg

        try:
            return connection.execute(question).fetchall()
        except psycopg.OperationalError as error:
            raise ConnectionLost(f"the database cannot be reached: {error}") from error

    async def read(self, work: Callable[[UnitOfWork], T], *, owner: UUID | None) -> T:
        self._inbox.check_open()
        loop, asked = asyncio.get_running_loop(), time.monotonic()
        return await loop.run_in_executor(self._readers, self._read, work, owner, asked)

    def on_commit(self, listener: Callable[[], None]) -> None:
        self._listeners.append(listener)

    def open_connection(self) -> "psycopg.Connection[tuple[object, ...]]":
        """Return a connection of the caller's own in autocommit mode (the wake-up source listens on it).

        Raises `StorageUnavailable` when the server does not answer.
        """
        import psycopg

        try:
            connection = bounded_connection(self._url, autocommit=True, application_name="recado wake-ups")
            connection.execute(f"SELECT {DURABLE.replace('true', 'false')}")
        except psycopg.OperationalError as error:
            raise ConnectionLost(f"the database cannot be reached: {error}") from error
        return connection

    async def close(self) -> None:
        self._inbox.close()
        loop = asyncio.get_running_loop()
        for thread in self._threads:
            await loop.run_in_executor(None, thread.join)
        await loop.run_in_executor(None, self._readers.shutdown)
        for connections in self._read_connections:
            connections.close()

    def _start(self) -> None:
        """Start the writers' threads with the first write: a process that only reads has none."""
        if self._threads:
            return
        with self._starting:
            if not self._threads:
                names = [f"recado-write-{number}" for number in range(self._count)]
                threads = [threading.Thread(target=self._write_loop, name=name, daemon=True) for name in names]
                for thread in threads:
                    thread.start()
                self._threads = threads

    def _write_loop(self) -> None:
        writer = PostgresWriter(
            ThreadConnections(self._doors, read_only=False),
            self._listeners,
            self._clock,
            self._outage,
            self._meters,
            self._last_write,
            self._changes,
        )
        while self._inbox.wait():
            group = self._inbox.take()
            if group:  # Another writer may have been quicker.
                self._write_group(writer, group)
        writer.close()

    def _write_group(self, writer: PostgresWriter, group: "list[Item[Any]]") -> None:
        try:
            if not writer.run(group):
                self._inbox.fail_older(self._outage, ConnectionLost(UNREACHABLE))
        except Exception as error:  # The outermost loop of a thread that must not end: the callers get the error.
            log.exception("database.writer_failed")
            writer.close()
            for item in group:
                item.error = error
            resolve_all(group)

    def _read(self, work: Callable[[UnitOfWork], T], owner: UUID | None, asked: float) -> T:
        if time.monotonic() - asked > self._answer_seconds:  # The reads before this one have hung as long.
            raise Busy("too many reads are waiting for the database; try again")
        try:
            return self._read_once(work, owner)
        except DBAPIError as error:
            if not is_connection_lost(error):
                raise as_storage_error(error) from error
        try:
            return self._read_once(
                work, owner
            )  # Once more: a server that has restarted meanwhile is no reason to fail.
        except DBAPIError as error:
            raise as_storage_error(error) from error

    def _read_once(self, work: Callable[[UnitOfWork], T], owner: UUID | None) -> T:
        connections: ThreadConnections | None = getattr(self._local, "connections", None)
        if connections is None:
            connections = self._local.connections = ThreadConnections(self._doors, read_only=True)
            self._read_connections.append(connections)
        try:
            role_connection = connections.of(owner)
            with role_connection.begin(owner):
                return work(UnitOfWork(role_connection.connection, owner))
        except DBAPIError as error:
            if is_connection_lost(error):
                connections.discard()
            raise
