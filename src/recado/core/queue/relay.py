"""What keeps the line moving when something was lost: a dead worker's leases, a bell that did not ring.

Every worker runs one. It is not a job, for it must not need the bell it repairs.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import structlog

from recado.core.clock import Clock
from recado.core.errors import DomainError
from recado.core.queue.cron import Cron
from recado.core.queue.service import QueueService

log = structlog.get_logger(__name__)

PASS_SECONDS = 1.0


class Relay:
    """Frees ended leases and inserts due cron slots, once a second."""

    def __init__(self, queue: QueueService, cron: Cron, clock: Clock) -> None:
        self._queue = queue
        self._cron = cron
        self._clock = clock
        self._last_pass: float | None = None
        self._patient_until = 0.0

    async def run(self, after_pass: Callable[[], Awaitable[None]]) -> None:
        """Pass once a second, for ever; a database that cannot be reached now is tried again."""
        while True:
            pause = min(PASS_SECONDS, self._queue.lease.total_seconds() / 3)
            try:
                await self.step()
                await after_pass()
            except DomainError as error:
                log.warning("queue.relay_failed", error=str(error))
            await asyncio.sleep(pause)

    async def step(self) -> int:
        """One pass; how many jobs of dead workers are free again.

        After an outage of the database (no pass for a whole lease) living workers get one lease's time to renew what
        they hold: leases that ran out because nobody could write are no crashes.
        """
        now = self._clock.monotonic()
        lease = self._queue.lease.total_seconds()
        if self._last_pass is not None and now - self._last_pass > lease + PASS_SECONDS:
            self._patient_until = now + lease
        freed = 0
        if now >= self._patient_until:
            freed = await self._queue.free_ended_leases()
        await self._cron.insert_slots()
        self._last_pass = now
        if freed:
            log.warning("queue.leases_freed", jobs=freed, lease=str(timedelta(seconds=lease)))
        return freed
