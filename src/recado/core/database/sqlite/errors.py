"""SQLite's errors, and what they become for callers."""

from typing import Final

from sqlalchemy.exc import DBAPIError

from recado.core.database.sqlite.driver import sqlite_module
from recado.core.errors import Busy, NotConfirmed, StorageUnavailable

LOCK_TIMEOUT: Final = "another process holds the database; try again"


class LockTimeout(Busy):
    """Another process has held the lock too long."""


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
    """Return a `StorageUnavailable` for a full disk or a broken file, and any other error as it is."""
    text = str(error)
    if isinstance(error, DBAPIError | sqlite_module().Error) and any(sign in text for sign in _STORAGE):
        reason = next(sign for sign in _STORAGE if sign in text)
        return StorageUnavailable(f"the database cannot store now ({reason}); nothing was stored")
    return error


class DisplacedInCommit(NotConfirmed):
    """The commit succeeded, perhaps into files that had been moved or deleted by then."""


class TransactionLost(StorageUnavailable):
    """SQLite rolled the transaction back by itself (full disk, I/O error): the whole batch is lost."""


def transaction_lost(error: BaseException) -> BaseException:
    known = as_storage_error(error)
    return known if known is not error else StorageUnavailable(f"the transaction was lost: {error}")
