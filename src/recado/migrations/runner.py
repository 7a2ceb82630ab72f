"""Bring a SQLite file to this release's schema at every start, even if several processes start at the same moment.

Nearly every start finds the schema as it should be, so that is checked first, with one query and without loading
Alembic or a single table. Otherwise one process at a time (a lock beside the file) opens a transaction in which nobody
else can write, checks again, and migrates: of two that start on a new file exactly one does the work.
"""

import fcntl
import os
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import structlog
from sqlalchemy import Connection, Engine, MetaData, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from recado.core.database.sqlite.driver import sqlite_module
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.errors import Busy, ConfigurationError
from recado.migrations import HEAD, OLDEST
from recado.migrations.refusals import orphaned_log, sqlite_refusal

if TYPE_CHECKING:
    from alembic.config import Config

log = structlog.get_logger(__name__)

SCRIPTS: Final = Path(__file__).parent
VERSIONS: Final = SCRIPTS / "versions"
WAIT_SECONDS: Final = 30.0
"""How long a migration waits for another process to finish its write."""
POLL_SECONDS: Final = 5.0
"""How long reading the revision waits."""
_LOCK_PAUSE_SECONDS: Final = 0.05
_OWNER_ONLY: Final = 0o600
"""What customers write is for no other user of this machine; SQLite gives its logs the mode of the file."""

_HAS_REVISION: Final = "SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'"
_REVISION: Final = "SELECT version_num FROM alembic_version"
_ANY_TABLE: Final = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT IN ('alembic_version') LIMIT 1"


class SchemaTooNew(ConfigurationError):
    """A release more than one step newer has migrated the database, so this one cannot know how to use it."""

    code = "migrations.schema_too_new"


class SchemaUnreleased(ConfigurationError):
    """An unreleased version made the database; no release can migrate it."""

    code = "migrations.schema_unreleased"


class NotRecadoDatabase(ConfigurationError):
    """The file has tables and no revision of Recado's: it belongs to another program, or lost its revision."""

    code = "migrations.not_ours"


class ReferencesBroken(ConfigurationError):
    """Rows would refer to missing rows; the migration was undone."""

    code = "migrations.references_broken"


@dataclass(frozen=True, slots=True)
class MigrationResult:
    """The revision before and after; `migrated` is whether this process did the work."""

    before: str | None
    after: str | None
    migrated: bool


def migrate_sqlite(
    database_url: str,
    metadata_loader: Callable[[], MetaData],
    *,
    versions: Path = VERSIONS,
    head: str | None = HEAD,
    wait_seconds: float = WAIT_SECONDS,
    create: bool = True,
) -> MigrationResult:
    """Bring the file behind `database_url` to `head`; `metadata_loader` is called only if there is something to do.

    Raises `Busy` when another process writes for longer than `wait_seconds`, `SchemaTooNew` for a later release's file,
    `SchemaUnreleased` for an unreleased version's, `NotRecadoDatabase` for one with another program's tables. Without
    `create` a missing file cannot be opened.
    """
    path = file_of(database_url)
    found = revision_of(path)
    if not is_behind(found, head):
        return MigrationResult(found, found, migrated=False)
    with _file_lock(path, wait_seconds):
        if create and not path.exists():
            os.close(_open_private(path))
        return _migrate(_exclusive_engine(database_url, path, wait_seconds), path, metadata_loader, versions, head)


def revision_of(path: Path, *, wait_seconds: float = POLL_SECONDS) -> str | None:
    """Return the revision of the file at `path`; None when there is no file or nothing in it.

    Raises `ConfigurationError` where a log lies beside a missing or empty file: opening it would delete the log.
    """
    if why := orphaned_log(path):
        raise ConfigurationError(why)
    if not path.exists():
        return None
    try:
        with closing(_connect(path, wait_seconds)) as connection:
            if connection.execute(_HAS_REVISION).fetchone() is None:
                return None
            row: tuple[str] | None = connection.execute(_REVISION).fetchone()
    except sqlite_module().DatabaseError as error:
        raise sqlite_refusal(error, path) or error from error
    return None if row is None else row[0]


def file_of(database_url: str) -> Path:
    """Return the file that a URL names, in a directory that exists."""
    url = make_url(database_url)
    name = url.database
    if url.query or str(name).startswith("file:"):
        raise ConfigurationError("RECADO_DATABASE_URL: after sqlite:/// comes a path and nothing else, no ?… or file:")
    if name in {None, "", ":memory:"}:
        raise ConfigurationError("a database in memory cannot be migrated; use create_schema on its unit of work")
    path = Path(str(name))
    if not path.parent.is_dir():
        raise ConfigurationError(f"RECADO_DATABASE_URL names a file in {path.parent}, and there is no such directory")
    try:
        path.stat()
    except FileNotFoundError:
        return path
    except OSError as error:
        raise ConfigurationError(f"RECADO_DATABASE_URL names {path}: {error.strerror}") from error
    return path


def is_recado_database(path: Path) -> bool:
    """Return whether an existing file has a revision; an empty one has none. Raises `NotRecadoDatabase`."""
    if revision_of(path) is not None:
        return True
    try:
        with closing(_connect(path, POLL_SECONDS)) as connection:
            found: tuple[str] | None = connection.execute(_ANY_TABLE).fetchone()
    except sqlite_module().DatabaseError as error:
        raise sqlite_refusal(error, path) or error from error
    if found is not None:
        raise _not_recado(path, found[0])
    return False


def create_schema(uow: UnitOfWork, metadata: MetaData) -> None:
    """Make every table at once, without revisions: for databases in memory, which end with their process."""
    # Some tables bring along what SQLAlchemy cannot describe (a full-text index), by listeners on a connection.
    metadata.create_all(uow.execute(text("SELECT 1")).connection)


