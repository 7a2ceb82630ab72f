"""The writer of SQLite: batches of functions, each batch one durable transaction."""

import contextlib
import sqlite3 as stdlib_sqlite3
import time
from collections.abc import Callable
from typing import Any

import structlog
from sqlalchemy import Connection, Engine, RootTransaction
from sqlalchemy.exc import DBAPIError

from recado.core.database.changes import Changes
from recado.core.database.inbox import BATCH_ITEMS, Item, LastWrite, call_listeners, resolve_all
from recado.core.database.sqlite.connections import (
    BATCH_SECONDS,
    LOCK_SECONDS,
    lock_deadline,
    record_opened,
    retry_while_locked,
    sqlite_driver_of,
)
from recado.core.database.sqlite.driver import sqlite_module
from recado.core.database.sqlite.errors import (
    DisplacedInCommit,
    LockTimeout,
    TransactionLost,
    as_storage_error,
    transaction_lost,
)
from recado.core.database.sqlite.files import DatabaseFiles, Displaced, OpenedFiles
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.errors import NotConfirmed
from recado.core.metrics import Meters

log = structlog.get_logger(__name__)


class SqliteWriter:
    """Runs batches of functions, each batch one durable transaction. A thread calls it, or a simulator."""

    def __init__(
        self,
        engine: Engine,
        meters: Meters | None = None,
        last_write: LastWrite | None = None,
        files: DatabaseFiles | None = None,
        changes: Changes | None = None,
        *,
        lock_seconds: float = LOCK_SECONDS,
    ) -> None:
        self._lock_seconds = lock_seconds
        self._engine = engine
        self._files = files
        self._opened: OpenedFiles | None = None
        self._last_write = last_write or LastWrite()
        self._meters = meters
        self._changes = changes
        self._connection: Connection | None = None
        self._listeners: list[Callable[[], None]] = []

    def on_commit(self, listener: Callable[[], None]) -> None:
        self._listeners.append(listener)

    def run(self, take: "Callable[[], list[Item[Any]]]") -> bool:
        """Run one transaction: take groups until none wait, the batch is full or it has held the lock long enough.

        Return False when another process holds the lock too long.
        """
        done: list[Item[Any]] = []
        hooks: list[Callable[[], None]] = []
        failure: BaseException | None = None
        changed = False
        try:
            changed = self._transaction(take, done, hooks)
        except Exception as error:  # noqa: BLE001 - the outermost loop of every write: each waiting future gets the error
            failure = as_storage_error(error)
            if not isinstance(
                failure, Displaced | DisplacedInCommit
            ):  # The open connection has the right files, if any has.
                self._forget_connection()
        if failure is None:
            if changed:  # On a full disk a transaction without changes succeeds.
                self._last_write.stored()
            call_listeners(hooks)
        else:
            self._last_write.failed(failure)
            for item in done:
                item.result, item.error = None, failure
        resolve_all(done)
        if changed:
            call_listeners(self._listeners)
        return not isinstance(failure, LockTimeout)

    def close(self) -> None:
        self._forget_connection()

    def _transaction(
        self, take: "Callable[[], list[Item[Any]]]", done: "list[Item[Any]]", hooks: list[Callable[[], None]]
    ) -> bool:
        """Return whether any row was changed: after a claim that found nothing no listener must be called."""
        group = take()
        if not group:
            return False
        done.extend(group)
        deadline = lock_deadline(group[0].since, self._lock_seconds)
        connection = self._open(deadline)
        raw = sqlite_driver_of(connection)
        changes = raw.total_changes
        transaction = retry_while_locked(connection.begin, deadline)
        try:
            self._check_files()
            self._run_groups(connection, take, done, hooks)
            self._commit(transaction)
        except BaseException as error:
            if transaction.is_active:
                transaction.rollback()
            if isinstance(error, Displaced | DisplacedInCommit):
                self._checkpoint_unnamed_log(raw)
            raise
        return raw.total_changes != changes

    def _run_groups(
        self,
        connection: Connection,
        take: "Callable[[], list[Item[Any]]]",
        done: "list[Item[Any]]",
        hooks: list[Callable[[], None]],
    ) -> None:
        """Run the group that `done` begins with, and further ones until the batch is full or its time is over."""
        group, started = list(done), time.monotonic()
        while group:
            self._group(connection, group, hooks)
            if len(done) >= BATCH_ITEMS or time.monotonic() - started >= BATCH_SECONDS:
                break
            group = take()
            done.extend(group)

    def _group(self, connection: Connection, group: "list[Item[Any]]", hooks: list[Callable[[], None]]) -> None:
        """Run a group in its own savepoint; if several inputs fail together, bisect until only the bad one fails."""
        raw = sqlite_driver_of(connection)
        raw.execute("SAVEPOINT f")
        uow = UnitOfWork(connection, group[0].owner, self._meters, self._changes)
        try:
            results = group[0].work(uow, [item.value for item in group])
        except Exception as error:
            # A full disk ends the transaction or only the statement, depending on the statement: the batch is lost
            # either way.
            if not raw.in_transaction or as_storage_error(error) is not error:
                raise transaction_lost(error) from error
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
            raise TransactionLost("the transaction ended inside a unit of work")
        raw.execute("RELEASE f")
        for item, result in zip(group, results, strict=True):
            item.result = result
        hooks.extend(uow.hooks)

    def _commit(self, transaction: RootTransaction) -> None:
        try:
            transaction.commit()
        except DBAPIError as error:
            known = as_storage_error(error)
            if known is error or "is full" in str(error):
                raise
            raise NotConfirmed(
                f"the disk failed in mid-commit; it is not known whether this was stored: {known}"
            ) from error
        try:
            self._check_files()
        except Displaced as error:
            raise DisplacedInCommit(f"it is not known whether this was stored: {error}") from error

    def _check_files(self) -> None:
        if self._files is not None and self._opened is not None:
            self._files.check(self._opened)

    def _checkpoint_unnamed_log(self, raw: stdlib_sqlite3.Connection) -> None:
        """Copy the log while it is there: a log without a name is lost with the processes that have it open."""
        if self._files is not None and self._opened is not None and self._files.has_lost_its_log(self._opened):
            with contextlib.suppress(sqlite_module().Error):
                raw.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def _open(self, deadline: float) -> Connection:
        if self._connection is None:
            if self._files is not None:
                self._files.before_opening()
            connection = retry_while_locked(self._engine.connect, deadline)
            self._opened = record_opened(self._files, connection)
            self._connection = connection
        return self._connection

    def _forget_connection(self) -> None:
        """Close the connection: after a storage error a fresh one is safe."""
        connection, self._connection = self._connection, None
        if connection is not None:
            if self._files is not None and self._opened is not None:
                self._files.closing(self._opened)
            try:
                connection.close()
            except DBAPIError as error:
                log.warning("database.close_failed", error=str(error.orig))
