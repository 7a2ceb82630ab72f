"""PostgreSQL as a database: some writers' threads that share one inbox, each with a connection, and readers apart.

Each group of inputs is one transaction, READ COMMITTED: what must not happen at the same time is kept apart by locks on
lanes (`lanes.lock_lanes`), not by the database as a whole. What may be run again is: after a serialization failure or a
deadlock, and after the connection was lost before the commit. A connection lost *in* the commit leaves open whether it
took place; the server is asked about the transaction by its number, so nothing is stored twice and nothing that was
stored is called lost.
"""

import asyncio
import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar
from uuid import UUID

import structlog
from sqlalchemy import Connection, Engine, RootTransaction, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from recado.core.clock import Clock, SharedClock, SystemClock
from recado.core.database.inbox import Inboxed, Item, LastWrite, call_each, hand_out
from recado.core.database.tenancy import NOT_THERE, RolesMissing, beginnings
from recado.core.database.unit_of_work import UnitOfWork, have_patience
from recado.core.errors import Busy, ConfigurationError, NotConfirmed, StorageUnavailable
from recado.core.metrics import Meters

if TYPE_CHECKING:
    import psycopg

    from recado.core.database.bounded import BoundedConnection

T = TypeVar("T")
I = TypeVar("I")  # noqa: E741 - input
O = TypeVar("O")  # noqa: E741 - output

log = structlog.get_logger(__name__)

DURABLE: Final = """set_config('synchronous_commit', CASE current_setting('synchronous_commit')
    WHEN 'off' THEN 'on' WHEN 'local' THEN 'on' ELSE current_setting('synchronous_commit') END, true)"""
"""Whatever server, database, role or URL say, a commit is confirmed once it is on disk and where it is to be copied to.
What is stronger stays. Set in every transaction, for the setting may change while a connection lives; as the last
thing in it, for only the commit looks at it."""
_WHO_AND_WHEN: Final = (
    f"SELECT pg_current_xact_id_if_assigned()::text, clock_timestamp(), pg_postmaster_start_time(), {DURABLE}"
)
CHANNEL: Final = "recado_jobs"
"""What those who wait for jobs LISTEN to."""
WRITERS: Final = 4
READERS: Final = 4
IDLE_SECONDS: Final = 3
"""How long a transaction may do nothing: its process is frozen, and the server gives free what it holds."""
LOCK_SECONDS: Final = 5
"""How long a statement waits for a row that another transaction holds; longer than a frozen process can hold one."""
OUTAGE_SECONDS: Final = 5.0
"""How long a write is tried again when the server cannot be reached; then the caller is told."""
STATEMENT_SECONDS: Final = 8
"""How long the server may work on one statement; work that needs longer says so (`UnitOfWork.unhurried`)."""
ANSWER_SECONDS: Final = 10.0
"""How long the server may say nothing; longer than it may work on one statement."""
RETRIES: Final = 3
_CONNECT: Final = {"connect_timeout": 3, "tcp_user_timeout": 10_000, "keepalives_idle": 10, "client_encoding": "UTF8"}
PLANS: Final = 1_000
"""How many statements a connection keeps prepared at the server."""

_AGAIN: Final = frozenset({"40001", "40P01"})
"""Serialization failure, deadlock."""
_LOCKED: Final = frozenset({"55P03"})
_SLOW: Final = frozenset({"57014", "25P04"})
"""A statement or transaction took longer than it may."""
_READ_ONLY: Final = frozenset({"25006"})
_NO_ROOM: Final = frozenset({"53100", "53200", "58030"})
"""Disk full, out of memory, I/O error."""
_NEVER_HEARD_OF: Final = "22023"
"""The transaction's number lies in the server's future."""
_GONE: Final = frozenset({"57P01", "57P02", "57P03", "57P05", "53300", "25P03", "25P04", "25006"})
"""Shutting down, crashed, starting up, too many connections, idle for too long, a standby that cannot write."""


_LOST: Final = "the database cannot be reached; nothing was stored"


class ConnectionLost(StorageUnavailable):
    """The server is gone, or was; nothing of the transaction is stored."""


