"""Copies the database while servers and workers go on with it.

SQLite is copied inside one read transaction: what others write meanwhile is not in the copy and does not make it begin
anew (seen without one: beside a busy server a copy in steps never came to its end). The copy gets its name only when it
is whole, checked and on the disk, so a file with that name is a backup. PostgreSQL has a tool of its own for this.
"""

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy.engine import URL, make_url

from recado.core.database.engine import on_postgresql
from recado.core.database.sqlite import sqlite_module
from recado.core.database.tenancy import roles_of
from recado.core.errors import Conflict, InvalidInput, NotFound, StorageUnavailable

STEP_PAGES: Final = 2_000
"""Eight megabytes between two words about progress."""

Progress = Callable[[float], None]
"""Told, from time to time, which share of the database is copied."""


@dataclass(frozen=True, slots=True)
class BackedUp:
    """A backup that was made."""

    file: str
    bytes: int
    seconds: float
    schema: str | None


def back_up(database_url: str, target: Path, progress: Progress) -> BackedUp:
    """Copy the database to a file that is not there yet, readable by its owner only.

    Raises `Conflict` for a file that is there, `NotFound` without a database, `InvalidInput` and `StorageUnavailable`
    with a sentence when it cannot be done.
    """
    started = time.monotonic()
    with _becoming(target) as part:
        if on_postgresql(database_url):
            schema = _dump(make_url(database_url), part)
        else:
            schema = _copy(Path(str(make_url(database_url).database)), part, progress)
        size = part.stat().st_size
    return BackedUp(str(target), size, round(time.monotonic() - started, 3), schema)


@contextmanager
def _becoming(target: Path) -> Iterator[Path]:
    """A file beside the target that takes its name at the end, and leaves nothing behind when there is no end."""
    if target.exists() or target.is_symlink():
        raise _taken(target)
    if not target.parent.is_dir():
        raise InvalidInput(f"there is no directory {target.parent}: make it, or name a file elsewhere")
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    try:
        yield part
        _to_disk(part)
        _name(part, target)
        _to_disk(target.parent)
    finally:
        for left in (part, Path(f"{part}-wal"), Path(f"{part}-shm")):
            left.unlink(missing_ok=True)


def _name(part: Path, target: Path) -> None:
    try:
        os.link(part, target)  # Unlike a rename it never takes another file's place.
    except FileExistsError:
        raise _taken(target) from None
    except OSError:  # No second names on this file system.
        if target.exists():
            raise _taken(target) from None
        part.rename(target)


def _taken(target: Path) -> Conflict:
    return Conflict(f"{target} is there already and stays as it is: name another file")


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# --- SQLite -----------------------------------------------------------------------------------------------------------


def _copy(source: Path, part: Path, progress: Progress) -> str | None:
    if not source.exists():
        raise NotFound(f"there is no database at {source}; RECADO_DATABASE_URL says where it is")
    sqlite = sqlite_module()
    try:
        with (
            closing(sqlite.connect(source, isolation_level=None, timeout=30)) as live,
            closing(sqlite.connect(part, isolation_level=None)) as copy,
        ):
            copy.execute("PRAGMA synchronous=OFF")  # It is brought to the disk as a whole.
            live.execute("BEGIN")
            live.execute("SELECT count(*) FROM sqlite_master").fetchone()
            live.backup(copy, pages=STEP_PAGES, progress=_share(progress))
        with closing(sqlite.connect(part, isolation_level=None)) as copy:
            [said] = copy.execute("PRAGMA integrity_check(1)").fetchone()
            if said != "ok":
                raise StorageUnavailable(f"the copy is not sound, and so the database may not be: {said}")
            return _schema(copy.execute("SELECT version_num FROM alembic_version").fetchone())
    except sqlite.OperationalError as error:
        raise StorageUnavailable(f"no backup was made: {error}") from error
    except sqlite.DatabaseError as error:
        raise StorageUnavailable(f"{source} cannot be read as a database: {error}") from error


def _share(progress: Progress) -> Callable[[int, int, int], None]:
    def told(_status: int, remaining: int, total: int) -> None:
        progress(1 - remaining / total if total else 1.0)

    return told


def _schema(row: tuple[str] | None) -> str | None:
    return None if row is None else row[0]


# --- PostgreSQL -------------------------------------------------------------------------------------------------------


def _dump(url: URL, part: Path) -> str | None:
    program = shutil.which("pg_dump")
    # The login sees no row, whether it owns the tables or not: the one that does is the role of the system.
    options = [
        "--format=custom",
        "--no-owner",
        f"--role={roles_of(url.database or '').system}",
        "--enable-row-security",
    ]
    bare = URL.create("postgresql", url.username, None, url.host, url.port, url.database, url.query).render_as_string()
    if program is None:
        raise NotFound(
            "PostgreSQL is copied by its own pg_dump, which is not on this machine; where it is, type: "
            f"pg_dump {' '.join(options)} --file=FILE '{bare}'"
        )
    secret = {} if url.password is None else {"PGPASSWORD": str(url.password)}  # Never in a list of processes.
    words = [program, *options, f"--file={part}", f"--dbname={bare}"]
    ran = subprocess.run(words, env=os.environ | secret, capture_output=True, text=True, check=False)  # noqa: S603
    if ran.returncode != 0:
        said = ran.stderr.strip().splitlines()
        raise StorageUnavailable(f"no backup was made: {said[0] if said else 'pg_dump failed'}")
    return _revision(url)


def _revision(url: URL) -> str | None:
    from recado.core.database.postgres import PostgresDatabase

    with contextlib.closing(PostgresDatabase(url.render_as_string(hide_password=False)).connect_apart()) as connection:
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return None if row is None else str(row[0])
