"""Signals from a SQLite file: own commits at once, those of other processes by `PRAGMA data_version`.

A connection of its own polls it every 10 ms (1.7 µs each). After a commit the id of the newest event is read, so that
commits which tell nothing cost no reader anything.
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
            newest = self._query(_NEWEST)
            yield None
            while True:
                await self._wait(committed)
                found = self._query(_NEWEST)
                if found != newest or found is None:
                    newest = found
                    yield None
        finally:
            unsubscribe()
            self._forget()

    async def _wait(self, committed: asyncio.Event) -> None:
        """Return after a commit that may have told something."""
        version = self._query("PRAGMA data_version")
        while True:
            try:
                # Not `wait_for`: it loses a cancellation that comes together with the commit.
                async with asyncio.timeout(POLL_SECONDS):
                    await committed.wait()
                committed.clear()
                return
            except TimeoutError:
                if self._query("PRAGMA data_version") != version:
                    return

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
