"""Copy the database while servers and workers use it.

SQLite is copied inside one read transaction. Without it, each concurrent write would restart the copy, and beside a
busy server it would never end. The copy gets its name only when it is complete, checked and on the disk, so a file with
that name is a usable backup. Until then it is in a temporary folder beside the target (`core.folders`). PostgreSQL is
copied by its own `pg_dump`.
"""

import contextlib
import errno
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy.engine import URL, make_url

from recado.core.database.engine import on_postgresql
from recado.core.database.postgres.doors import ACCESS_TABLE
from recado.core.database.postgres.roles import roles_of
from recado.core.database.sqlite.driver import sqlite_module
from recado.core.errors import Conflict, InvalidInput, NotFound, StorageUnavailable
from recado.core.processes.children import die_with_parent
from recado.core.processes.folders import StoppedBySignal, private_folder, stop_on_signals

if TYPE_CHECKING:
    import psycopg

STEP_PAGES: Final = 2_000
"""Eight megabytes between two reports of progress."""
VERSION_SECONDS: Final = 10.0
"""The time limit of `pg_dump --version`."""

_PREFIX: Final = ".recado-backup-"
_SUFFIX: Final = ".part"
_STOP_SIGNALS: Final = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
_SIGNAL_CHECK_STEPS: Final = 100_000
"""After so many steps of SQLite's virtual machine a long statement lets Python handle signals."""

Progress = Callable[[float], None]
"""Called from time to time with the share of the database that is copied, from 0 to 1."""


@dataclass(frozen=True, slots=True)
class BackupReport:
    """A finished backup."""

    file: str
    bytes: int
    seconds: float
    schema: str | None


