"""Connections to PostgreSQL: their settings, and the role that each transaction runs as."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from uuid import UUID

from sqlalchemy import Connection, Engine, RootTransaction, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from recado.core.database.driver import set_answer_seconds
from recado.core.database.postgres.errors import attempt_cleanup, sqlstate_of
from recado.core.database.postgres.roles import (
    NAME_OWNER,
    ROLE_UNAVAILABLE,
    Proof,
    RolesMissing,
    roles_of,
    transaction_preamble,
)
from recado.core.database.unit_of_work import UnitOfWork

if TYPE_CHECKING:
    from recado.core.database.postgres.bounded import BoundedConnection


DURABLE: Final = """set_config('synchronous_commit', CASE current_setting('synchronous_commit')
    WHEN 'off' THEN 'on' WHEN 'local' THEN 'on' ELSE current_setting('synchronous_commit') END, true)"""
"""Raises `synchronous_commit` to `on` where the server, database, role or URL say less, so that a commit is confirmed
once it is on disk; a stronger value stays. Run at the end of every transaction, for the setting may change while a
connection lives, and only the commit reads it."""
IDLE_SECONDS: Final = 3
"""How long a transaction may do nothing; then its process is frozen, and the server releases its locks."""
LOCK_SECONDS: Final = 5
"""How long a statement waits for a row that another transaction holds; longer than a frozen process can hold one."""
STATEMENT_SECONDS: Final = 8
"""How long the server may work on one statement; see `UnitOfWork.allow_long_statements`."""
_CONNECT: Final = {"connect_timeout": 3, "tcp_user_timeout": 10_000, "keepalives_idle": 10, "client_encoding": "UTF8"}
PLANS: Final = 1_000
"""How many prepared statements a connection keeps at the server."""


def postgres_engine(url: URL) -> Engine:
    """Return an engine whose connections notice a dead server within seconds; its statements may take any time."""
    engine = create_engine(
        url.set(drivername="postgresql+psycopg"),
        poolclass=NullPool,
        hide_parameters=True,  # Errors are logged and stored, and must not contain what customers wrote.
        use_native_hstore=False,
        connect_args={**_CONNECT, "options": _options(url), "application_name": "recado"},
    )

    @event.listens_for(engine, "commit")
    def _commit(connection: Connection) -> None:
        connection.exec_driver_sql(f"SELECT {DURABLE}")

    return engine


def _options(url: URL, *more: str) -> str:
    """Return the settings of each session: those of the URL, then ours, which win."""
    theirs = url.query.get("options", ())
    ours = (
        "timezone=UTC",
        "datestyle=ISO",
        f"lock_timeout={LOCK_SECONDS}s",
        f"idle_in_transaction_session_timeout={IDLE_SECONDS}s",
        *more,
    )
    return " ".join([*([theirs] if isinstance(theirs, str) else theirs), *(f"-c {setting}" for setting in ours)])


def role_engine(url: URL) -> Engine:
    """Return an engine for our transactions: statements are short, and every wait for the server ends."""
    options = _options(url, f"statement_timeout={STATEMENT_SECONDS}s")
    return create_engine(
        "postgresql+psycopg://",
        creator=lambda: bounded_connection(url, options=options, application_name="recado"),
        poolclass=NullPool,
        hide_parameters=True,
        use_native_hstore=False,
    )


def bounded_connection(url: URL, *, autocommit: bool = False, **settings: str) -> "BoundedConnection":
    from psycopg.conninfo import make_conninfo

    from recado.core.database.postgres.bounded import BoundedConnection

    url = url.set(drivername="postgresql+psycopg")
    _, told = url.get_dialect()().create_connect_args(url)
    return BoundedConnection.connect(make_conninfo(**{**told, **_CONNECT, **settings}), autocommit=autocommit)


@dataclass(frozen=True, slots=True)
class TenantAccess:
    """How tenants' transactions run: in which schema, by which secret, and as which login with which password.

    Without a login they run on connections of the URL's login, which takes the tenant role.
    """

    schema: str | None
    secret: bytes = field(repr=False)
    login: str | None
    password: str | None = field(repr=False)


class RoleConnection:
    """A connection whose transactions all run in the system role, or all in the tenant role (see `roles`)."""

    def __init__(
        self, engine: Engine, answer_seconds: float, *, read_only: bool, tenants: TenantAccess | None = None
    ) -> None:
        """`tenants` is given for a connection of tenants."""
        self._answer_seconds = answer_seconds
        # The driver would send its own BEGIN and wait for it; ours carries the role and the owner along.
        self.connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        _cache_plans(self.connection)
        set_answer_seconds(self.connection, answer_seconds)
        try:
            [[database, schema, process]] = UnitOfWork(self.connection).execute_raw(
                "SELECT current_database(), current_schema(), pg_backend_pid()"
            )
        except BaseException:
            attempt_cleanup(self.connection.invalidate)
            raise
        self.schema: str | None = schema
        roles = roles_of(database)
        if tenants is None:
            self._preamble = transaction_preamble(schema, role=roles.system, read_only=read_only)
        else:
            role = roles.tenant if tenants.login is None else None
            proof = Proof(tenants.secret, process if process == _process_told(self.connection) else 0)
            self._preamble = transaction_preamble(tenants.schema, role=role, read_only=read_only, proof=proof)

    def begin(self, owner: UUID | None) -> RootTransaction:
        """Begin a transaction; raises `RolesMissing` unless `recado migrate` has made the roles."""
        set_answer_seconds(self.connection, self._answer_seconds)
        transaction = self.connection.begin()
        try:
            named = self._preamble.named(owner)
            self._send(self._preamble.begin)
            if named is not None:
                UnitOfWork(self.connection).execute_raw(NAME_OWNER, *named)
        except BaseException as error:
            attempt_cleanup(transaction.rollback)
            if isinstance(error, DBAPIError) and sqlstate_of(error) in ROLE_UNAVAILABLE:
                raise RolesMissing(f"{error.orig}: run `recado migrate`") from error
            raise
        return transaction

    def _send(self, words: str) -> None:
        import psycopg

        driver = self.connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)  # noqa: S101 - narrows the type
        try:
            driver.execute(words.encode(), prepare=False)  # Several statements at once cannot be prepared.
        except psycopg.Error as error:
            made: Exception = DBAPIError.instance(words, None, error, psycopg.Error, hide_parameters=True)
            raise made from error

    def close(self) -> None:
        attempt_cleanup(self.connection.close)

    def discard(self) -> None:
        """Close the connection, whatever state it is in."""
        attempt_cleanup(self.connection.invalidate)
        attempt_cleanup(self.connection.close)


def _process_told(connection: Connection) -> int:
    """Return the server's process as the connection was told it at its start. A pooler tells a number of its own."""
    import psycopg

    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)  # noqa: S101 - narrows the type
    return driver.info.backend_pid


def _cache_plans(connection: Connection) -> None:
    """Keep more prepared statements than psycopg's 100: ours are some hundred texts, for they come in several sizes."""
    import psycopg

    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)  # noqa: S101 - narrows the type
    driver.prepared_max = PLANS
