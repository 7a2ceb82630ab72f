"""Copies the database while servers and workers go on with it.

SQLite is copied inside one read transaction: what others write meanwhile is not in the copy and does not make it begin
anew (seen without one: beside a busy server a copy in steps never came to its end). The copy gets its name only when it
is whole, checked and on the disk, so a file with that name is a backup. PostgreSQL has a tool of its own for this.

Until then it lies in a folder of its own beside the target, which goes with it however it ends (`core.folders`).
"""

import contextlib
import errno
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy.engine import URL, make_url

from recado.core.database.engine import on_postgresql
from recado.core.database.postgres.roles import roles_of
from recado.core.database.sqlite.driver import sqlite_module
from recado.core.errors import Conflict, InvalidInput, NotFound, StorageUnavailable
from recado.core.processes.children import die_with_parent
from recado.core.processes.folders import StoppedBySignal, private_folder, stop_on_signals

if TYPE_CHECKING:
    import psycopg

STEP_PAGES: Final = 2_000
"""Eight megabytes between two words about progress."""
VERSION_SECONDS: Final = 10.0
"""How long `pg_dump --version` may take."""

_PREFIX: Final = ".recado-backup-"
_SUFFIX: Final = ".part"
_STOP_SIGNALS: Final = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
_SIGNAL_CHECK_STEPS: Final = 100_000
"""Steps of SQLite's machine after which a long statement lets Python see its signals."""

Progress = Callable[[float], None]
"""Told, from time to time, which share of the database is copied."""


@dataclass(frozen=True, slots=True)
class BackupReport:
    """A backup that was made."""

    file: str
    bytes: int
    seconds: float
    schema: str | None


def back_up(database_url: str, target: Path, progress: Progress) -> BackupReport:
    """Copy the database to a file that is not there yet, readable by its owner only.

    Raises `Conflict` for a file that is there, `NotFound` without a database, `InvalidInput`, `StorageUnavailable` and
    `StoppedBySignal` with a sentence when it cannot be done; nothing is left behind then.
    """
    started = time.monotonic()
    try:
        with stop_on_signals(_STOP_SIGNALS), _renamed_when_complete(target) as part:
            if on_postgresql(database_url):
                schema = _dump(make_url(database_url), part)
            else:
                schema = _copy(Path(str(make_url(database_url).database)), part, progress)
            size = part.stat().st_size
    except StoppedBySignal as error:
        raise StoppedBySignal(f"no backup was made: {error}") from error
    except OSError as error:
        raise StorageUnavailable(f"no backup was made: {error.filename or target}: {error.strerror}") from error
    return BackupReport(str(target), size, round(time.monotonic() - started, 3), schema)


# --- The file ---------------------------------------------------------------------------------------------------------


@contextmanager
def _renamed_when_complete(target: Path) -> Iterator[Path]:
    """A file beside the target that takes its name at the end, and leaves nothing behind when there is no end."""
    if target.is_dir():
        raise Conflict(f"{target} is a directory: name a file in it")
    if target.exists() or target.is_symlink():
        raise _file_exists(target)
    if not target.parent.is_dir():
        raise InvalidInput(f"there is no directory {target.parent}: make it, or name a file elsewhere")
    with private_folder(target.parent, prefix=_PREFIX, suffix=_SUFFIX) as folder:
        part = folder / "copy"
        descriptor = os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        os.fchmod(descriptor, 0o600)  # An odd umask may have taken rights from the owner.
        os.close(descriptor)
        yield part
        _sync_file(part)
        _name(part, target)
    _sync_directory(target.parent)


def _name(part: Path, target: Path) -> None:
    try:
        os.link(part, target)  # Unlike a rename it never takes another file's place.
    except FileExistsError:
        raise _file_exists(target) from None
    except OSError:  # No second names on this file system.
        if target.exists():
            raise _file_exists(target) from None
        part.rename(target)


def _file_exists(target: Path) -> Conflict:
    return Conflict(f"{target} is there already and stays as it is: name another file")


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_directory(directory: Path) -> None:
    try:
        _sync_file(directory)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:  # Some file systems do this by themselves.
            raise


# --- SQLite -----------------------------------------------------------------------------------------------------------


