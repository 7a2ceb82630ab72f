"""Copies SQLite's write-ahead log back into the database file, beside the writer instead of in its way.

By default SQLite does that in the commit that makes the log long enough: one commit of about sixty then takes 30 ms
longer, for everybody who waits for it. Here a thread with its own connection copies what has been committed while the
writer goes on. Only the writer can restart the log, once everything in it is copied, and a writer that never rests
never finds that. So when the log is long, the thread follows so closely that almost nothing is left for the writer's
own checkpoint (at `LONGEST_PAGES`).

This needs SQLite 3.51, which tells the length of the log without copying it; with an older one the writer does it all.
"""

import sqlite3 as stdlib_sqlite3
import threading
from collections.abc import Callable
from typing import Final

import structlog

log = structlog.get_logger(__name__)

PAGES: Final = 4_000
"""How far the copy may be behind. With SQLite's own 1,000 the pages of the indexes are written back so often that it is
a fifth of an accept's cost."""
LONG_PAGES: Final = 9_000
"""From this length on the copy follows closely."""
FOLLOWING_PAGES: Final = 100
LONGEST_PAGES: Final = 10_000
"""40 MB. Then the writer copies the rest in its commit and restarts the log."""
PAUSE_SECONDS: Final = 0.02
REST_SECONDS: Final = 1.0
"""After an error: another process holds the file, or the disk is full. The writer finds that out by itself."""


def is_due(pages: int, copied: int) -> bool:
    """Return whether a log of `pages` pages, of which `copied` are copied, should be copied now."""
    return pages - copied >= (PAGES if pages < LONG_PAGES else FOLLOWING_PAGES)


class Checkpoints:
    """The thread that copies. It sleeps until something is committed and opens its connection only then.

    `error` is the driver's error class.
    """

    def __init__(
        self,
        connect: Callable[[], stdlib_sqlite3.Connection],
        error: type[Exception],
        *,
        rest_seconds: float = REST_SECONDS,
    ) -> None:
        self._rest = rest_seconds
        self._connect = connect
        self._error = error
        self._connection: stdlib_sqlite3.Connection | None = None
        self._committed = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def committed(self) -> None:
        """Tell the thread that the log has grown; called by the writer's thread after each commit."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="recado-checkpoint", daemon=True)
            self._thread.start()
        self._committed.set()

    def close(self) -> None:
        """End the thread; the writer must have ended before."""
        self._stop.set()
        self._committed.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._committed.wait()
            self._committed.clear()
            pause = PAUSE_SECONDS
            try:
                self.copy_if_due()
            except self._error as error:
                log.info("database.checkpoint_failed", error=type(error).__name__)
                pause = self._rest
            self._stop.wait(pause)
        if self._connection is not None:
            self._connection.close()

    def copy_if_due(self) -> bool:
        """Copy the log if that is due; return whether anything was copied. Raises the driver's errors."""
        if self._connection is None:
            self._connection = self._connect()
        pages, copied = self._checkpoint("NOOP")
        if not is_due(pages, copied):
            return False
        self._checkpoint("PASSIVE")
        return True

    def _checkpoint(self, mode: str) -> tuple[int, int]:
        """Return the pages in the log and how many of them are copied. It neither waits nor makes anybody wait."""
        assert self._connection is not None  # noqa: S101 - narrows the type
        _, pages, copied = self._connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
        return pages, copied
