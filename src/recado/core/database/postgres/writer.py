"""A writer of PostgreSQL: groups of inputs, each one durable transaction."""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from recado.core.clock import ServerClock
from recado.core.database.inbox import Item, LastWrite, call_listeners, resolve_all
from recado.core.database.postgres.connections import DURABLE, RoleConnection
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
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.errors import Busy, NotConfirmed, StorageUnavailable
from recado.core.metrics import Meters

log = structlog.get_logger(__name__)

_TRANSACTION_STATE: Final = (
    f"SELECT pg_current_xact_id_if_assigned()::text, clock_timestamp(), pg_postmaster_start_time(), {DURABLE}"
)
CHANNEL: Final = "recado_jobs"
"""What those who wait for jobs LISTEN to."""
OUTAGE_SECONDS: Final = 5.0
"""How long a write is tried again when the server cannot be reached; then the caller is told."""
ANSWER_SECONDS: Final = 10.0
"""How long the server may say nothing; longer than it may work on one statement."""
RETRIES: Final = 3


@dataclass(slots=True)
class _StoredGroup:
    """A transaction that was stored."""

    results: Sequence[object]
    changed: bool
    rang: bool
    hooks: Sequence[Callable[[], None]] = field(default_factory=list)


class PostgresWriter:
    """Runs groups of inputs, each in a transaction of its own, on one connection."""

    def __init__(
        self,
        engine: Engine,
        listeners: Sequence[Callable[[], None]],
        clock: ServerClock,
        outage_seconds: float,
        meters: Meters | None = None,
        last_write: LastWrite | None = None,
        *,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        self._answer_seconds = answer_seconds
        self._meters = meters
        self._last_write = last_write or LastWrite()
        self._outage = outage_seconds
        self._engine = engine
        self._clock = clock
        self._listeners = listeners
        self._role_connection: RoleConnection | None = None

    def run(self, group: "list[Item[Any]]") -> bool:
        """Store a group, or tell each of it why not; what fails together is halved until only the bad one fails.

        False when the server is lost, to every other write as well.
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
        if ended.changed:  # A server that can only be read, or is full, runs well what stores nothing.
            self._last_write.stored()
        for item, result in zip(group, ended.results, strict=True):
            item.result = result
        call_listeners(ended.hooks)
        resolve_all(group)
        if ended.changed:
            call_listeners(self._listeners)
        if ended.rang:
            self._notify()
        return True

    def close(self) -> None:
        self._forget_connection()

    def _run_with_retries(self, group: "list[Item[Any]]") -> _StoredGroup:
        """Run it again as long as that can help; what has waited long already gets one fresh connection."""
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
                    self._forget_connection()
                if not ((again and failures <= RETRIES) or (lost and (losses == 1 or time.monotonic() < give_up))):
                    raise
            time.sleep(0.005 + 0.05 * random.random())  # noqa: S311 - jitter needs no secrecy

    def _transaction(self, group: "list[Item[Any]]") -> _StoredGroup:
        role_connection = self._open()
        transaction = role_connection.begin(group[0].owner)
        try:
            uow = UnitOfWork(role_connection.connection, group[0].owner, self._meters)
            results = group[0].work(uow, [item.value for item in group])
            number, server = self._transaction_state(uow)
        except BaseException:
            attempt_cleanup(transaction.rollback)
            raise
        ended = _StoredGroup(results, number is not None, uow.notifies, uow.hooks)
        try:
            transaction.commit()
        except DBAPIError as error:
            self._forget_connection()
            if number is None or not is_connection_lost(error) or not self._was_stored(number, server):
                raise
        return ended

    def _was_stored(self, number: str, server: datetime) -> bool:
        """Whether a transaction took place whose commit was not confirmed.

        Only the server that ran it can say: after a crash the number may have been given to another transaction. Then,
        and when no server answers, raises `NotConfirmed`; to ask again stores nothing twice, for each unit of
        work is fenced by the rows it writes.
        """
        give_up = time.monotonic() + 2 * self._outage
        status: str | None = "in progress"
        still = server
        while status == "in progress" and time.monotonic() < give_up:
            try:
                status, still = self._status_of(UnitOfWork(self._open().connection), number)
                if still != server:
                    break
            except DBAPIError as error:
                if sqlstate_of(error) == UNKNOWN_TRANSACTION:
                    return False
                self._forget_connection()
            if status == "in progress":
                time.sleep(0.05)
        if status == "in progress" or still != server:
            raise NotConfirmed("the database was lost in mid-commit; it is not known whether this was stored")
        return status == "committed"

    def _status_of(self, uow: UnitOfWork, number: str) -> tuple[str | None, datetime]:
        [[status, server]] = uow.execute_raw("SELECT pg_xact_status($1::xid8), pg_postmaster_start_time()", number)
        return status, server

    def _transaction_state(self, uow: UnitOfWork) -> tuple[str | None, datetime]:
        """The transaction's number (None when it has changed and locked nothing), and since when its server runs.

        The server's time comes along, and from here on the commit waits for the disk.
        """
        asked = self._clock.monotonic()
        [[number, now, server, _]] = uow.execute_raw(_TRANSACTION_STATE)
        self._clock.synchronize(now, asked, self._clock.monotonic())
        return number, server

    def _notify(self) -> None:
        """Ring for whoever waits for jobs. After the commit, for a bell may be lost but must hold up nothing."""
        try:
            UnitOfWork(self._open().connection).execute_raw(f"NOTIFY {CHANNEL}")
        except DBAPIError as error:
            log.info("database.notify_failed", error=str(error.orig))
            self._forget_connection()

    def _open(self) -> RoleConnection:
        if self._role_connection is None:
            self._role_connection = RoleConnection(self._engine, self._answer_seconds, read_only=False)
        return self._role_connection

    def _forget_connection(self) -> None:
        role_connection, self._role_connection = self._role_connection, None
        if role_connection is not None:
            role_connection.discard()
