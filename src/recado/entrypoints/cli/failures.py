"""What an operator can mend, said in a sentence: whatever a driver or the system raised that is no error of ours.

A database that cannot be opened in the middle of a command, a disk that is full, a file without rights. A mistake of
ours is none of these, and keeps its traceback.
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
    """The sentence, or None for what is no operator's to mend."""
    if isinstance(error, OSError):
        return _system_message(error)
    # Asked by name: most of what comes by here is a command's own way to end, and no driver is loaded for that.
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
    from recado.settings import PREFIX, Settings

    cause = getattr(error, "orig", None) or error
    url = os.environ.get(f"{PREFIX}DATABASE_URL") or Settings().database_url
    if on_postgresql(url):
        return postgres_refusal(cause) or table_missing(cause, "the database")
    path = Path(make_url(url).database or "")
    return sqlite_refusal(cause, path) or table_missing(cause, str(path))
