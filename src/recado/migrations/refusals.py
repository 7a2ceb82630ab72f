"""Why a database cannot be used, in a sentence with the file or the variable and what to do.

Drivers say "unable to open database file" for a missing folder, a missing right and a full table of files alike. So the
file is examined as well, and the sentence says what was found.
"""

import os
from pathlib import Path
from typing import Final

from recado.core.errors import Busy, ConfigurationError, DomainError, StorageUnavailable

_REFUSED: Final = ("28", "3D")
_TEMPORARY: Final = ("08", "53", "57", "25006", "25P03", "25P04", "55P03", "40", "58")
_INSUFFICIENT_PRIVILEGE: Final = "42501"
_UNDEFINED_TABLE: Final = "42P01"
_NO_TABLE: Final = "no such table: "
_NO_OPTION: Final = "invalid connection option"
_MIN_FREE_BYTES: Final = 32_768
"""What the smallest of SQLite's files beside the database takes."""
_DISK: Final = "{path} cannot be read or written ({error}): look at its disk"
_LOGS: Final = ("-wal", "-shm")


def sqlite_refusal(error: BaseException, path: Path) -> DomainError | None:
    """Return what an error of the SQLite driver means for the file at `path`; None for a mistake in a statement."""
    code = getattr(error, "sqlite_errorcode", None)
    found: DomainError | None = None
    match code & 0xFF if isinstance(code, int) else None:
        case 5 | 6:  # BUSY, LOCKED
            found = Busy(f"another process has held {path} for too long; stop it, or try again")
        case 3 | 8 | 14 | 23:  # PERM, READONLY, CANTOPEN, AUTH
            found = ConfigurationError(file_problem(path) or f"{path} cannot be opened: {error}")
        case 10:  # IOERR
            found = (
                _disk_full(path)
                if _disk_has_no_room(path)
                else StorageUnavailable(_DISK.format(path=path, error=error))
            )
        case 11:  # CORRUPT
            found = ConfigurationError(f"{path} is damaged ({error}): stop what uses it, and restore a backup")
        case 13:  # FULL
            found = _disk_full(path)
        case 26:  # NOTADB
            found = ConfigurationError(
                f"{path} is not a database: set RECADO_DATABASE_URL to another file, or restore it"
            )
    return found


def table_missing(error: BaseException, place: str) -> DomainError | None:
    """Return what it means that a command finds no table although the revision is right.

    Another program numbers its schemas as Recado does, or a table was dropped.
    """
    said = str(error)
    if getattr(error, "sqlstate", None) == _UNDEFINED_TABLE:
        table = said.partition('"')[2].partition('"')[0]
    elif said.startswith(_NO_TABLE):
        table = said.removeprefix(_NO_TABLE)
    else:
        return None
    return ConfigurationError(
        f"{place} is at a schema of Recado's and lacks its table {table}: "
        "set RECADO_DATABASE_URL to another database, or restore a backup"
    )


def _disk_full(path: Path) -> DomainError:
    return StorageUnavailable(f"{path} cannot be written, for its disk is full: make room")


def _disk_has_no_room(path: Path) -> bool:
    """Return whether the disk has no room for the file that SQLite's processes share:

    SQLite calls that an I/O error.
    """
    place = os.statvfs(path.parent)
    return place.f_bavail * place.f_frsize < _MIN_FREE_BYTES


def postgres_refusal(error: BaseException | None) -> DomainError | None:
    """Return what an error of PostgreSQL's driver means; None for a mistake in a statement."""
    import psycopg

    if not isinstance(error, psycopg.Error):
        return None
    state = error.sqlstate
    lines = str(error).strip().splitlines() or ["no reason given"]
    # A name with several addresses has a failure for each, and the first line only says so.
    reason = lines[-1] if lines[0].startswith("Multiple connection attempts failed") else lines[0]
    if state is None:
        # A connection that was never made has no code; only the server's own text is there.
        if not isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
            return _no_url(reason) if reason.startswith(_NO_OPTION) else None
        return (_refused if "FATAL:" in reason and _is_permanent(reason) else _temporary)(reason)
    if state.startswith(_REFUSED) or state == _INSUFFICIENT_PRIVILEGE:
        return _refused(reason)
    return _temporary(reason) if state.startswith(_TEMPORARY) else None


def _no_url(reason: str) -> DomainError:
    return ConfigurationError(f"RECADO_DATABASE_URL cannot be used: {reason}")


def _refused(reason: str) -> DomainError:
    return ConfigurationError(f"RECADO_DATABASE_URL is refused by PostgreSQL: {reason}")


def _temporary(reason: str) -> DomainError:
    return StorageUnavailable(f"the database of RECADO_DATABASE_URL cannot be used now: {reason}")


_PERMANENT: Final = (
    "authentication failed",
    "does not exist",
    "no pg_hba.conf entry",
    "pg_hba.conf rejects",
    "permission denied",
    "not permitted to log in",
    "not currently accepting connections",
)
"""What a server says, in English, to a login or a database that it will not know later either. Every other refusal may
pass: the server starts, stops, recovers, is full, or speaks another language."""


def _is_permanent(reason: str) -> bool:
    """Return whether waiting cannot help against what the server said when it refused a connection."""
    return any(sign in reason for sign in _PERMANENT)


def file_problem(path: Path) -> str | None:
    """Return why this process cannot open and write the file at `path`, as far as the file system tells."""
    if path.is_dir():
        return f"{path} is a directory: set RECADO_DATABASE_URL to a file"
    if not path.exists():
        return orphaned_log(path) or (None if _has_access(path.parent, os.W_OK) else _unwritable_folder(path))
    if not path.is_file():
        return f"{path} is no ordinary file: set RECADO_DATABASE_URL to another"
    if os.statvfs(path).f_flag & os.ST_RDONLY:
        return f"{path} lies on a file system that is mounted read-only: mount it for writing, or move the file"
    for each in (path, *(Path(f"{path}{log}") for log in _LOGS)):
        if each.exists() and not _has_access(each, os.R_OK | os.W_OK):
            verb = "written" if _has_access(each, os.R_OK) else "read"
            return f"{each} cannot be {verb} by this user: change its owner or its mode"
    return None if _has_access(path.parent, os.W_OK) else _unwritable_folder(path)


def orphaned_log(path: Path) -> str | None:
    """Return why the file at `path` must not be made or opened: SQLite deletes the log of a missing or empty file.

    The log is examined first, for a file that is being made gets its content before it gets a log.
    """
    log = Path(f"{path}{_LOGS[0]}")
    if _bytes(log) == 0 or _bytes(path) > 0:
        return None
    state = "is empty" if path.exists() else "is missing"
    return (
        f"{path} {state} while its log {log} is there, which may hold what was stored last: put the file back beside "
        "it, or move the log away to start with a new database"
    )


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _unwritable_folder(path: Path) -> str:
    return f"{path.parent} cannot be written by this user, and {path.name} and its logs must lie there: change its mode"


def _has_access(path: Path, how: int) -> bool:
    return os.access(path, how, effective_ids=os.access in os.supports_effective_ids)
