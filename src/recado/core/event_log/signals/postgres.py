"""Signals from PostgreSQL: notifications, with a poll each second as the fallback.

The process that has numbered events notifies after its commit, so a notification may be lost with it.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Final

from recado.core.database.postgres.database import PostgresDatabase
from recado.core.database.postgres.listening import listening
from recado.core.database.postgres.writer import EVENTS_CHANNEL

FALLBACK_SECONDS: Final = 1.0


class PostgresEventSignals:
    """Listens."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database

    async def receive(self) -> AsyncGenerator[None, None]:
        notified = asyncio.Event()
        async with listening(self._database, EVENTS_CHANNEL, notified):
            while True:
                notified.clear()
                yield None
                with contextlib.suppress(TimeoutError):
                    # Not `wait_for`: it loses a cancellation that comes together with the notification.
                    async with asyncio.timeout(FALLBACK_SECONDS):
                        await notified.wait()
