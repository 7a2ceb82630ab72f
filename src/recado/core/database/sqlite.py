"""SQLite as a database: one writer's thread, and readers apart.

SQLite has one writer, so all writes of a process go through one thread which commits in groups: each function runs in
its own savepoint, so one that raises undoes nothing of its neighbours, and one fsync serves them all. Between processes
the writers queue with a retry of our own (see `_retry_locked`).
"""

import asyncio
import contextlib
import functools
import importlib
import random
import sqlite3 as stdlib_sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any, Final, TypeVar
from uuid import UUID

import structlog
from sqlalchemy import Connection, Engine, RootTransaction, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool, StaticPool

from recado.core.database.checkpoints import LONGEST_PAGES, PAGES, Checkpoints
from recado.core.database.files import DatabaseFiles, Displaced, Opened, existing
from recado.core.database.inbox import BATCH_ITEMS, Inboxed, Item, LastWrite, call_each, hand_out
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.errors import Busy, ConfigurationError, NotConfirmed, StorageUnavailable
from recado.core.metrics import Meters

T = TypeVar("T")
I = TypeVar("I")  # noqa: E741 - input
O = TypeVar("O")  # noqa: E741 - output

log = structlog.get_logger(__name__)

BATCH_SECONDS = 0.02
LOCK_SECONDS = 5.0
_MEMORY = {None, "", ":memory:"}
SAFE_SQLITE = (3, 51, 3)
"""Older versions have the WAL-reset bug, which can corrupt a database that several processes write."""


@functools.cache
def sqlite_module() -> ModuleType:
    """The SQLite driver in use: the bundled recent one where there is a wheel, else the standard library's."""
    try:
        return importlib.import_module("pysqlite3.dbapi2")
    except ImportError:  # No wheel for this platform; `sqlite_is_safe` tells whether that matters.
        return stdlib_sqlite3


def sqlite_is_safe() -> bool:
    """Whether the SQLite library in use is free of the WAL-reset bug."""
    version: tuple[int, int, int] = sqlite_module().sqlite_version_info
    return version >= SAFE_SQLITE


# --- Connections ------------------------------------------------------------------------------------------------------


def sqlite_engine(url: URL, *, read_only: bool = False, create: bool = False) -> Engine:
    """An engine over one SQLite file with our settings: WAL, FULL, foreign keys, no waiting of SQLite's own.

    Only with `create` is a file made where there is none.
    """
    memory = url.database in _MEMORY
    name = str(url.database) if memory or create else existing(str(url.database))
    engine = create_engine(
        "sqlite://",
        creator=lambda: _connected(":memory:" if memory else name, uri=not (memory or create), cached_statements=512),
        module=sqlite_module(),
        poolclass=StaticPool if memory else NullPool,
        hide_parameters=True,  # Errors are logged and stored, and what customers wrote must not be in them.
    )

    @event.listens_for(engine, "connect")
    def _connect(dbapi: stdlib_sqlite3.Connection, _record: object) -> None:
        _pragmas(dbapi, read_only=read_only and not memory)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return engine


def _connected(name: str, *, uri: bool, cached_statements: int = 128) -> stdlib_sqlite3.Connection:
    connection: stdlib_sqlite3.Connection = sqlite_module().connect(
        name,
        uri=uri,
        isolation_level=None,
        check_same_thread=False,
        timeout=0,
        cached_statements=cached_statements,
    )
    return connection


def _pragmas(dbapi: stdlib_sqlite3.Connection, *, read_only: bool) -> None:
    dbapi.execute("PRAGMA busy_timeout=0")
    dbapi.execute("PRAGMA journal_mode=WAL")
    dbapi.execute("PRAGMA schema_version")  # Only what reads opens the log.
    # The writer must not read a page twice while it holds the lock; readers have the system's cache, which they share.
    kibibytes = 2_048 if read_only else 65_536
    for pragma in (
        "synchronous=FULL",
        "foreign_keys=ON",
        f"cache_size=-{kibibytes}",
        "temp_store=MEMORY",
        f"wal_autocheckpoint={LONGEST_PAGES if sqlite_is_safe() else PAGES}",
    ):
        dbapi.execute(f"PRAGMA {pragma}")
    if read_only:
        dbapi.execute("PRAGMA query_only=ON")


