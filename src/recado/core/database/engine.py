"""One door to the database: functions go in, and come back when their transaction is durable.

    result = await database.write(lambda uow: ..., owner=owner_id)     # one transaction
    rows = await database.read(lambda uow: ..., owner=owner_id)        # one snapshot
    accept = database.batched(accept_many)                             # what waits together shares one commit
    accepted = await accept(inbound)

SQLite has one writer, so all writes of a process go through one thread which commits in groups: each function runs in
its own savepoint, so one that raises undoes nothing of its neighbours, and one fsync serves them all. Between processes
the writers queue with a retry of our own (see `_begin`). Results are handed out only after COMMIT.
"""

import asyncio
import functools
import importlib
import random
import sqlite3 as stdlib_sqlite3
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Generic, Protocol, TypeVar
from uuid import UUID

import structlog
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool, StaticPool

from recado.core.database.unit_of_work import UnitOfWork, driver_of
from recado.core.errors import Busy, ConfigurationError, StorageUnavailable

T = TypeVar("T")
I = TypeVar("I")  # noqa: E741 - input
O = TypeVar("O")  # noqa: E741 - output

log = structlog.get_logger(__name__)

BATCH_ITEMS = 256
BATCH_SECONDS = 0.02
CHECKPOINT_PAGES = 4_000
"""With SQLite's own 1,000 the pages of the indexes are written back so often that it is a fifth of an accept's cost."""
INBOX_ITEMS = 2_000
INBOX_SECONDS = 2.0
LOCK_SECONDS = 5.0
SAFE_SQLITE = (3, 51, 3)
"""Older versions have the WAL-reset bug, which can corrupt a database that several processes write."""


class Database(Protocol):
    """Where everything is stored; SQLite here, PostgreSQL later, the same functions on both."""

    async def write(self, work: Callable[[UnitOfWork], T], *, owner: UUID | None, urgent: bool = False) -> T:
        """Run `work` in one transaction; it is durable when this returns. Urgent ones go before the rest.

        Raises what `work` raises (nothing of it is stored then), `Busy` when too much waits or another process holds
        the lock too long, `StorageUnavailable` when the database cannot store.
        """
        ...

    async def read(self, work: Callable[[UnitOfWork], T], *, owner: UUID | None) -> T:
        """Run `work` on a snapshot; it can write nothing."""
        ...

    def batched(
        self, work: Callable[[UnitOfWork, Sequence[I]], Sequence[O]], *, refusable: bool = False
    ) -> Callable[[I], Awaitable[O]]:
        """Turn a function over many inputs into an awaitable one over a single input; those that wait share a commit.

        If `work` raises for several inputs they are bisected, so that only the bad one fails. `refusable` inputs come
        from outside and can be sent again: they alone are refused with `Busy` when too much waits already.
        """
        ...

    def write_from_thread(self, work: Callable[[UnitOfWork], T]) -> "Future[T]":
        """For threads of ours that have no event loop (the heartbeat)."""
        ...

    def on_commit(self, listener: Callable[[], None]) -> None:
        """Call `listener` after each commit of this process that changed a row, from the writer's thread."""
        ...

    def connect_apart(self) -> stdlib_sqlite3.Connection:
        """A bare connection of the caller's own, in autocommit (the delivery polls `PRAGMA data_version` on it)."""
        ...

    async def close(self) -> None:
        """Finish what waits and close every connection."""
        ...


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


def sqlite_engine(url: URL, *, read_only: bool = False) -> Engine:
    """An engine over one SQLite file with our settings: WAL, FULL, foreign keys, no waiting of SQLite's own."""
    memory = url.database in {None, "", ":memory:"}
    engine = create_engine(
        url,
        module=sqlite_module(),
        poolclass=StaticPool if memory else NullPool,
        hide_parameters=True,  # Errors are logged and stored, and what customers wrote must not be in them.
        connect_args={"check_same_thread": False, "isolation_level": None, "timeout": 0, "cached_statements": 512},
    )

    @event.listens_for(engine, "connect")
    def _connect(dbapi: stdlib_sqlite3.Connection, _record: object) -> None:
        _pragmas(dbapi, read_only=read_only and not memory)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return engine


