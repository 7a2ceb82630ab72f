"""PostgreSQL's errors: which to retry, which mean a lost connection, and what they become for callers."""

from collections.abc import Callable
from typing import Final

import structlog
from sqlalchemy.exc import DBAPIError

from recado.core.errors import Busy, StorageUnavailable

log = structlog.get_logger(__name__)

RETRYABLE: Final = frozenset({"40001", "40P01"})
"""Serialization failure, deadlock."""
_LOCKED: Final = frozenset({"55P03"})
_SLOW: Final = frozenset({"57014", "25P04"})
"""A statement or transaction exceeded its time limit."""
_READ_ONLY: Final = frozenset({"25006"})
_STORAGE_FULL: Final = frozenset({"53100", "53200", "58030"})
"""Disk full, out of memory, I/O error."""
UNKNOWN_TRANSACTION: Final = "22023"
"""The transaction's number lies in the server's future."""
_CONNECTION_LOST: Final = frozenset({"57P01", "57P02", "57P03", "57P05", "53300", "25P03", "25P04", "25006"})
"""Shutting down, crashed, starting up, too many connections, idle for too long, a standby that cannot write."""
UNREACHABLE: Final = "the database cannot be reached; nothing was stored"


class ConnectionLost(StorageUnavailable):
    """The server cannot be reached, or was lost; nothing of the transaction is stored."""


def sqlstate_of(error: DBAPIError) -> str | None:
    state: str | None = getattr(error.orig, "sqlstate", None)
    return state


def is_connection_lost(error: DBAPIError) -> bool:
    """Return whether the connection is unusable. An error without a code did not come from the server."""
    state = sqlstate_of(error)
    gone = _is_operational(error) if state is None else state in _CONNECTION_LOST or state.startswith("08")
    return error.connection_invalidated or gone


def _is_operational(error: DBAPIError) -> bool:
    import psycopg

    return isinstance(error.orig, psycopg.OperationalError | psycopg.InterfaceError)


def as_storage_error(error: BaseException) -> BaseException:
    """Return a `DomainError` for what the server cannot do now, and any other error as it is."""
    if not isinstance(error, DBAPIError):
        return error
    if sqlstate_of(error) in _STORAGE_FULL:
        return StorageUnavailable("the database cannot store now (its disk or memory is full); nothing was stored")
    if sqlstate_of(error) in _LOCKED | RETRYABLE:
        return Busy("another transaction holds what is to be changed; try again")
    if sqlstate_of(error) in _SLOW:
        return Busy("the database took too long over it; try again")
    if sqlstate_of(error) in _READ_ONLY:
        return StorageUnavailable("the database can only be read (a standby, or default_transaction_read_only is on)")
    return ConnectionLost(UNREACHABLE) if is_connection_lost(error) else error


def attempt_cleanup(step: Callable[[], None]) -> None:
    """Run a cleanup step whose failure does not matter: the error that led here is raised."""
    try:
        step()
    except DBAPIError as error:
        log.debug("database.cleanup_failed", error=str(error.orig))