def postgres_engine(url: URL) -> Engine:
    """Connections that notice a dead server within seconds, for work that takes as long as it takes."""
    engine = create_engine(
        url.set(drivername="postgresql+psycopg"),
        poolclass=NullPool,
        hide_parameters=True,  # Errors are logged and stored, and what customers wrote must not be in them.
        use_native_hstore=False,
        connect_args={**_CONNECT, "options": _options(url), "application_name": "recado"},
    )

    @event.listens_for(engine, "commit")
    def _commit(connection: Connection) -> None:
        connection.exec_driver_sql(f"SELECT {DURABLE}")

    return engine


def _options(url: URL, *more: str) -> str:
    """What each session is told at its start: what the URL says, and then ours, which wins."""
    theirs = url.query.get("options", ())
    ours = (
        "timezone=UTC",
        "datestyle=ISO",
        f"lock_timeout={LOCK_SECONDS}s",
        f"idle_in_transaction_session_timeout={IDLE_SECONDS}s",
        *more,
    )
    return " ".join([*([theirs] if isinstance(theirs, str) else theirs), *(f"-c {setting}" for setting in ours)])


def _line_engine(url: URL) -> Engine:
    """Connections for our transactions: nothing of them takes long, and no wait for the server is without an end."""
    options = _options(url, f"statement_timeout={STATEMENT_SECONDS}s")
    return create_engine(
        "postgresql+psycopg://",
        creator=lambda: _bounded(url, options=options, application_name="recado"),
        poolclass=NullPool,
        hide_parameters=True,
        use_native_hstore=False,
    )


def _bounded(url: URL, *, autocommit: bool = False, **settings: str) -> "BoundedConnection":
    from psycopg.conninfo import make_conninfo

    from recado.core.database.bounded import BoundedConnection

    url = url.set(drivername="postgresql+psycopg")
    _, told = url.get_dialect()().create_connect_args(url)
    return BoundedConnection.connect(make_conninfo(**{**told, **_CONNECT, **settings}), autocommit=autocommit)


class _Line:
    """A connection whose transactions each begin in a role of their own (see `tenancy`)."""

    def __init__(self, engine: Engine, answer_seconds: float, *, read_only: bool) -> None:
        self._answer_seconds = answer_seconds
        # The driver would send a BEGIN of its own and wait for it; ours carries the role and the owner along.
        self.connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        _keep_plans(self.connection)
        have_patience(self.connection, answer_seconds)
        try:
            [[database, schema]] = UnitOfWork(self.connection).say("SELECT current_database(), current_schema()")
        except BaseException:
            _undo(self.connection.invalidate)
            raise
        self._beginnings = beginnings(database, schema, read_only=read_only)

    def begin(self, owner: UUID | None) -> RootTransaction:
        """Begin a transaction; raises `RolesMissing` where `recado migrate` has not made the roles."""
        have_patience(self.connection, self._answer_seconds)
        transaction = self.connection.begin()
        try:
            self._say(self._beginnings.of(owner))
        except BaseException as error:
            _undo(transaction.rollback)
            if isinstance(error, DBAPIError) and _state_of(error) in NOT_THERE:
                raise RolesMissing(f"{error.orig}: run `recado migrate`") from error
            raise
        return transaction

    def _say(self, words: str) -> None:
        import psycopg

        driver = self.connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)  # noqa: S101 - narrows the type
        try:
            driver.execute(words.encode(), prepare=False)  # Several statements at once cannot be prepared.
        except psycopg.Error as error:
            made: Exception = DBAPIError.instance(words, None, error, psycopg.Error, hide_parameters=True)
            raise made from error

    def close(self) -> None:
        _undo(self.connection.close)

    def give_up(self) -> None:
        """Close it, whatever state it is in."""
        _undo(self.connection.invalidate)
        _undo(self.connection.close)


def _keep_plans(connection: Connection) -> None:
    """Our statements are some hundred texts, for they come in sizes; psycopg keeps 100 unless it is told."""
    import psycopg

    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)  # noqa: S101 - narrows the type
    driver.prepared_max = PLANS


def _state_of(error: DBAPIError) -> str | None:
    state: str | None = getattr(error.orig, "sqlstate", None)
    return state


def _is_lost(error: DBAPIError) -> bool:
    """Whether the connection is of no use any more. An error without a code did not come from the server."""
    state = _state_of(error)
    gone = _is_operational(error) if state is None else state in _GONE or state.startswith("08")
    return error.connection_invalidated or gone


def _is_operational(error: DBAPIError) -> bool:
    import psycopg

    return isinstance(error.orig, psycopg.OperationalError | psycopg.InterfaceError)


