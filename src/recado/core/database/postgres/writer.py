"""A writer of PostgreSQL: groups of inputs, each one durable transaction."""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import structlog
from sqlalchemy.exc import DBAPIError

from recado.core.clock import ServerClock
from recado.core.database.changes import Changes
from recado.core.database.inbox import Item, LastWrite, call_listeners, resolve_all
from recado.core.database.postgres.connections import DURABLE
from recado.core.database.postgres.doors import ThreadConnections
from recado.core.database.postgres.errors import (
    RETRYABLE,
    UNKNOWN_TRANSACTION,
    ConnectionLost,
    as_storage_error,
    attempt_cleanup,
    is_connection_lost,
    sqlstate_of,
)
from recado.core.database.postgres.roles import RolesMissing
from recado.core.database.unit_of_work import Channel, UnitOfWork
from recado.core.errors import Busy, NotConfirmed, StorageUnavailable
from recado.core.metrics import Meters

log = structlog.get_logger(__name__)

_TRANSACTION_STATE: Final = (
    f"SELECT pg_current_xact_id_if_assigned()::text, clock_timestamp(), pg_postmaster_start_time(), {DURABLE}"
)
JOBS_CHANNEL: Final[Channel] = "recado_jobs"
EVENTS_CHANNEL: Final[Channel] = "recado_events"
"""The channels on which other processes LISTEN for jobs and for numbered events."""
OUTAGE_SECONDS: Final = 5.0
"""How long a write is tried again while the server cannot be reached; then it fails."""
ANSWER_SECONDS: Final = 10.0
"""How long the server may not answer; longer than it may work on one statement."""
RETRIES: Final = 3


@dataclass(slots=True)
class _StoredGroup:
    """A transaction that was stored."""

    results: Sequence[object]
    changed: bool
    notifies: Sequence[Channel]
    hooks: Sequence[Callable[[], None]] = field(default_factory=list)


class PostgresWriter:
    """Runs groups of inputs on one connection, each group in its own transaction."""

    def __init__(
        self,
        connections: ThreadConnections,
        listeners: Sequence[Callable[[], None]],
        clock: ServerClock,
        outage_seconds: float,
        meters: Meters | None = None,
        last_write: LastWrite | None = None,
        changes: Changes | None = None,
    ) -> None:
        self._meters = meters
        self._changes = changes
        self._last_write = last_write or LastWrite()
        self._outage = outage_seconds
        self._connections = connections
        self._clock = clock
        self._listeners = listeners

    def run(self, group: "list[Item[Any]]") -> bool:
        """Store a group, or set the error on each of its items; a failing group is bisected until only the bad item
        fails.

        Return False when the server is lost, which every other write would find as well.
        """
        try:
            ended = self._run_with_retries(group)
        except Exception as error:  # noqa: BLE001 - the outermost loop of every write: each waiting future gets the error
            known = as_storage_error(error)
            of_storage = isinstance(known, StorageUnavailable | Busy | RolesMissing)
            if of_storage:
                self._last_write.failed(known)
            if len(group) > 1 and not of_storage:
                middle = len(group) // 2
                return all([self.run(group[:middle]), self.run(group[middle:])])
            for item in group:
                item.error = known
            resolve_all(group)
            return not isinstance(known, ConnectionLost | NotConfirmed)
        if ended.changed:  # A server that is read-only or full runs a transaction without changes successfully.
            self._last_write.stored()
        for item, result in zip(group, ended.results, strict=True):
            item.result = result
        call_listeners(ended.hooks)
        resolve_all(group)
        if ended.changed:
            call_listeners(self._listeners)
        for channel in ended.notifies:
            self._notify(channel)
        return True

    def close(self) -> None:
        self._connections.discard()

    def _run_with_retries(self, group: "list[Item[Any]]") -> _StoredGroup:
        """Run a group again as long as that can help; one that has waited long already gets one fresh connection."""
        failures, losses, give_up = 0, 0, group[0].since + self._outage
        while True:
            try:
                return self._transaction(group)
            except DBAPIError as error:
                again = sqlstate_of(error) in RETRYABLE
                failures += again
                lost = is_connection_lost(error)
                losses += lost
                if lost:
                    self._connections.discard()
                if not ((again and failures <= RETRIES) or (lost and (losses == 1 or time.monotonic() < give_up))):
                    raise
            time.sleep(0.005 + 0.05 * random.random())  # noqa: S311 - jitter needs no secrecy

    def _transaction(self, group: "list[Item[Any]]") -> _StoredGroup:
        role_connection = self._connections.of(group[0].owner)
        transaction = role_connection.begin(group[0].owner)
        try:
            uow = UnitOfWork(role_connection.connection, group[0].owner, self._meters, self._changes)
            results = group[0].work(uow, [item.value for item in group])
            number, server = self._transaction_state(uow)
        except BaseException:
            attempt_cleanup(transaction.rollback)
            raise
        ended = _StoredGroup(results, number is not None, uow.notifies, uow.hooks)
        try:
            transaction.commit()
        except DBAPIError as error:
            self._connections.discard()
            if number is None or not is_connection_lost(error) or not self._was_stored(number, server):
                raise
        return ended

    def _was_stored(self, number: str, server: datetime) -> bool:
        """Return whether a transaction was stored whose commit was not confirmed.

        Only the server that ran it can tell: after a crash the number may belong to another transaction. Then, and when
        no server answers, raises `NotConfirmed`. A repeat stores nothing twice, for each unit of work is fenced by the
        rows it writes.
        """
        give_up = time.monotonic() + 2 * self._outage
        status: str | None = "in progress"
        still = server
        while status == "in progress" and time.monotonic() < give_up:
            try:
                status, still = self._status_of(self._outside(), number)
                if still != server:
                    break
            except DBAPIError as error:
                if sqlstate_of(error) == UNKNOWN_TRANSACTION:
                    return False
                self._connections.discard()
            if status == "in progress":
                time.sleep(0.05)
        if status == "in progress" or still != server:
            raise NotConfirmed("the database was lost in mid-commit; it is not known whether this was stored")
        return status == "committed"

    def _status_of(self, uow: UnitOfWork, number: str) -> tuple[str | None, datetime]:
        [[status, server]] = uow.execute_raw("SELECT pg_xact_status($1::xid8), pg_postmaster_start_time()", number)
        return status, server

    def _transaction_state(self, uow: UnitOfWork) -> tuple[str | None, datetime]:
        """Return the transaction's number (None if it changed and locked nothing) and its server's start time.

        The server's time comes along; and from here on the commit waits for the disk.
        """
        asked = self._clock.monotonic()
        [[number, now, server, _]] = uow.execute_raw(_TRANSACTION_STATE)
        self._clock.synchronize(now, asked, self._clock.monotonic())
        return number, server

    def _notify(self, channel: Channel) -> None:
        """Notify other processes that a job may be due, or that events were numbered.

        After the commit: a notification may be lost but must not delay it.
        """
        try:
            self._outside().execute_raw(f"NOTIFY {channel}")
        except DBAPIError as error:
            log.info("database.notify_failed", error=str(error.orig))
            self._connections.discard()

    def _outside(self) -> UnitOfWork:
        """Return the system's connection outside any transaction."""
        return UnitOfWork(self._connections.of(None).connection)