def back_up(database_url: str, target: Path, progress: Progress) -> BackupReport:
    """Copy the database to a new file that only its owner can read.

    Raises `Conflict` when the file exists, `NotFound` without a database, and `InvalidInput`, `StorageUnavailable` or
    `StoppedBySignal` when the copy fails. A failed backup leaves nothing behind.
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
    """Yield a temporary file beside the target. It is renamed to the target on success and deleted on failure."""
    if target.is_dir():
        raise Conflict(f"{target} is a directory: name a file in it")
    if target.exists() or target.is_symlink():
        raise _file_exists(target)
    if not target.parent.is_dir():
        raise InvalidInput(f"there is no directory {target.parent}: create it, or name a file elsewhere")
    with private_folder(target.parent, prefix=_PREFIX, suffix=_SUFFIX) as folder:
        part = folder / "copy"
        descriptor = os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        os.fchmod(descriptor, 0o600)  # A strange umask may have removed rights of the owner.
        os.close(descriptor)
        yield part
        _sync_file(part)
        _name(part, target)
    _sync_directory(target.parent)


def _name(part: Path, target: Path) -> None:
    try:
        os.link(part, target)  # Unlike a rename it never replaces a file.
    except FileExistsError:
        raise _file_exists(target) from None
    except OSError:  # This file system has no hard links.
        if target.exists():
            raise _file_exists(target) from None
        part.rename(target)


def _file_exists(target: Path) -> Conflict:
    return Conflict(f"{target} exists already and is not overwritten: name another file")


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
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:  # Some file systems cannot sync a directory.
            raise


# --- SQLite -----------------------------------------------------------------------------------------------------------


def _copy(source: Path, part: Path, progress: Progress) -> str | None:
    if not source.exists():
        raise NotFound(f"there is no database at {source}; RECADO_DATABASE_URL says where it is")
    sqlite = sqlite_module()
    existing = f"{source.absolute().as_uri()}?mode=rw"  # Does not create a file that was just deleted.
    try:
        with (
            closing(sqlite.connect(existing, uri=True, isolation_level=None, timeout=30)) as live,
            closing(sqlite.connect(part, isolation_level=None)) as copy,
        ):
            copy.execute("PRAGMA synchronous=OFF")  # The whole file is synced at the end.
            live.execute("BEGIN")
            live.execute("SELECT count(*) FROM sqlite_master").fetchone()
            live.backup(copy, pages=STEP_PAGES, progress=_report_share(progress))
        return _checked_schema(part)
    except sqlite.OperationalError as error:
        raise StorageUnavailable(f"no backup was made: {error}") from error
    except sqlite.DatabaseError as error:
        raise StorageUnavailable(f"{source} cannot be read as a database: {error}") from error


def _checked_schema(part: Path) -> str | None:
    """Check a copy and return its schema revision. Raises `StorageUnavailable` when the copy is corrupt."""
    with closing(sqlite_module().connect(part, isolation_level=None)) as copy:
        copy.set_progress_handler(lambda: 0, _SIGNAL_CHECK_STEPS)  # A signal does not wait for the end of the check.
        [result] = copy.execute("PRAGMA integrity_check(1)").fetchone()
        if result != "ok":
            raise StorageUnavailable(f"the copy is corrupt, so the database may be corrupt too: {result}")
        return _schema(copy.execute("SELECT version_num FROM alembic_version").fetchone())


def _report_share(progress: Progress) -> Callable[[int, int, int], None]:
    def report(_status: int, remaining: int, total: int) -> None:
        progress(1 - remaining / total if total else 1.0)

    return report


def _schema(row: tuple[str] | None) -> str | None:
    return None if row is None else row[0]


# --- PostgreSQL -------------------------------------------------------------------------------------------------------


def _dump(url: URL, part: Path) -> str | None:
    options = _dump_options(url)
    secret, bare = _without_password(url)
    program = shutil.which("pg_dump")
    if program is None:
        raise NotFound(
            f"PostgreSQL is copied by pg_dump, which is not on PATH: {_client_for(url)}; or run on a machine that has "
            f"it: pg_dump {' '.join(options)} --file=FILE '{bare}'"
        )
    _refuse_older(program, url)
    _run_dump([program, *options, f"--file={part}", f"--dbname={bare}"], secret)
    return _revision(url)


def _dump_options(url: URL) -> list[str]:
    # The login itself sees no rows, even as owner of the tables. The system role sees all of them.
    role = roles_of(url.database or "").system
    # A copy of the password would let its reader in at the server that was copied; `recado migrate` makes a new one.
    without = f"--exclude-table-data={ACCESS_TABLE}"
    return ["--format=custom", "--no-owner", f"--role={role}", "--enable-row-security", without]


def _run_dump(words: list[str], secret: Mapping[str, str]) -> None:
    environment = {"PGCONNECT_TIMEOUT": "10", **os.environ, **secret}
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
        why = _error_lines(ran.stderr) or f"{words[0]} ended with {ran.returncode}"
        raise StorageUnavailable(f"no backup was made: {why}")


def _without_password(url: URL) -> tuple[dict[str, str], str]:
    """Return the password as an environment variable, to hide it from the process list, and the URL without it."""
    query = {name: value for name, value in url.query.items() if name != "password"}
    bare = URL.create("postgresql", url.username, None, url.host, url.port, url.database, query).render_as_string()
    password = url.password or url.query.get("password")
    return ({} if password is None else {"PGPASSWORD": str(password)}), bare


def _client_for(url: URL) -> str:
    """Return which client to install for this server."""
    with contextlib.suppress(StorageUnavailable):
        return _install_advice(_server_version(url))
    return "install the client of the server's version or a later one (Debian: postgresql-client-18, for PostgreSQL 18)"


def _install_advice(version: int) -> str:
    return (
        f"install the PostgreSQL {version} client (Debian: postgresql-client-{version}) or a later one, and let its "
        "pg_dump come first on PATH"
    )


def _refuse_older(program: str, url: URL) -> None:
    """Raise `InvalidInput` for a pg_dump older than the server. Its own refusal does not say what to do."""
    own, server = _version_of(program), _server_version(url)
    if own is not None and own < server:
        raise InvalidInput(
            f"no backup was made: {program} belongs to PostgreSQL {own}, older than the server's {server}: "
            f"{_install_advice(server)}"
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
    """Return the reason that pg_dump printed, in one line, without the warnings before it."""
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
