"""What each process does about the schema when it starts, and what `recado migrate` does, on either database."""

import time
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Final

import structlog
from sqlalchemy import MetaData

from recado.core.database.engine import on_postgresql
from recado.core.errors import ConfigurationError, NotFound
from recado.migrations import HEAD
from recado.migrations.refusals import file_problem
from recado.migrations.runner import (
    WAIT_SECONDS,
    MigrationResult,
    SchemaTooNew,
    SchemaUnreleased,
    file_of,
    is_behind,
    is_recado_database,
    migrate_sqlite,
)

log = structlog.get_logger(__name__)

_POLL_SECONDS: Final = 0.1


class Creation(Enum):
    """What a process does about a missing SQLite file.

    A command that made one would hide a wrong folder or a wrong variable, and what servers then store would be in
    another file than people expect. So only processes with `ALLOWED` make it.
    """

    REFUSED = "refused"
    """Raise an error."""
    AWAITED = "awaited"
    """Wait a while for another process to make it, as on PostgreSQL, then raise an error."""
    ALLOWED = "allowed"
    """Make it: `recado serve` and `recado demo`; `recado migrate` uses `migrate`."""


def prepare_database(
    database_url: str,
    metadata_loader: Callable[[], MetaData],
    *,
    creation: Creation = Creation.REFUSED,
    wait_seconds: float | None = None,
) -> MigrationResult:
    """Make the database ready before anything else: migrate SQLite, on PostgreSQL wait for `recado migrate`.

    `wait_seconds` is half a minute by default. Raises `NotFound` for a missing SQLite file that must not be made here.
    """
    if on_postgresql(database_url):
        from recado.migrations.postgres import WAIT_SECONDS as PATIENCE
        from recado.migrations.postgres import await_schema

        return await_schema(database_url, wait_seconds=PATIENCE if wait_seconds is None else wait_seconds)
    if creation is Creation.AWAITED:
        _await_file(database_url, WAIT_SECONDS if wait_seconds is None else wait_seconds)
    elif creation is Creation.REFUSED:
        require_database(database_url)
    else:
        _require_usable(file_of(database_url))
    return migrate_sqlite(database_url, metadata_loader, create=creation is Creation.ALLOWED)


def require_database(database_url: str) -> None:
    """Raise `NotFound` for an SQLite file that is missing or empty."""
    if on_postgresql(database_url):
        return
    path = file_of(database_url)
    if not path.exists():
        raise NotFound(
            f"{path} is not there: RECADO_DATABASE_URL names another file, or this is another directory; "
            "to make it, type: recado migrate"
        )
    _require_usable(path)
    if not is_recado_database(path):
        raise NotFound(
            f"{path} holds no database of Recado's: RECADO_DATABASE_URL names another file, or it is still to be "
            "made; to make it, type: recado migrate"
        )


def schema_problem(found: str | None) -> str | None:
    """Return why a running process cannot use a database at this revision; None when it can."""
    try:
        behind = is_behind(found, HEAD)
    except (SchemaTooNew, SchemaUnreleased) as error:
        return str(error)
    return f"the database is at schema {found or 'none'} instead of {HEAD}: run recado migrate" if behind else None


def _require_usable(path: Path) -> None:
    """Raise `ConfigurationError` for a file that cannot be written:

    SQLite would open it and fail at the first write.
    """
    why = file_problem(path)
    if why is not None:
        raise ConfigurationError(why)


def _await_file(database_url: str, wait_seconds: float) -> None:
    give_up, told = time.monotonic() + wait_seconds, False
    while True:
        try:
            return require_database(database_url)
        except NotFound as error:
            if time.monotonic() >= give_up:
                raise
            if not told:
                log.warning("migrations.waiting", why=str(error))
                told = True
        time.sleep(_POLL_SECONDS)


def migrate(database_url: str, metadata_loader: Callable[[], MetaData]) -> MigrationResult:
    """Bring the schema to this release's, on either database; a missing SQLite file is made."""
    if not on_postgresql(database_url):
        _require_usable(file_of(database_url))
        return migrate_sqlite(database_url, metadata_loader)
    from recado.migrations.postgres import migrate_postgres

    return migrate_postgres(database_url, metadata_loader)