def _pragmas(dbapi: stdlib_sqlite3.Connection, *, read_only: bool) -> None:
    dbapi.execute("PRAGMA busy_timeout=0")
    _retry_locked(lambda: dbapi.execute("PRAGMA journal_mode=WAL"))
    # The writer must not read a page twice while it holds the lock; readers have the system's cache, which they share.
    kibibytes = 2_048 if read_only else 65_536
    for pragma in (
        "synchronous=FULL",
        "foreign_keys=ON",
        f"cache_size=-{kibibytes}",
        "temp_store=MEMORY",
        f"wal_autocheckpoint={CHECKPOINT_PAGES}",
    ):
        dbapi.execute(f"PRAGMA {pragma}")
    if read_only:
        dbapi.execute("PRAGMA query_only=ON")


def _retry_locked(step: Callable[[], T]) -> T:
    """SQLite's own busy handler sleeps longer and longer; one to three milliseconds gives a flat tail instead."""
    give_up = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            return step()
        except (DBAPIError, stdlib_sqlite3.OperationalError, sqlite_module().OperationalError) as error:
            if not _is_locked(error):
                raise
            if time.monotonic() >= give_up:
                raise Busy("another process holds the database; try again") from error
        time.sleep(0.001 + 0.002 * random.random())  # noqa: S311 - jitter needs no secrecy


def _is_locked(error: BaseException) -> bool:
    text = str(error)
    return "database is locked" in text or "database table is locked" in text


_STORAGE = ("database or disk is full", "disk I/O error", "readonly database", "unable to open database", "malformed")


def _as_storage_error(error: BaseException) -> BaseException:
    """Full disks and broken files in our words; everything else as it is."""
    text = str(error)
    if isinstance(error, DBAPIError) and any(sign in text for sign in _STORAGE):
        reason = next(sign for sign in _STORAGE if sign in text)
        return StorageUnavailable(f"the database cannot store now ({reason}); nothing was stored")
    return error


# --- The writer -------------------------------------------------------------------------------------------------------


class _Reply(Protocol):
    """Where an outcome goes: an event loop's future or a thread's."""

    def give(self, result: object, error: BaseException | None) -> None: ...


@dataclass(slots=True)
class _LoopReply:
    loop: asyncio.AbstractEventLoop
    future: "asyncio.Future[Any]"

    def give(self, result: object, error: BaseException | None) -> None:
        if self.future.done():
            return
        if error is None:
            self.future.set_result(result)
        else:
            self.future.set_exception(error)


@dataclass(slots=True)
class _ThreadReply:
    future: "Future[Any]"

    def give(self, result: object, error: BaseException | None) -> None:
        if self.future.done():
            return
        if error is None:
            self.future.set_result(result)
        else:
            self.future.set_exception(error)


@dataclass(slots=True)
class _Item(Generic[I]):
    """One input of one function, waiting to be written."""

    work: Callable[[UnitOfWork, Sequence[I]], Sequence[object]]
    value: I
    owner: UUID | None
    shared: bool
    reply: _LoopReply | _ThreadReply
    since: float
    result: object = None
    error: BaseException | None = None


class _TransactionLost(StorageUnavailable):
    """SQLite ended the transaction by itself (full disk, I/O error): whatever the batch did is gone."""


@dataclass(slots=True)
class _Inbox:
    """Two lanes: accept, claim and finish go before the rest."""

    urgent: "deque[_Item[Any]]" = field(default_factory=deque)
    rest: "deque[_Item[Any]]" = field(default_factory=deque)

    def __len__(self) -> int:
        return len(self.urgent) + len(self.rest)

    def take(self) -> "list[_Item[Any]]":
        """The next functions' worth of items: one, or as many of the same shared function as wait together."""
        line = self.urgent or self.rest
        if not line:
            return []
        group = [line.popleft()]
        if group[0].shared:
            while line and len(group) < BATCH_ITEMS and line[0].work is group[0].work:
                group.append(line.popleft())
        return group

    def oldest(self) -> float | None:
        waiting = [line[0].since for line in (self.urgent, self.rest) if line]
        return min(waiting, default=None)


