"""The schema on PostgreSQL: only `recado migrate` changes it, one process at a time; other processes wait for it.

A rolling deployment starts many processes at once, some of the older release. None of them may find half a schema, and
none may change the schema while another answers customers.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog
from sqlalchemy import Connection, Engine, MetaData, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from recado.core.database.postgres.connections import postgres_engine
from recado.core.database.postgres.doors import url_of_tenants
from recado.core.database.postgres.roles import RolesMissing
from recado.core.errors import ConfigurationError, DomainError, StorageUnavailable
from recado.migrations import HEAD, tenancy
from recado.migrations.refusals import postgres_refusal
from recado.migrations.runner import VERSIONS, MigrationResult, NotRecadoDatabase, alembic_config, is_behind

log = structlog.get_logger(__name__)

WAIT_SECONDS: Final = 30.0
POLL_SECONDS: Final = 0.5

_NO_TIMEOUTS: Final = text("SET LOCAL lock_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0")
_LOCK: Final = text("SELECT pg_advisory_xact_lock(hashtextextended('recado migrations', 0))")
_SERVER: Final = text("SELECT current_setting('server_version_num')")
_HAS_REVISION: Final = text("SELECT to_regclass('alembic_version') IS NOT NULL")
_REVISION: Final = text("SELECT version_num FROM alembic_version")
_TABLE_EXISTS: Final = text(
    "SELECT name FROM unnest(CAST(:names AS text[])) AS name WHERE to_regclass(name) IS NOT NULL LIMIT 1"
)


OLDEST_SERVER: Final = 15
"""The first release of PostgreSQL with views that keep to their reader's row-level security."""


class ServerTooOld(ConfigurationError):
    """The PostgreSQL server is of a release that Recado cannot use."""

    code = "migrations.server_old"


class SchemaTooOld(ConfigurationError):
    """The database was not migrated for this release."""

    code = "migrations.schema_too_old"


def migrate_postgres(
    database_url: str,
    metadata_loader: Callable[[], MetaData],
    *,
    versions: Path = VERSIONS,
    head: str | None = HEAD,
) -> MigrationResult:
    """Bring the database to `head` in one transaction; of several that try at once one does the work.

    Roles and policies are made as well where they are missing (a copied database has those of the original). Raises
    `StorageUnavailable` when the database cannot be reached, `SchemaTooNew` for a later release's schema,
    `SchemaUnreleased` for an unreleased version's, `NotRecadoDatabase` where another program's tables are,
    `ServerTooOld`, and `RolesRefused`.
    """
    engine = postgres_engine(make_url(database_url))
    try:
        with engine.begin() as connection:
            result = _migrate(connection, metadata_loader(), versions, head)
        _try_login_of_tenants(engine)
    except DBAPIError as error:
        raise _domain_error(error) from error
    finally:
        engine.dispose()
    if result.migrated:
        log.info("migrations.done", before=result.before, after=result.after)
    return result


def _migrate(connection: Connection, metadata: MetaData, versions: Path, head: str | None) -> MigrationResult:
    require_server(int(connection.execute(_SERVER).scalar_one()))
    connection.execute(_NO_TIMEOUTS)
    connection.execute(_LOCK)
    before = _revision_in(connection)
    if not is_behind(before, head):
        if before == head:  # The tables of a later release are secured by that release.
            tenancy.enforce(connection, metadata, only_if_missing=True)
            tenancy.refuse_open_tables(connection)
        return MigrationResult(before, before, migrated=False)
    if before is None:
        _require_free(connection, metadata)
    tenancy.relax(connection)
    _upgrade(connection, metadata, versions, head)
    tenancy.enforce(connection, metadata)
    if head == HEAD:
        tenancy.refuse_open_tables(connection)
    return MigrationResult(before, _revision_in(connection), migrated=True)


def _try_login_of_tenants(engine: Engine) -> None:
    """Have tenants log in by themselves only where the server lets them: its rules may name the URL's login alone."""
    with engine.begin() as connection:
        access = tenancy.tenants_log_in(connection)
    if access is None:
        return
    tenants = postgres_engine(url_of_tenants(engine.url, access))
    try:
        tenants.connect().close()
    except DBAPIError as error:
        with engine.begin() as connection:
            tenancy.close_login(connection, str(error.orig))
    finally:
        tenants.dispose()


def require_server(version_num: int) -> None:
    """Raise `ServerTooOld` for a server of this `server_version_num` (150004 is release 15.4)."""
    release = version_num // 10_000
    if release < OLDEST_SERVER:
        raise ServerTooOld(
            f"the PostgreSQL server is of release {release} and Recado needs {OLDEST_SERVER} or later: upgrade the "
            "server, or set RECADO_DATABASE_URL to another"
        )


def await_schema(
    database_url: str,
    *,
    head: str | None = HEAD,
    wait_seconds: float = WAIT_SECONDS,
    pause: Callable[[float], None] = time.sleep,
) -> MigrationResult:
    """Wait until the database is at `head` or one step further.

    Raises `SchemaTooOld` or `RolesMissing` when that is not so after `wait_seconds`, and what `migrate_postgres`
    raises.
    """
    engine = postgres_engine(make_url(database_url))
    give_up, told = time.monotonic() + wait_seconds, ""
    try:
        while True:
            try:
                found = _revision_of(engine, ready_for=head)
                if not is_behind(found, head):
                    return MigrationResult(found, found, migrated=False)
                why: DomainError = SchemaTooOld(
                    f"the database is at schema {found or 'none'} and this release needs {head}: run `recado migrate`"
                )
            except (StorageUnavailable, RolesMissing) as error:
                why = error
            if time.monotonic() >= give_up:
                raise why
            if str(why) != told:
                told = str(why)
                log.info("migrations.waiting", why=told)
            pause(POLL_SECONDS)
    finally:
        engine.dispose()


def revision_of(database_url: str) -> str | None:
    """Return the revision of the database, None for an empty one. Raises what `migrate_postgres` raises."""
    engine = postgres_engine(make_url(database_url))
    try:
        return _revision_of(engine)
    finally:
        engine.dispose()


def _revision_of(engine: Engine, *, ready_for: str | None = None) -> str | None:
    """Return the revision. If this release can run on it, also check that the roles exist."""
    try:
        with engine.begin() as connection:
            found = _revision_in(connection)
            if ready_for is not None and not is_behind(found, ready_for):
                tenancy.check(connection)
            return found
    except DBAPIError as error:
        raise _domain_error(error) from error


def _revision_in(connection: Connection) -> str | None:
    if not connection.execute(_HAS_REVISION).scalar_one():
        return None
    found = connection.execute(_REVISION).scalar()
    return None if found is None else str(found)


def _require_free(connection: Connection, metadata: MetaData) -> None:
    """Raise `NotRecadoDatabase` when one of our tables is there. Tables of other names may be an extension's."""
    found = connection.execute(_TABLE_EXISTS, {"names": list(metadata.tables)}).scalar()
    if found is not None:
        raise NotRecadoDatabase(
            f"the database has a table {found} and no revision of Recado's: "
            "set RECADO_DATABASE_URL to another database, or restore a backup"
        )


def _upgrade(connection: Connection, metadata: MetaData, versions: Path, head: str | None) -> None:
    from alembic import command

    command.upgrade(alembic_config(connection, metadata, versions), head or "head")


def _domain_error(error: DBAPIError) -> Exception:
    return postgres_refusal(error.orig) or error
