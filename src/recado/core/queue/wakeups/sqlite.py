"""Wake-ups from a SQLite file, without a broker.

A connection of its own in autocommit reads `PRAGMA data_version` every 10 ms (1.7 µs each, and some 40 for the timer).
Only after a commit of another connection does it read the earliest due time, by an index. A timer covers jobs that
*become* due, commits of this process notify at once, and a poll each second is the fallback.
"""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Sequence

from recado.core.clock import Clock
from recado.core.database.sqlite.database import SqliteDatabase
from recado.core.database.sqlite.driver import sqlite_module
from recado.core.database.types import to_microseconds
from recado.core.queue.wakeups.contract import Room, WakeUp

POLL_SECONDS = 0.01
FALLBACK_SECONDS = 1.0
_DUE = "SELECT 1 FROM lanes WHERE next_due_at <= ? LIMIT 1"
_NEXT = "SELECT next_due_at FROM lanes WHERE next_due_at > ? ORDER BY next_due_at LIMIT 1"


class SqliteDelivery:
    """Polls the file; `publish` has nothing to do."""

    def __init__(self, database: SqliteDatabase, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._connection: sqlite3.Connection | None = None

    async def publish(self, wakeups: Sequence[WakeUp]) -> None:
        """Do nothing: receivers watch the file."""

    async def receive(self, room: Room) -> AsyncGenerator[WakeUp, None]:  # noqa: ARG002 - no wake-up is taken from another worker
        loop = asyncio.get_running_loop()
        committed = asyncio.Event()

        def notify() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(committed.set)

        self._database.on_commit(notify)
        while True:
            version = self._query("PRAGMA data_version")
            if self._query(_DUE, self._now()) is not None:
                yield WakeUp()
            await self._wait_for_work(version, committed)

    async def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def _wait_for_work(self, version: int | None, committed: asyncio.Event) -> None:
        """Wait for a commit, for the next due time, or for a second."""
        next_due = self._query(_NEXT, self._now())
        patience = FALLBACK_SECONDS if next_due is None else min(FALLBACK_SECONDS, (next_due - self._now()) / 1_000_000)
        give_up = self._clock.monotonic() + patience
        while (left := give_up - self._clock.monotonic()) > 0:
            try:
                # Not `wait_for`: it loses a cancellation that comes together with the commit.
                async with asyncio.timeout(min(POLL_SECONDS, left)):
                    await committed.wait()
            except TimeoutError:
                if self._query("PRAGMA data_version") != version:
                    return
            else:
                committed.clear()
                return

    def _now(self) -> int:
        return to_microseconds(self._clock.now())

    def _query(self, question: str, *values: int) -> int | None:
        try:
            if self._connection is None:
                self._connection = self._database.open_connection()
            row = self._connection.execute(question, values).fetchone()
        except sqlite_module().Error:  # Locked for a moment, or damaged: the next query has a new connection.
            broken, self._connection = self._connection, None
            if broken is not None:
                broken.close()
            return None
        return None if row is None else row[0]
