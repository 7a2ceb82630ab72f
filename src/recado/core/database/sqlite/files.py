"""Checks whether the files of a SQLite database are still those that were opened.

A file that was moved, deleted or replaced goes on to exist without a name for processes that have it open: commits
succeed, and all of them are lost when the process ends. So before a transaction, and again after its commit, each of
the three names must lead to the file that was opened. The first connection of a process decides which database file is
the right one. The log and its index are made again whenever no process has them open, so the open connections decide
which are the right ones.

Nothing here makes a file: a missing database is an error, not an empty database.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from recado.core.errors import StorageUnavailable

LOG: Final = "-wal"
INDEX: Final = "-shm"
_MIN_BYTES: Final = 512
"""Bytes. Every database is larger, except one that was truncated or never filled."""

_CHECKS: Final = 5
_CHECK_PAUSE_SECONDS: Final = 0.002

_File: TypeAlias = tuple[int, int] | None
"""Device and inode; None where there is no file."""


class Displaced(StorageUnavailable):
    """The files are not those that were opened: nothing can be stored until they are back."""

    code = "core.displaced"


@dataclass(frozen=True, slots=True)
class OpenedFiles:
    """The files that the names led to when a connection was opened."""

    database: _File
    log: _File
    index: _File


class DatabaseFiles:
    """The files behind one path, for one process."""

    def __init__(self, path: str) -> None:
        self.path = Path(path).absolute()
        self._log, self._index = (Path(f"{self.path}{suffix}") for suffix in (LOG, INDEX))
        self._first: _File = None
        self._held: list[OpenedFiles] = []

    def has_lost_its_log(self, opened: OpenedFiles) -> bool:
        """Return whether the log that was opened has no name any more, and nothing else is to be read in its place.

        A connection that was being made when the log was deleted leaves an empty file under the log's name.
        """
        if _identity_of(self.path) != opened.database or _identity_of(self._log) == opened.log:
            return False
        try:
            return self._log.stat().st_size == 0
        except OSError:
            return True

    def before_opening(self) -> None:
        """Raise `Displaced` where opening a connection would make a file or mix files that do not belong together."""
        self._check_database(self._first)
        for other in self._held[:1]:  # While one connection is open no process creates a new log.
            self.check(other)
        if self._index_is_alone():
            raise Displaced(
                f"{self._log} is gone while {self._index} is there: put it back, or stop every process of this "
                f"database; if {self._index} is still there then, delete it"
            )

    def opened(self) -> OpenedFiles:
        """Return what a connection has opened that was just made and has read something."""
        found = OpenedFiles(_identity_of(self.path), _identity_of(self._log), _identity_of(self._index))
        self._check_database(self._first)
        for other in self._held[:1]:
            self.check(other)
        self._first = found.database
        self._held.append(found)
        return found

    def closing(self, opened: OpenedFiles) -> None:
        """Forget a connection that is about to be closed; closing may delete the log."""
        self._held.remove(opened)

    def check(self, opened: OpenedFiles) -> None:
        """Raise `Displaced` when the names lead to other files now."""
        self._check_database(opened.database)
        for name, file in ((self._log, opened.log), (self._index, opened.index)):
            if _identity_of(name) != file:
                raise Displaced(
                    f"{name} was moved, deleted or replaced: put it back, or restart every process of this database"
                )

    def _index_is_alone(self) -> bool:
        """Return whether the log is missing beside its index, and stays missing.

        While other processes open and close the database, a single check of one name after the other may see that
        state.
        """
        for _ in range(_CHECKS):
            if _identity_of(self._index) is None or _identity_of(self._log) is not None:
                return False
            time.sleep(_CHECK_PAUSE_SECONDS)
        return True

    def _check_database(self, expected: _File) -> None:
        try:
            status = self.path.stat()
        except OSError as error:
            raise Displaced(
                f"{self.path} is not there ({error.strerror}): put it back, or run `recado migrate`"
            ) from error
        if status.st_size < _MIN_BYTES:
            raise Displaced(f"{self.path} is empty: restore it, or run `recado migrate`")
        if expected is not None and (status.st_dev, status.st_ino) != expected:
            raise Displaced(
                f"{self.path} is another file than the one that was opened: put that back, or restart every process of "
                "this database"
            )


def _identity_of(name: Path) -> _File:
    try:
        status = name.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def existing(path: str | Path) -> str:
    """Return the name under which SQLite opens a file and never makes one."""
    return Path(path).absolute().as_uri() + "?mode=rw"
