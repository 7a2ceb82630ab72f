"""What each process does about the schema when it starts, and what `recado migrate` does; whichever database it is."""

from collections.abc import Callable

from sqlalchemy import MetaData

from recado.core.database.engine import on_postgresql
from recado.core.errors import NotFound
from recado.migrations.runner import MigrationResult, file_of, migrate_sqlite


def bring_up(
    database_url: str, metadata_loader: Callable[[], MetaData], *, wait_seconds: float | None = None
) -> MigrationResult:
    """Before anything else of a process: SQLite is migrated, on PostgreSQL `recado migrate` is waited for.

    `wait_seconds`: how long for, half a minute unless it is said.
    """
    if not on_postgresql(database_url):
        return migrate_sqlite(database_url, metadata_loader)
    from recado.migrations.postgres import WAIT_SECONDS, await_schema

    return await_schema(database_url, wait_seconds=WAIT_SECONDS if wait_seconds is None else wait_seconds)


def must_be_there(database_url: str) -> None:
    """For who only looks: raises `NotFound` for an SQLite file that is not there, which a start would make."""
    if on_postgresql(database_url):
        return
    path = file_of(database_url)
    if not path.exists():
        raise NotFound(f"{path} is not there: RECADO_DATABASE_URL names another file, or this is another directory")


def migrate(database_url: str, metadata_loader: Callable[[], MetaData]) -> MigrationResult:
    """Bring the schema to this release's, on either database."""
    if not on_postgresql(database_url):
        return migrate_sqlite(database_url, metadata_loader)
    from recado.migrations.postgres import migrate_postgres

    return migrate_postgres(database_url, metadata_loader)