class SqliteWriter:
    """Runs batches of functions, each batch one durable transaction. Driven by a thread, or by a simulator."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Connection | None = None
        self._listeners: list[Callable[[], None]] = []

    def on_commit(self, listener: Callable[[], None]) -> None:
        self._listeners.append(listener)

    def run(self, take: "Callable[[], list[_Item[Any]]]") -> None:
        """One transaction: take groups until none wait, the batch is full or it has held the lock long enough."""
        done: list[_Item[Any]] = []
        hooks: list[Callable[[], None]] = []
        failure: BaseException | None = None
        changed = False
        try:
            changed = self._transaction(take, done, hooks)
        except Exception as error:  # noqa: BLE001 - the outermost loop of every write: each waiting future gets the error
            failure = _as_storage_error(error)
            self._forget_connection()
        if failure is not None:
            for item in done:
                item.result, item.error = None, failure
        if failure is None:
            _call_each(hooks)
        _hand_out(done)
        if changed:
            _call_each(self._listeners)

    def close(self) -> None:
        self._forget_connection()

    def _transaction(
        self, take: "Callable[[], list[_Item[Any]]]", done: "list[_Item[Any]]", hooks: list[Callable[[], None]]
    ) -> bool:
        """Whether any row was changed: a claim that found nothing to take is no news, and must not ring for another."""
        group = take()
        done.extend(group)
        connection = self._open()
        raw = driver_of(connection)
        changes = raw.total_changes
        transaction = _retry_locked(connection.begin)
        try:
            started, count = time.monotonic(), 0
            while group:
                self._group(connection, group, hooks)
                count += len(group)
                if count >= BATCH_ITEMS or time.monotonic() - started >= BATCH_SECONDS:
                    break
                group = take()
                done.extend(group)
            transaction.commit()
        except BaseException:
            transaction.rollback()
            raise
        return raw.total_changes != changes

    def _group(self, connection: Connection, group: "list[_Item[Any]]", hooks: list[Callable[[], None]]) -> None:
        """Run a group in its own savepoint; if several inputs fail together, halve until only the bad one fails."""
        raw = driver_of(connection)
        raw.execute("SAVEPOINT f")
        uow = UnitOfWork(connection, group[0].owner)
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

    def _open(self) -> Connection:
        if self._connection is None:
            self._connection = _retry_locked(self._engine.connect)
        return self._connection

    def _forget_connection(self) -> None:
        """After a storage error a fresh connection is the safe one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except DBAPIError as error:
                log.warning("database.close_failed", error=str(error.orig))


def _lost(error: BaseException) -> BaseException:
    known = _as_storage_error(error)
    return known if known is not error else StorageUnavailable(f"the transaction was lost: {error}")


