"""Connections to SQLite: their settings, and the wait for a lock."""

import random
import sqlite3 as stdlib_sqlite3
import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool, StaticPool

from recado.core.database.sqlite.checkpoints import LONGEST_PAGES, PAGES
from recado.core.database.sqlite.driver import sqlite_is_safe, sqlite_module
from recado.core.database.sqlite.errors import LOCK_TIMEOUT, LockTimeout, is_locked
from recado.core.database.sqlite.files import DatabaseFiles, Displaced, OpenedFiles, existing

T = TypeVar("T")

BATCH_SECONDS = 0.02
LOCK_SECONDS = 5.0
IN_MEMORY = {None, "", ":memory:"}


def sqlite_engine(
    url: URL,
    *,
    read_only: bool = False,
    create: bool = False,
    factory: type[stdlib_sqlite3.Connection] | None = None,
) -> Engine:
    """Return an engine over one SQLite file with our settings: WAL, FULL, foreign keys, no busy handler of SQLite's.

    A missing file is made only with `create`.
    """
    memory = url.database in IN_MEMORY
    name = str(url.database) if memory or create else existing(str(url.database))
    engine = create_engine(
        "sqlite://",
        creator=lambda: connect_to(
            ":memory:" if memory else name, uri=not (memory or create), cached_statements=512, factory=factory
        ),
        module=sqlite_module(),
        poolclass=StaticPool if memory else NullPool,
        hide_parameters=True,  # Errors are logged and stored, and must not contain what customers wrote.
    )

    @event.listens_for(engine, "connect")
    def _connect(dbapi: stdlib_sqlite3.Connection, _record: object) -> None:
        _pragmas(dbapi, read_only=read_only and not memory)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return engine


def connect_to(
    name: str,
    *,
    uri: bool,
    cached_statements: int = 128,
    factory: type[stdlib_sqlite3.Connection] | None = None,
) -> stdlib_sqlite3.Connection:
    connection: stdlib_sqlite3.Connection = sqlite_module().connect(
        name,
        uri=uri,
        isolation_level=None,
        check_same_thread=False,
        timeout=0,
        cached_statements=cached_statements,
        factory=factory or sqlite_module().Connection,
    )
    return connection


def _pragmas(dbapi: stdlib_sqlite3.Connection, *, read_only: bool) -> None:
    dbapi.execute("PRAGMA busy_timeout=0")
    dbapi.execute("PRAGMA journal_mode=WAL")
    dbapi.execute("PRAGMA schema_version")  # Only a statement that reads opens the log.
    # The writer must not read a page twice while it holds the lock; readers share the operating system's cache.
    kibibytes = 2_048 if read_only else 65_536
    for pragma in (
        "synchronous=FULL",
        "foreign_keys=ON",
        # What is deleted or changed is overwritten in the pages that are written anyway: see `compacting`.
        "secure_delete=FAST",
        f"cache_size=-{kibibytes}",
        "temp_store=MEMORY",
        f"wal_autocheckpoint={LONGEST_PAGES if sqlite_is_safe() else PAGES}",
    ):
        dbapi.execute(f"PRAGMA {pragma}")
    if read_only:
        dbapi.execute("PRAGMA query_only=ON")


def retry_while_locked(step: Callable[[], T], deadline: float) -> T:
    """Run `step` until no other process holds the lock.

    SQLite's own busy handler sleeps longer and longer; one to three milliseconds give a flat tail.
    """
    while True:
        try:
            return step()
        except (DBAPIError, stdlib_sqlite3.OperationalError, sqlite_module().OperationalError) as error:
            if not is_locked(error):
                raise
            if time.monotonic() >= deadline:
                raise LockTimeout(LOCK_TIMEOUT) from error
        time.sleep(0.001 + 0.002 * random.random())  # noqa: S311 - jitter needs no secrecy


def lock_deadline(since: float, seconds: float) -> float:
    """Return when a request has waited for locks long enough; a moment from now if it already has."""
    return max(since + seconds, time.monotonic() + BATCH_SECONDS)


def record_opened(files: DatabaseFiles | None, connection: Connection) -> OpenedFiles | None:
    """Record what a new connection has opened; close the connection if that differs from what the others have."""
    try:
        return files.opened() if files is not None else None
    except Displaced:
        connection.close()
        raise


def sqlite_driver_of(connection: Connection) -> stdlib_sqlite3.Connection:
    raw: stdlib_sqlite3.Connection | None = connection.connection.driver_connection
    assert raw is not None  # noqa: S101 - narrows the type: a live connection has a driver's connection
    return raw
