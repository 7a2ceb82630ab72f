"""Signals from PostgreSQL: LISTEN on a connection of its own, with a poll each second as the fallback.

The process that has numbered events notifies after its commit, so a notification may be lost with it.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Final

import psycopg

from recado.core.database.postgres.database import PostgresDatabase
from recado.core.database.postgres.writer import ANSWER_SECONDS, EVENTS_CHANNEL
from recado.core.queue.wakeups.contract import log_loss, log_return

FALLBACK_SECONDS: Final = 1.0
SILENT_SECONDS: Final = 30.0
"""After this time without a notification the connection is tested."""


class PostgresEventSignals:
    """Listens."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database

    async def receive(self) -> AsyncGenerator[None, None]:
        notified = asyncio.Event()
        listening = asyncio.create_task(self._listen(notified))
        try:
            while True:
                notified.clear()
                yield None
                with contextlib.suppress(TimeoutError):
                    # Not `wait_for`: it loses a cancellation that comes together with the notification.
                    async with asyncio.timeout(FALLBACK_SECONDS):
                        await notified.wait()
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    async def _listen(self, notified: asyncio.Event) -> None:
        """Set the event for each notification until cancelled. A new connection after a loss sets it too."""
        lost = False
        while True:
            try:
                connection = await psycopg.AsyncConnection.connect(
                    self._database.conninfo, autocommit=True, connect_timeout=3, application_name="recado events"
                )
                async with connection:
                    await _execute(connection, f"LISTEN {EVENTS_CHANNEL}")
                    notified.set()  # A notification may have been missed before.
                    lost = log_return("events", lost=lost)
                    while True:
                        async for _ in connection.notifies(timeout=SILENT_SECONDS):
                            notified.set()
                        await _execute(connection, "SELECT 1")
            except (psycopg.Error, TimeoutError) as error:
                lost = log_loss("events", str(error).strip(), lost=lost)
            await asyncio.sleep(FALLBACK_SECONDS)


async def _execute(connection: "psycopg.AsyncConnection[tuple[object, ...]]", statement: str) -> None:
    async with asyncio.timeout(ANSWER_SECONDS):
        await connection.execute(statement.encode())