def alembic_config(connection: Connection | None, metadata: MetaData | None, versions: Path) -> "Config":
    """Return Alembic's configuration, made in code: there is no file to keep, and nothing for env.py to open."""
    from alembic.config import Config

    config = Config(attributes={"connection": connection, "metadata": metadata})
    config.set_main_option("script_location", _literal(SCRIPTS))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", _literal(versions))
    return config


def _literal(path: Path) -> str:
    # A percent sign begins an interpolation in configuration files.
    return str(path).replace("%", "%%")


def is_behind(found: str | None, head: str | None) -> bool:
    """Return whether there is something to migrate.

    Raises `SchemaTooNew` when this program is more than one step behind, `SchemaUnreleased` when no release made the
    database.
    """
    if found is not None and _number(found) < _number(OLDEST) <= _number(head):
        raise SchemaUnreleased(
            f"the database is at schema {found}, which an unreleased version made: start with a new database "
            "(set RECADO_DATABASE_URL to another one, or move this one away)"
        )
    ahead = _number(found) - _number(head)
    if ahead > 1:
        raise SchemaTooNew(
            f"the database is at schema {found} and this release knows {head or 'none'}: "
            "start the release that migrated it, or restore a backup made before"
        )
    return ahead < 0


def _number(revision: str | None) -> int:
    if revision is None:
        return 0
    if not revision.isdecimal():
        raise SchemaTooNew(f"the database is at schema {revision!r}, which is none of Recado's: use another file")
    return int(revision)


@contextmanager
def _file_lock(path: Path, wait_seconds: float) -> Iterator[None]:
    """Let one process at a time in. The lock's file stays: deleting it would let two in."""
    lock = _open_private(Path(f"{path}.lock"))
    try:
        _await_lock(lock, path, wait_seconds)
        yield
    finally:
        os.close(lock)


def _await_lock(lock: int, path: Path, wait_seconds: float) -> None:
    give_up, told = time.monotonic() + wait_seconds, False
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= give_up:
                raise Busy(f"another process has been migrating {path} for too long; stop it, or try again") from None
        else:
            return
        if not told:
            log.info("migrations.waiting_for_another_process")
            told = True
        time.sleep(_LOCK_PAUSE_SECONDS)


def _open_private(path: Path) -> int:
    """Open a file of ours for writing; a new one belongs to its user alone from the start, whatever the umask."""
    made = not path.exists()
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _OWNER_ONLY)
    if made and stat.S_IMODE(os.fstat(descriptor).st_mode) != _OWNER_ONLY:
        os.fchmod(descriptor, _OWNER_ONLY)  # An odd umask may have taken rights from the owner.
    return descriptor


def _migrate(
    engine: Engine, path: Path, metadata_loader: Callable[[], MetaData], versions: Path, head: str | None
) -> MigrationResult:
    try:
        with engine.begin() as connection:
            before = _revision_in(connection)
            if not is_behind(before, head):
                return MigrationResult(before, before, migrated=False)
            if before is None:
                _require_empty(connection, path)
            _upgrade(connection, metadata_loader(), versions, head)
            after = _revision_in(connection)
    except DBAPIError as error:
        raise sqlite_refusal(error.orig or error, path) or error.orig or error from error
    finally:
        engine.dispose()
    log.info("migrations.done", before=before, after=after)
    return MigrationResult(before, after, migrated=True)


def _require_empty(connection: Connection, path: Path) -> None:
    found = connection.exec_driver_sql(_ANY_TABLE).first()
    if found is not None:
        raise _not_recado(path, str(found[0]))


def _not_recado(path: Path, table: str) -> NotRecadoDatabase:
    return NotRecadoDatabase(
        f"{path} has tables ({table}) and no revision of Recado's: "
        "set RECADO_DATABASE_URL to another file, or restore a backup"
    )


def _upgrade(connection: Connection, metadata: MetaData, versions: Path, head: str | None) -> None:
    from alembic import command

    command.upgrade(alembic_config(connection, metadata, versions), head or "head")
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchone()
    if broken is not None:
        raise ReferencesBroken(f"after the migration a row of {broken[0]} would refer to a missing row of {broken[2]}")


def _revision_in(connection: Connection) -> str | None:
    if connection.exec_driver_sql(_HAS_REVISION).first() is None:
        return None
    row = connection.exec_driver_sql(_REVISION).first()
    return None if row is None else str(row[0])


def _exclusive_engine(database_url: str, path: Path, wait_seconds: float) -> Engine:
    engine = create_engine(
        database_url, module=sqlite_module(), poolclass=NullPool, creator=lambda: _connect(path, wait_seconds)
    )

    @event.listens_for(engine, "connect")
    def _connected(dbapi: sqlite3.Connection, _record: object) -> None:
        dbapi.execute("PRAGMA journal_mode=WAL")
        dbapi.execute("PRAGMA synchronous=FULL")
        # SQLite changes a table by copying it and dropping the old one; with this on, the drop would delete every row
        # that refers to it. It cannot be switched inside a transaction; `_upgrade` checks the references instead.
        dbapi.execute("PRAGMA foreign_keys=OFF")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN EXCLUSIVE")

    return engine


def _connect(path: Path, wait_seconds: float) -> sqlite3.Connection:
    """Return a connection to an existing file: SQLite would make a missing one, readable by everybody."""
    connection: sqlite3.Connection = sqlite_module().connect(
        f"file:{quote(str(path))}?mode=rw", uri=True, isolation_level=None, timeout=wait_seconds
    )
    return connection