def _retry_locked(step: Callable[[], T], give_up: float) -> T:
    """SQLite's own busy handler sleeps longer and longer; one to three milliseconds gives a flat tail instead."""
    while True:
        try:
            return step()
        except (DBAPIError, stdlib_sqlite3.OperationalError, sqlite_module().OperationalError) as error:
            if not _is_locked(error):
                raise
            if time.monotonic() >= give_up:
                raise _Held(_HELD) from error
        time.sleep(0.001 + 0.002 * random.random())  # noqa: S311 - jitter needs no secrecy


def _give_up(since: float, seconds: float) -> float:
    """When what was asked for at a moment has waited for others long enough; a moment more, when it has already."""
    return max(since + seconds, time.monotonic() + BATCH_SECONDS)


_HELD: Final = "another process holds the database; try again"


class _Held(Busy):
    """Another process has held the lock for so long."""


def _is_locked(error: BaseException) -> bool:
    text = str(error)
    return "database is locked" in text or "database table is locked" in text


_STORAGE = (
    "database or disk is full",
    "disk I/O error",
    "readonly database",
    "unable to open database",
    "malformed",
    "not a database",
)


def _as_storage_error(error: BaseException) -> BaseException:
    """Full disks and broken files in our words; everything else as it is."""
    text = str(error)
    if isinstance(error, DBAPIError | sqlite_module().Error) and any(sign in text for sign in _STORAGE):
        reason = next(sign for sign in _STORAGE if sign in text)
        return StorageUnavailable(f"the database cannot store now ({reason}); nothing was stored")
    return error


# --- The writer -------------------------------------------------------------------------------------------------------


class _DisplacedInCommit(NotConfirmed):
    """It was committed, into files that may have had no name by then."""


class _TransactionLost(StorageUnavailable):
    """SQLite ended the transaction by itself (full disk, I/O error): whatever the batch did is gone."""