def _copy(source: Path, part: Path, progress: Progress) -> str | None:
    if not source.exists():
        raise NotFound(f"there is no database at {source}; RECADO_DATABASE_URL says where it is")
    sqlite = sqlite_module()
    there = f"{source.absolute().as_uri()}?mode=rw"  # One that vanishes just now is not made anew.
    try:
        with (
            closing(sqlite.connect(there, uri=True, isolation_level=None, timeout=30)) as live,
            closing(sqlite.connect(part, isolation_level=None)) as copy,
        ):
            copy.execute("PRAGMA synchronous=OFF")  # It is brought to the disk as a whole.
            live.execute("BEGIN")
            live.execute("SELECT count(*) FROM sqlite_master").fetchone()
            live.backup(copy, pages=STEP_PAGES, progress=_report_share(progress))
        with closing(sqlite.connect(part, isolation_level=None)) as copy:
            copy.set_progress_handler(
                lambda: 0, _SIGNAL_CHECK_STEPS
            )  # So that a signal need not wait for the end of the check.
            [said] = copy.execute("PRAGMA integrity_check(1)").fetchone()
            if said != "ok":
                raise StorageUnavailable(f"the copy is not sound, and so the database may not be: {said}")
            return _schema(copy.execute("SELECT version_num FROM alembic_version").fetchone())
    except sqlite.OperationalError as error:
        raise StorageUnavailable(f"no backup was made: {error}") from error
    except sqlite.DatabaseError as error:
        raise StorageUnavailable(f"{source} cannot be read as a database: {error}") from error


def _report_share(progress: Progress) -> Callable[[int, int, int], None]:
    def told(_status: int, remaining: int, total: int) -> None:
        progress(1 - remaining / total if total else 1.0)

    return told


def _schema(row: tuple[str] | None) -> str | None:
    return None if row is None else row[0]


# --- PostgreSQL -------------------------------------------------------------------------------------------------------


def _dump(url: URL, part: Path) -> str | None:
    # The login sees no row, whether it owns the tables or not: the one that does is the role of the system.
    options = [
        "--format=custom",
        "--no-owner",
        f"--role={roles_of(url.database or '').system}",
        "--enable-row-security",
    ]
    secret, bare = _without_password(url)
    program = shutil.which("pg_dump")
    if program is None:
        raise NotFound(
            f"PostgreSQL is copied by its own pg_dump, and there is none on PATH: {_client_for(url)}; or type, where "
            f"there is one: pg_dump {' '.join(options)} --file=FILE '{bare}'"
        )
    _refuse_older(program, url)
    words = [program, *options, f"--file={part}", f"--dbname={bare}"]
    environment = {"PGCONNECT_TIMEOUT": "10"} | os.environ | secret
    ran = subprocess.run(  # noqa: S603
        words,
        env=environment,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        preexec_fn=die_with_parent,
    )
    if ran.returncode != 0:
        raise StorageUnavailable(
            f"no backup was made: {_error_lines(ran.stderr) or f'{program} ended with {ran.returncode}'}"
        )
    return _revision(url)


def _without_password(url: URL) -> tuple[dict[str, str], str]:
    """The password in a variable, for it must not be in a list of processes, and the URL without it."""
    query = {name: value for name, value in url.query.items() if name != "password"}
    bare = URL.create("postgresql", url.username, None, url.host, url.port, url.database, query).render_as_string()
    password = url.password or url.query.get("password")
    return ({} if password is None else {"PGPASSWORD": str(password)}), bare


def _client_for(url: URL) -> str:
    """What to install, for the server that is there."""
    with contextlib.suppress(StorageUnavailable):
        return _install_advice(_server_version(url))
    return "install the client of the server's version or a later one (Debian: postgresql-client-18, for PostgreSQL 18)"


def _install_advice(version: int) -> str:
    return (
        f"install the PostgreSQL {version} client (Debian: postgresql-client-{version}) or a later one, and let its "
        "pg_dump come first on PATH"
    )


def _refuse_older(program: str, url: URL) -> None:
    """It would refuse by itself, without a word on what to do."""
    own, server = _version_of(program), _server_version(url)
    if own is not None and own < server:
        raise InvalidInput(
            f"no backup was made: {program} is of PostgreSQL {own} and the server is PostgreSQL {server}, which is "
            f"newer: {_install_advice(server)}"
        )


_VERSION: Final = re.compile(r"PostgreSQL\) ([0-9]+)")


def _version_of(program: str) -> int | None:
    words = [program, "--version"]
    try:
        ran = subprocess.run(words, capture_output=True, text=True, timeout=VERSION_SECONDS, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        return None
    found = _VERSION.search(ran.stdout)
    return int(found[1]) if found else None


def _server_version(url: URL) -> int:
    with _connection(url) as connection:
        return connection.info.server_version // 10_000


def _error_lines(errors: str) -> str:
    """What the tool gives as its reason, in one line; warnings may come before it."""
    lines = [line.strip().removeprefix("pg_dump: ") for line in errors.splitlines() if line.strip()]
    reasons = [line for line in lines if line.startswith(("error: ", "detail: "))] or lines[:1]
    return "; ".join(line.removeprefix("error: ").removeprefix("detail: ") for line in reasons)


def _revision(url: URL) -> str | None:
    with _connection(url) as connection:
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return None if row is None else str(row[0])


def _connection(url: URL) -> "closing[psycopg.Connection[tuple[object, ...]]]":
    from recado.core.database.postgres.database import PostgresDatabase

    return closing(PostgresDatabase(url.render_as_string(hide_password=False)).open_connection())
