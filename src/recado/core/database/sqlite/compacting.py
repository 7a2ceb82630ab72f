"""Rewrites SQLite's file, so that nothing is left in it of what was deleted.

`secure_delete` overwrites what a DELETE or an UPDATE frees. But when a page is put in order, copies of its rows can
stay in its unused bytes, and a later DELETE does not know of them. Only VACUUM leaves them out. It copies the whole
file in one transaction, in memory, while every other writer waits: a small file takes a moment, a large one is for an
hour that an operator chooses.
"""

import sqlite3 as stdlib_sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from typing import Final

from sqlalchemy.engine import make_url

from recado.core.database.sqlite.connections import IN_MEMORY, LOCK_SECONDS, connect_to, retry_while_locked
from recado.core.database.sqlite.driver import sqlite_module
from recado.core.database.sqlite.errors import as_storage_error
from recado.core.database.sqlite.files import existing

MOST_BYTES: Final = 64 * 1024 * 1024
"""A file of this size is rewritten within about a second."""


@dataclass(frozen=True, slots=True)
class Compacted:
    """What became of the file. Its log is empty in any case."""

    rewritten: bool
    bytes: int


def compact(database_url: str, *, most_bytes: int = MOST_BYTES, lock_seconds: float = LOCK_SECONDS) -> Compacted:
    """Rewrite the file unless it is larger than `most_bytes`, and empty its log.

    Raises `Busy` when others hold the lock or read old pages all the time, and `StorageUnavailable`.
    """
    path = make_url(database_url).database
    if path in IN_MEMORY:
        return Compacted(rewritten=True, bytes=0)
    deadline = time.monotonic() + lock_seconds
    try:
        with closing(connect_to(existing(str(path)), uri=True)) as connection:
            size = _size(connection)
            if size <= most_bytes:
                retry_while_locked(lambda: connection.execute("VACUUM"), deadline)
            retry_while_locked(lambda: _empty_log(connection), deadline)
            return Compacted(size <= most_bytes, _size(connection))
    except sqlite_module().Error as error:
        raise as_storage_error(error) from error


def _size(connection: stdlib_sqlite3.Connection) -> int:
    [[pages]], [[page]] = (connection.execute(f"PRAGMA {name}").fetchall() for name in ("page_count", "page_size"))
    return int(pages) * int(page)


def _empty_log(connection: stdlib_sqlite3.Connection) -> None:
    [[is_blocked, *_]] = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    if is_blocked:
        raise sqlite_module().OperationalError("database is locked")
