"""One clear sentence for errors of a database driver or of the system that an operator can fix.

For example a database that cannot be opened, a full disk, or a file without permissions. Bugs of ours keep their
traceback.
"""

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from recado.core.errors import DomainError

_DRIVERS: Final = frozenset({"sqlalchemy", "pysqlite3", "sqlite3", "psycopg"})
_MACHINE_ERRORS: Final = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EFBIG}
)


def operator_message(error: Exception) -> str | None:
    """Return the sentence, or None for an error that an operator cannot fix."""
    if isinstance(error, OSError):
        return _system_message(error)
    # Compared by name, so that no driver is imported: most exceptions here are how a command ends.
    if type(error).__module__.partition(".")[0] not in _DRIVERS:
        return None
    known = _driver_error(error)
    return None if known is None else str(known)


def _system_message(error: OSError) -> str | None:
    if error.errno == errno.EPIPE or error.strerror is None:
        return None
    if error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return error.strerror if error.errno in _MACHINE_ERRORS else None


def _driver_error(error: Exception) -> "DomainError | None":
    from sqlalchemy.engine import make_url

    from recado.core.database.engine import on_postgresql
    from recado.migrations.refusals import postgres_refusal, sqlite_refusal, table_missing
    from recado.settings import PREFIX, Settings, normal_database_url

    cause = getattr(error, "orig", None) or error
    url = normal_database_url(os.environ.get(f"{PREFIX}DATABASE_URL") or Settings().database_url)
    if on_postgresql(url):
        return postgres_refusal(cause) or table_missing(cause, "the database")
    path = Path(make_url(url).database or "")
    return sqlite_refusal(cause, path) or table_missing(cause, str(path))
