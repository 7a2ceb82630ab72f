"""LISTEN on a connection of its own, which is opened again whenever it is lost.

A notification is a hint. It may be lost with the process that was to send it (see `PostgresWriter`), so a reader also
looks from time to time.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

import psycopg
import structlog

from recado.core.database.postgres.database import PostgresDatabase
from recado.core.database.postgres.writer import ANSWER_SECONDS
from recado.core.database.unit_of_work import Channel

log = structlog.get_logger(__name__)

AGAIN_SECONDS: Final = 1.0
"""Between two tries to connect."""
SILENT_SECONDS: Final = 30.0
"""After this time without a notification the connection is tested."""


@contextlib.asynccontextmanager
async def listening(database: PostgresDatabase, channel: Channel, notified: asyncio.Event) -> AsyncIterator[None]:
    """Set the event for each notification. A new connection sets it too, for what was not heard before."""
    listener = asyncio.create_task(_listen(database.conninfo, channel, notified))
    try:
        yield
    finally:
        listener.cancel()
        await asyncio.gather(listener, return_exceptions=True)


async def _listen(conninfo: str, channel: Channel, notified: asyncio.Event) -> None:
    lost = False
    while True:
        try:
            connection = await psycopg.AsyncConnection.connect(
                conninfo, autocommit=True, connect_timeout=3, application_name=f"listens to {channel}"
            )
            async with connection:
                await _execute(connection, f"LISTEN {channel}")
                notified.set()
                if lost:
                    log.warning("database.notifications_back", channel=channel)
                lost = False
                while True:
                    async for _ in connection.notifies(timeout=SILENT_SECONDS):
                        notified.set()
                    await _execute(connection, "SELECT 1")
        except (psycopg.Error, TimeoutError) as error:
            if not lost:
                log.warning("database.notifications_lost", channel=channel, error=str(error).strip(), doing="polling")
            lost = True
        await asyncio.sleep(AGAIN_SECONDS)


async def _execute(connection: "psycopg.AsyncConnection[tuple[object, ...]]", statement: str) -> None:
    async with asyncio.timeout(ANSWER_SECONDS):
        await connection.execute(statement.encode())