def _hand_out(items: "Sequence[_Item[Any]]") -> None:
    """Resolve futures, with one wake-up per event loop however many of its items are done."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Item[Any]]] = {}
    for item in items:
        if isinstance(item.reply, _LoopReply):
            by_loop.setdefault(item.reply.loop, []).append(item)
        else:
            item.reply.give(item.result, item.error)
    for loop, mine in by_loop.items():
        try:
            loop.call_soon_threadsafe(_give_all, mine)
        except RuntimeError:  # The loop was closed while its write was under way; nobody is left to tell.
            log.info("database.caller_gone", items=len(mine))


def _call_each(listeners: Sequence[Callable[[], None]]) -> None:
    """After a commit nothing may stop the writer: what raises here is logged, and the next one is called."""
    for listener in listeners:
        try:
            listener()
        except Exception:
            log.exception("database.listener_failed")


def _give_all(items: "Sequence[_Item[Any]]") -> None:
    for item in items:
        item.reply.give(item.result, item.error)


# --- SQLite as a database ---------------------------------------------------------------------------------------------


class SqliteDatabase:
    """SQLite behind one writer thread and a few reader threads.

    No connection is ever carried over a fork: connections opened before one and used after it lost acknowledged rows
    in four of eight trial runs. Processes of ours are spawned.
    """

    def __init__(self, url: str, *, readers: int = 4) -> None:
        self._url = make_url(url)
        if self._url.get_backend_name() != "sqlite":
            raise ConfigurationError(f"{self._url.render_as_string()} is not a SQLite database")
        self._writer = SqliteWriter(sqlite_engine(self._url))
        self._read_engine = sqlite_engine(self._url, read_only=True)
        self._readers = ThreadPoolExecutor(readers, thread_name_prefix="recado-read")
        self._local = threading.local()
        self._read_connections: list[Connection] = []
        self._inbox = _Inbox()
        self._condition = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closing = False

    @property
    def url(self) -> str:
        return self._url.render_as_string(hide_password=False)

    async def write(self, work: Callable[[UnitOfWork], T], *, owner: UUID | None, urgent: bool = False) -> T:
        result: T = await self._submit(lambda uow, _: (work(uow),), None, owner, urgent=urgent, shared=False)
        return result

    def batched(
        self, work: Callable[[UnitOfWork, Sequence[I]], Sequence[O]], *, refusable: bool = False
    ) -> Callable[[I], Awaitable[O]]:
        def submit(value: I) -> Awaitable[O]:
            if refusable:
                self._refuse_when_full()
            return self._submit(work, value, None, urgent=True, shared=True)

        return submit

    def write_from_thread(self, work: Callable[[UnitOfWork], T]) -> "Future[T]":
        future: Future[T] = Future()
        self._put(_Item(lambda uow, _: (work(uow),), None, None, False, _ThreadReply(future), time.monotonic()), True)
        return future

    async def read(self, work: Callable[[UnitOfWork], T], *, owner: UUID | None) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, self._read, work, owner)

    def on_commit(self, listener: Callable[[], None]) -> None:
        self._writer.on_commit(listener)

    def connect_apart(self) -> stdlib_sqlite3.Connection:
        connection: stdlib_sqlite3.Connection = sqlite_module().connect(
            self._url.database, isolation_level=None, check_same_thread=False, timeout=0
        )
        return connection

    async def close(self) -> None:
        with self._condition:
            self._closing = True
            self._condition.notify_all()
        loop = asyncio.get_running_loop()
        if self._thread is not None:
            await loop.run_in_executor(None, self._thread.join)
        await loop.run_in_executor(None, self._readers.shutdown)
        for connection in self._read_connections:
            connection.close()

    def _submit(
        self,
        work: Callable[[UnitOfWork, Sequence[I]], Sequence[Any]],
        value: I,
        owner: UUID | None,
        *,
        urgent: bool,
        shared: bool,
    ) -> "asyncio.Future[Any]":
        loop = asyncio.get_running_loop()
        reply = _LoopReply(loop, loop.create_future())
        self._put(_Item(work, value, owner, shared, reply, time.monotonic()), urgent)
        return reply.future

    def _put(self, item: "_Item[Any]", urgent: bool) -> None:
        with self._condition:
            if self._closing:
                raise StorageUnavailable("the database is being closed")
            (self._inbox.urgent if urgent else self._inbox.rest).append(item)
            if self._thread is None:
                self._thread = threading.Thread(target=self._write_loop, name="recado-write", daemon=True)
                self._thread.start()
            self._condition.notify()

    def _refuse_when_full(self) -> None:
        """What a worker has learned must be stored, however long it takes; what Twilio can send again need not be."""
        with self._condition:
            oldest = self._inbox.oldest()
            late = oldest is not None and time.monotonic() - oldest > INBOX_SECONDS
            if late or len(self._inbox) >= INBOX_ITEMS:
                raise Busy("too many writes are waiting for the database; try again")

    def _write_loop(self) -> None:
        while True:
            with self._condition:
                while not self._inbox and not self._closing:
                    self._condition.wait()
                if not self._inbox:
                    break
            self._writer.run(self._take)
        self._writer.close()

    def _take(self) -> "list[_Item[Any]]":
        with self._condition:
            return self._inbox.take()

    def _read(self, work: Callable[[UnitOfWork], T], owner: UUID | None) -> T:
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = _retry_locked(self._read_engine.connect)
            self._local.connection = connection
            self._read_connections.append(connection)
        live = connection

        def look() -> T:
            with live.begin():
                return work(UnitOfWork(live, owner))

        try:
            return _retry_locked(look)
        except DBAPIError as error:
            raise _as_storage_error(error) from error
