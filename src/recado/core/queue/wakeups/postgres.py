"""Wake-ups from PostgreSQL: LISTEN on a connection of its own, with a poll each second as the fallback.

A writer notifies after its commit (see `PostgresWriter`), so a notification may be lost with its process; the fallback
finds the job. A timer covers jobs that *become* due, and commits of this process notify at once.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from typing import Final

from recado.core.clock import Clock
from recado.core.database.postgres.database import PostgresDatabase
from recado.core.database.postgres.listening import listening
from recado.core.database.postgres.writer import JOBS_CHANNEL
from recado.core.errors import DomainError
from recado.core.queue.storage import inspection
from recado.core.queue.wakeups.contract import Room, WakeUp

FALLBACK_SECONDS: Final = 1.0


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
        async with listening(self._database, JOBS_CHANNEL, notified):
            while True:
                notified.clear()
                yield WakeUp()
                with contextlib.suppress(TimeoutError):
                    # Not `wait_for`: it loses a cancellation that comes together with the notification.
                    async with asyncio.timeout(await self._seconds_until_due()):
                        await notified.wait()

    async def close(self) -> None:
        """Do nothing: the connection ends with `receive`."""

    async def _seconds_until_due(self) -> float:
        """Return the seconds until the next job becomes due, at most one."""
        now = self._clock.now()
        try:
            due_at = await self._database.read(lambda uow: inspection.next_due_after(uow, now), owner=None)
        except DomainError:
            return FALLBACK_SECONDS
        return FALLBACK_SECONDS if due_at is None else min(FALLBACK_SECONDS, (due_at - now).total_seconds())