class SqliteWriter:
    """Runs batches of functions, each batch one durable transaction. Driven by a thread, or by a simulator."""

    def __init__(
        self,
        engine: Engine,
        meters: Meters | None = None,
        last_write: LastWrite | None = None,
        files: DatabaseFiles | None = None,
        *,
        lock_seconds: float = LOCK_SECONDS,
    ) -> None:
        self._lock_seconds = lock_seconds
        self._engine = engine
        self._files = files
        self._opened: Opened | None = None
        self._last_write = last_write or LastWrite()
        self._meters = meters
        self._connection: Connection | None = None
        self._listeners: list[Callable[[], None]] = []

    def on_commit(self, listener: Callable[[], None]) -> None:
        self._listeners.append(listener)

    def run(self, take: "Callable[[], list[Item[Any]]]") -> bool:
        """One transaction: take groups until none wait, the batch is full or it has held the lock long enough.

        False when another process holds the lock for too long.
        """
        done: list[Item[Any]] = []
        hooks: list[Callable[[], None]] = []
        failure: BaseException | None = None
        changed = False
        try:
            changed = self._transaction(take, done, hooks)
        except Exception as error:  # noqa: BLE001 - the outermost loop of every write: each waiting future gets the error
            failure = _as_storage_error(error)
            if not isinstance(failure, Displaced | _DisplacedInCommit):  # It leads to the right files, if any does.
                self._forget_connection()
        if failure is None:
            if changed:  # Where nothing is to be stored a full disk stores it well.
                self._last_write.stored()
            call_each(hooks)
        else:
            self._last_write.failed(failure)
            for item in done:
                item.result, item.error = None, failure
        hand_out(done)
        if changed:
            call_each(self._listeners)
        return not isinstance(failure, _Held)

    def close(self) -> None:
        self._forget_connection()

    def _transaction(
        self, take: "Callable[[], list[Item[Any]]]", done: "list[Item[Any]]", hooks: list[Callable[[], None]]
    ) -> bool:
        """Whether any row was changed: a claim that found nothing to take is no news, and must not ring for another."""
        group = take()
        if not group:
            return False
        done.extend(group)
        give_up = _give_up(group[0].since, self._lock_seconds)
        connection = self._open(give_up)
        raw = _driver_of(connection)
        changes = raw.total_changes
        transaction = _retry_locked(connection.begin, give_up)
        try:
            self._check_files()
            started, count = time.monotonic(), 0
            while group:
                self._group(connection, group, hooks)
                count += len(group)
                if count >= BATCH_ITEMS or time.monotonic() - started >= BATCH_SECONDS:
                    break
                group = take()
                done.extend(group)
            self._commit(transaction)
        except BaseException as error:
            if transaction.is_active:
                transaction.rollback()
            if isinstance(error, Displaced | _DisplacedInCommit):
                self._rescue(raw)
            raise
        return raw.total_changes != changes

    def _group(self, connection: Connection, group: "list[Item[Any]]", hooks: list[Callable[[], None]]) -> None:
        """Run a group in its own savepoint; if several inputs fail together, halve until only the bad one fails."""
        raw = _driver_of(connection)
        raw.execute("SAVEPOINT f")
        uow = UnitOfWork(connection, group[0].owner, self._meters)
        try:
            results = group[0].work(uow, [item.value for item in group])
        except Exception as error:
            # A full disk ends the transaction or the statement only, as the statement is: it is lost either way.
            if not raw.in_transaction or _as_storage_error(error) is not error:
                raise _lost(error) from error
            raw.execute("ROLLBACK TO f")
            raw.execute("RELEASE f")
            if len(group) == 1:
                group[0].error = error
                return
            middle = len(group) // 2
            self._group(connection, group[:middle], hooks)
            self._group(connection, group[middle:], hooks)
            return
        if not raw.in_transaction:  # The function swallowed the error that ended the transaction.
            raise _TransactionLost("the transaction ended inside a unit of work")
        raw.execute("RELEASE f")
        for item, result in zip(group, results, strict=True):
            item.result = result
        hooks.extend(uow.hooks)

    def _commit(self, transaction: RootTransaction) -> None:
        try:
            transaction.commit()
        except DBAPIError as error:
            known = _as_storage_error(error)
            if known is error or "is full" in str(error):
                raise
            raise NotConfirmed(
                f"the disk failed in mid-commit; it is not known whether this was stored: {known}"
            ) from error
        try:
            self._check_files()
        except Displaced as error:
            raise _DisplacedInCommit(f"it is not known whether this was stored: {error}") from error

    def _check_files(self) -> None:
        if self._files is not None and self._opened is not None:
            self._files.check(self._opened)

    def _rescue(self, raw: stdlib_sqlite3.Connection) -> None:
        """A log without a name dies with the processes that have it open: what is in it is copied while it is there."""
        if self._files is not None and self._files.log_is_gone:
            with contextlib.suppress(sqlite_module().Error):
                raw.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def _open(self, give_up: float) -> Connection:
        if self._connection is None:
            if self._files is not None:
                self._files.before_opening()
            connection = _retry_locked(self._engine.connect, give_up)
            self._opened = _seen(self._files, connection)
            self._connection = connection
        return self._connection

    def _forget_connection(self) -> None:
        """After a storage error a fresh connection is the safe one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            if self._files is not None and self._opened is not None:
                self._files.closing(self._opened)
            try:
                connection.close()
            except DBAPIError as error:
                log.warning("database.close_failed", error=str(error.orig))


def _seen(files: DatabaseFiles | None, connection: Connection) -> Opened | None:
    """What a connection that was just made has opened; it is closed when that is not what others have."""
    try:
        return files.opened() if files is not None else None
    except Displaced:
        connection.close()
        raise


def _driver_of(connection: Connection) -> stdlib_sqlite3.Connection:
    raw: stdlib_sqlite3.Connection | None = connection.connection.driver_connection
    assert raw is not None  # noqa: S101 - narrows the type: a live connection has a driver's connection
    return raw


def _lost(error: BaseException) -> BaseException:
    known = _as_storage_error(error)
    return known if known is not error else StorageUnavailable(f"the transaction was lost: {error}")


# --- SQLite as a database ---------------------------------------------------------------------------------------------


class SqliteDatabase(Inboxed):
    """SQLite behind one writer thread and a few reader threads.

    No connection is ever carried over a fork: connections opened before one and used after it lost acknowledged rows
    in four of eight trial runs. Processes of ours are spawned.
    """

    def __init__(
        self, url: str, meters: Meters | None = None, *, readers: int = 4, lock_seconds: float = LOCK_SECONDS
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
        self._files = None if self._url.database in _MEMORY else DatabaseFiles(str(self._url.database))
        self._writer = SqliteWriter(
            sqlite_engine(self._url), meters, self._last_write, self._files, lock_seconds=lock_seconds
        )
        self._read_engine = sqlite_engine(self._url, read_only=True)
        self._readers = ThreadPoolExecutor(readers, thread_name_prefix="recado-read")
        self._local = threading.local()
        self._read_connections: list[tuple[Connection, Opened | None]] = []
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._checkpoints = Checkpoints(self.connect_apart, sqlite_module().Error)
        if sqlite_is_safe() and self._url.database not in _MEMORY:
            self._writer.on_commit(self._checkpoints.committed)

    @property
    def url(self) -> str:
        return self._url.render_as_string(hide_password=False)

    async def read(self, work: Callable[[UnitOfWork], T], *, owner: UUID | None) -> T:
        self._inbox.check_open()
        loop, asked = asyncio.get_running_loop(), time.monotonic()
        return await loop.run_in_executor(self._readers, self._read, work, owner, asked)

    def on_commit(self, listener: Callable[[], None]) -> None:
        self._writer.on_commit(listener)

    def connect_apart(self) -> stdlib_sqlite3.Connection:
        """A bare connection of the caller's own; raises the driver's error where there is no such file."""
        if self._files is None:
            return _connected(":memory:", uri=False)
        try:
            self._files.before_opening()
        except Displaced as error:
            raise sqlite_module().OperationalError(str(error)) from error
        return _connected(existing(self._files.path), uri=True)

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
        """The writer's thread, with the first write: a process that only reads has none."""
        if self._thread is None:
            with self._starting:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._write_loop, name="recado-write", daemon=True)
                    self._thread.start()

    def _write_loop(self) -> None:
        while self._inbox.wait():
            if not self._writer.run(self._inbox.take):
                self._inbox.fail_older(self._lock_seconds, Busy(_HELD))
        self._writer.close()

    def _read(self, work: Callable[[UnitOfWork], T], owner: UUID | None, asked: float) -> T:
        give_up = _give_up(asked, self._lock_seconds)

        def look() -> T:
            with live.begin():
                return work(UnitOfWork(live, owner))

        try:
            live = self._reader(give_up)
            return _retry_locked(look, give_up)
        except DBAPIError as error:
            raise _as_storage_error(error) from error

    def _reader(self, give_up: float) -> Connection:
        """This thread's connection; raises `Displaced` when it would lead to a file without a name."""
        found: tuple[Connection, Opened | None] | None = getattr(self._local, "reader", None)
        if found is not None:
            connection, opened = found
            if self._files is not None and opened is not None:
                self._files.check(opened)
            return connection
        if self._files is not None:
            self._files.before_opening()
        connection = _retry_locked(self._read_engine.connect, give_up)
        self._local.reader = (connection, _seen(self._files, connection))
        self._read_connections.append(self._local.reader)
        return connection
