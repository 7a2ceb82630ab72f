"""What each process does about the schema when it starts, and what `recado migrate` does; whichever database it is."""

from collections.abc import Callable

from sqlalchemy import MetaData

from recado.core.database.engine import on_postgresql
from recado.migrations.runner import MigrationResult, migrate_sqlite


def bring_up(database_url: str, metadata_loader: Callable[[], MetaData]) -> MigrationResult:
    """Before anything else of a process: SQLite is migrated, on PostgreSQL `recado migrate` is waited for."""
    if not on_postgresql(database_url):
        return migrate_sqlite(database_url, metadata_loader)
    from recado.migrations.postgres import await_schema

    return await_schema(database_url)


def migrate(database_url: str, metadata_loader: Callable[[], MetaData]) -> MigrationResult:
    """Bring the schema to this release's, on either database."""
    if not on_postgresql(database_url):
        return migrate_sqlite(database_url, metadata_loader)
    from recado.migrations.postgres import migrate_postgres

    return migrate_postgres(database_url, metadata_loader)