def _as_storage_error(error: BaseException) -> BaseException:
    """What the server cannot do now in our words; everything else as it is."""
    if not isinstance(error, DBAPIError):
        return error
    if _state_of(error) in _NO_ROOM:
        return StorageUnavailable("the database cannot store now (its disk or memory is full); nothing was stored")
    if _state_of(error) in _LOCKED | _AGAIN:
        return Busy("another transaction holds what is to be changed; try again")
    if _state_of(error) in _SLOW:
        return Busy("the database took too long over it; try again")
    if _state_of(error) in _READ_ONLY:
        return StorageUnavailable("the database can only be read (a standby, or default_transaction_read_only is on)")
    return ConnectionLost(_LOST) if _is_lost(error) else error


# --- Writing ----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Ended:
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
        clock: SharedClock,
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
        self._line: _Line | None = None

    def run(self, group: "list[Item[Any]]") -> bool:
        """Store a group, or tell each of it why not; what fails together is halved until only the bad one fails.

        False when the server is lost, to every other write as well.
        """
        try:
            ended = self._insist(group)
        except Exception as error:  # noqa: BLE001 - the outermost loop of every write: each waiting future gets the error
            known = _as_storage_error(error)
            of_storage = isinstance(known, StorageUnavailable | Busy | RolesMissing)
            if of_storage:
                self._last_write.failed(known)
            if len(group) > 1 and not of_storage:
                middle = len(group) // 2
                return all([self.run(group[:middle]), self.run(group[middle:])])
            for item in group:
                item.error = known
            hand_out(group)
            return not isinstance(known, ConnectionLost | NotConfirmed)
        if ended.changed:  # A server that can only be read, or is full, runs well what stores nothing.
            self._last_write.stored()
        for item, result in zip(group, ended.results, strict=True):
            item.result = result
        call_each(ended.hooks)
        hand_out(group)
        if ended.changed:
            call_each(self._listeners)
        if ended.rang:
            self._notify()
        return True

    def close(self) -> None:
        self._forget_connection()

    def _insist(self, group: "list[Item[Any]]") -> _Ended:
        """Run it again as long as that can help; what has waited long already gets one fresh connection."""
        failures, losses, give_up = 0, 0, group[0].since + self._outage
        while True:
            try:
                return self._transaction(group)
            except DBAPIError as error:
                again = _state_of(error) in _AGAIN
                failures += again
                lost = _is_lost(error)
                losses += lost
                if lost:
                    self._forget_connection()
                if not ((again and failures <= RETRIES) or (lost and (losses == 1 or time.monotonic() < give_up))):
                    raise
            time.sleep(0.005 + 0.05 * random.random())  # noqa: S311 - jitter needs no secrecy

    def _transaction(self, group: "list[Item[Any]]") -> _Ended:
        line = self._open()
        transaction = line.begin(group[0].owner)
        try:
            uow = UnitOfWork(line.connection, group[0].owner, self._meters)
            results = group[0].work(uow, [item.value for item in group])
            number, server = self._who_and_when(uow)
        except BaseException:
            _undo(transaction.rollback)
            raise
        ended = _Ended(results, number is not None, uow.rang, uow.hooks)
        try:
            transaction.commit()
        except DBAPIError as error:
            self._forget_connection()
            if number is None or not _is_lost(error) or not self._was_stored(number, server):
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
                if _state_of(error) == _NEVER_HEARD_OF:
                    return False
                self._forget_connection()
            if status == "in progress":
                time.sleep(0.05)
        if status == "in progress" or still != server:
            raise NotConfirmed("the database was lost in mid-commit; it is not known whether this was stored")
        return status == "committed"

    def _status_of(self, uow: UnitOfWork, number: str) -> tuple[str | None, datetime]:
        [[status, server]] = uow.say("SELECT pg_xact_status($1::xid8), pg_postmaster_start_time()", number)
        return status, server

    def _who_and_when(self, uow: UnitOfWork) -> tuple[str | None, datetime]:
        """The transaction's number (None when it has changed and locked nothing), and since when its server runs.

        The server's time comes along, and from here on the commit waits for the disk.
        """
        asked = self._clock.monotonic()
        [[number, now, server, _]] = uow.say(_WHO_AND_WHEN)
        self._clock.told(now, asked, self._clock.monotonic())
        return number, server

    def _notify(self) -> None:
        """Ring for whoever waits for jobs. After the commit, for a bell may be lost but must hold up nothing."""
        try:
            UnitOfWork(self._open().connection).say(f"NOTIFY {CHANNEL}")
        except DBAPIError as error:
            log.info("database.notify_failed", error=str(error.orig))
            self._forget_connection()

    def _open(self) -> _Line:
        if self._line is None:
            self._line = _Line(self._engine, self._answer_seconds, read_only=False)
        return self._line

    def _forget_connection(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            line.give_up()


def _undo(step: Callable[[], None]) -> None:
    """Tidy up what may be broken already; whatever brought us here is what counts."""
    try:
        step()
    except DBAPIError as error:
        log.debug("database.undo_failed", error=str(error.orig))


# --- PostgreSQL as a database -----------------------------------------------------------------------------------------


class PostgresDatabase(Inboxed):
    """Several hosts may share one; each process has its writers and readers, and no connection before it needs one."""

    def __init__(
        self,
        url: str,
        meters: Meters | None = None,
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
        self._url = make_url(url)
        self._clock = SharedClock(host_clock or SystemClock())
        self._clock_is_set = False
        if self._url.get_backend_name() != "postgresql":
            raise ConfigurationError(f"{self._url.render_as_string()} is not a PostgreSQL database")
        self._engine = _line_engine(self._url)
        self._readers = ThreadPoolExecutor(readers, thread_name_prefix="recado-read")
        self._local = threading.local()
        self._read_lines: list[_Line] = []
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
        """The server's clock. It is asked here once, and waited for; later each write brings the time along.

        Raises `StorageUnavailable` when the server does not answer: with a wrong clock a process would take away the
        leases of others.
        """
        if not self._clock_is_set:
            with closing(self.connect_apart()) as connection:
                asked = self._clock.monotonic()
                [[now]] = self._asked(connection, b"SELECT clock_timestamp()")
                assert isinstance(now, datetime)  # noqa: S101 - narrows the type
                self._clock.told(now, asked, self._clock.monotonic())
            self._clock_is_set = True
        return self._clock

    def _asked(self, connection: "psycopg.Connection[tuple[object, ...]]", question: bytes) -> list[tuple[object, ...]]:
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

    def connect_apart(self) -> "psycopg.Connection[tuple[object, ...]]":
        """A bare connection of the caller's own, in autocommit (the delivery listens on it).

        Raises `StorageUnavailable` when the server does not answer.
        """
        import psycopg

        try:
            connection = _bounded(self._url, autocommit=True, application_name="recado bell")
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
        for line in self._read_lines:
            line.close()

    def _start(self) -> None:
        """The writers' threads, with the first write: a process that only reads has none."""
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
            self._engine,
            self._listeners,
            self._clock,
            self._outage,
            self._meters,
            self._last_write,
            answer_seconds=self._answer_seconds,
        )
        while self._inbox.wait():
            group = self._inbox.take()
            if group:  # Another writer may have been quicker.
                self._write_group(writer, group)
        writer.close()

    def _write_group(self, writer: PostgresWriter, group: "list[Item[Any]]") -> None:
        try:
            if not writer.run(group):
                self._inbox.fail_older(self._outage, ConnectionLost(_LOST))
        except Exception as error:  # The outermost loop of a thread that must not end: those who wait are told.
            log.exception("database.writer_failed")
            writer.close()
            for item in group:
                item.error = error
            hand_out(group)

    def _read(self, work: Callable[[UnitOfWork], T], owner: UUID | None, asked: float) -> T:
        if time.monotonic() - asked > self._answer_seconds:  # Those before it have hung as long.
            raise Busy("too many reads are waiting for the database; try again")
        try:
            return self._look(work, owner)
        except DBAPIError as error:
            if not _is_lost(error):
                raise _as_storage_error(error) from error
        try:
            return self._look(work, owner)  # Once more: a server that has started again since is no reason to fail.
        except DBAPIError as error:
            raise _as_storage_error(error) from error

    def _look(self, work: Callable[[UnitOfWork], T], owner: UUID | None) -> T:
        line: _Line | None = getattr(self._local, "line", None)
        if line is None:
            line = self._local.line = _Line(self._engine, self._answer_seconds, read_only=True)
            self._read_lines.append(line)
        try:
            with line.begin(owner):
                return work(UnitOfWork(line.connection, owner))
        except DBAPIError as error:
            if _is_lost(error):
                self._local.line = None
                self._read_lines.remove(line)
                line.give_up()
            raise
