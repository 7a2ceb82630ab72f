"""Wake-ups from PostgreSQL: LISTEN on a connection of its own, with a poll each second as the fallback.

A writer notifies after its commit (see `PostgresWriter`), so a notification may be lost with its process; the fallback
finds the job. A timer covers jobs that *become* due, and commits of this process notify at once.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from typing import Final

import psycopg

from recado.core.clock import Clock
from recado.core.database.postgres.database import PostgresDatabase
from recado.core.database.postgres.writer import ANSWER_SECONDS, JOBS_CHANNEL
from recado.core.errors import DomainError
from recado.core.queue.storage import inspection
from recado.core.queue.wakeups.contract import Room, WakeUp, log_loss, log_return

FALLBACK_SECONDS: Final = 1.0
SILENT_SECONDS: Final = 30.0
"""After this time without a notification the connection is tested."""


async def _execute(connection: "psycopg.AsyncConnection[tuple[object, ...]]", statement: str) -> None:
    async with asyncio.timeout(ANSWER_SECONDS):
        await connection.execute(statement.encode())


class PostgresDelivery:
    """Listens; `publish` has nothing to do."""

    def __init__(self, database: PostgresDatabase, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def publish(self, wakeups: Sequence[WakeUp]) -> None:
        """Do nothing: the writers notify."""

    async def receive(self, room: Room) -> AsyncGenerator[WakeUp, None]:  # noqa: ARG002 - no wake-up is taken from another worker
        loop = asyncio.get_running_loop()
        notified = asyncio.Event()

        def notify() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(notified.set)

        self._database.on_commit(notify)
        listening = asyncio.create_task(self._listen(notified))
        try:
            while True:
                notified.clear()
                yield WakeUp()
                with contextlib.suppress(TimeoutError):
                    # Not `wait_for`: it loses a cancellation that comes together with the notification.
                    async with asyncio.timeout(await self._seconds_until_due()):
                        await notified.wait()
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    async def close(self) -> None:
        """Do nothing: the connection ends with `receive`."""

    async def _listen(self, notified: asyncio.Event) -> None:
        """Set the event for each notification until cancelled. A new connection after a loss sets it too."""
        lost = False
        while True:
            try:
                connection = await psycopg.AsyncConnection.connect(
                    self._database.conninfo, autocommit=True, connect_timeout=3, application_name="recado wake-ups"
                )
                async with connection:
                    await _execute(connection, f"LISTEN {JOBS_CHANNEL}")
                    notified.set()  # A notification may have been missed before.
                    lost = log_return("postgres", lost=lost)
                    while True:
                        async for _ in connection.notifies(timeout=SILENT_SECONDS):
                            notified.set()
                        await _execute(connection, "SELECT 1")
            except (psycopg.Error, TimeoutError) as error:
                lost = log_loss("postgres", str(error).strip(), lost=lost)
            await asyncio.sleep(FALLBACK_SECONDS)

    async def _seconds_until_due(self) -> float:
        """Return the seconds until the next job becomes due, at most one."""
        now = self._clock.now()
        try:
            due_at = await self._database.read(lambda uow: inspection.next_due_after(uow, now), owner=None)
        except DomainError:
            return FALLBACK_SECONDS
        return FALLBACK_SECONDS if due_at is None else min(FALLBACK_SECONDS, (due_at - now).total_seconds())
