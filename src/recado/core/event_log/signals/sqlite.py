"""Signals from a SQLite file: own commits at once, those of other processes by `PRAGMA data_version`.

A connection of its own polls it every 10 ms (1.7 µs each). After a commit the newest event is looked up: commits that
tell nothing cost no reader anything.
"""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator
from typing import Final
from uuid import UUID

from recado.core.database.changes import Changes
from recado.core.database.sqlite.database import SqliteDatabase
from recado.core.database.sqlite.driver import sqlite_module

POLL_SECONDS: Final = 0.01
FALLBACK_SECONDS: Final = 1.0
_VERSION: Final = "PRAGMA data_version"
_NEWEST: Final = "SELECT seq FROM events ORDER BY seq DESC LIMIT 1"


class SqliteEventSignals:
    """Polls the file."""

    def __init__(self, database: SqliteDatabase, changes: Changes) -> None:
        self._database = database
        self._changes = changes
        self._connection: sqlite3.Connection | None = None

    async def receive(self) -> AsyncGenerator[None, None]:
        loop, committed = asyncio.get_running_loop(), asyncio.Event()

        def told(_owner: UUID) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(committed.set)

        unsubscribe = self._changes.subscribe("events", told)
        try:
            newest, after_commit = None, False
            while True:
                version = self._query(_VERSION)  # Read before the newest event: a commit in between changes it.
                found = self._query(_NEWEST)
                if found != newest or found is None or not after_commit:
                    newest = found
                    yield None
                after_commit = await self._wait(version, committed)
        finally:
            unsubscribe()
            self._forget()

    async def _wait(self, version: int | None, committed: asyncio.Event) -> bool:
        """Return True after a commit that may have told something, and False after a second without one."""
        for _ in range(round(FALLBACK_SECONDS / POLL_SECONDS)):
            try:
                # Not `wait_for`: it loses a cancellation that comes together with the commit.
                async with asyncio.timeout(POLL_SECONDS):
                    await committed.wait()
                committed.clear()
                return True
            except TimeoutError:
                if self._query(_VERSION) != version:
                    return True
        return False

    def _query(self, question: str) -> int | None:
        try:
            if self._connection is None:
                self._connection = self._database.open_connection()
            row = self._connection.execute(question).fetchone()
        except sqlite_module().Error:  # Locked for a moment, or damaged: the next query has a new connection.
            self._forget()
            return None
        return None if row is None else row[0]

    def _forget(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
