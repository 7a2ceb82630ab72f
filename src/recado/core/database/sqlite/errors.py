"""SQLite's errors in our words."""

from typing import Final

from sqlalchemy.exc import DBAPIError

from recado.core.database.sqlite.driver import sqlite_module
from recado.core.errors import Busy, NotConfirmed, StorageUnavailable

LOCK_TIMEOUT: Final = "another process holds the database; try again"


class LockTimeout(Busy):
    """Another process has held the lock for so long."""


def is_locked(error: BaseException) -> bool:
    text = str(error)
    return "database is locked" in text or "database table is locked" in text


_STORAGE = (
    "database or disk is full",
    "disk I/O error",
    "readonly database",
    "unable to open database",
    "malformed",
    "not a database",
)


def as_storage_error(error: BaseException) -> BaseException:
    """Full disks and broken files in our words; everything else as it is."""
    text = str(error)
    if isinstance(error, DBAPIError | sqlite_module().Error) and any(sign in text for sign in _STORAGE):
        reason = next(sign for sign in _STORAGE if sign in text)
        return StorageUnavailable(f"the database cannot store now ({reason}); nothing was stored")
    return error


class DisplacedInCommit(NotConfirmed):
    """It was committed, into files that may have had no name by then."""


class TransactionLost(StorageUnavailable):
    """SQLite ended the transaction by itself (full disk, I/O error): whatever the batch did is gone."""


def transaction_lost(error: BaseException) -> BaseException:
    known = as_storage_error(error)
    return known if known is not error else StorageUnavailable(f"the transaction was lost: {error}")
