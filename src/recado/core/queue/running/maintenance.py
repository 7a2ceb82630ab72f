"""What keeps the line moving when something was lost: a dead worker's leases, a bell that did not ring.

Every worker runs one. It is not a job, for it must not need the bell it repairs.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from recado.core.clock import Clock
from recado.core.errors import DomainError
from recado.core.queue.cron import Cron
from recado.core.queue.service import QueueService
from recado.core.queue.wakeups.contract import WakeUp
from recado.core.queue.wakeups.dispatcher import Dispatcher

log = structlog.get_logger(__name__)

INTERVAL_SECONDS = 1.0
REPAIR_SECONDS = 30.0
"""How often it is looked for what a clock that has been set back since has timed; a jump is noticed at once."""
JUMP_SECONDS = 2.0
"""By how much a clock must differ from the one that only goes on, between two passes, to have been set."""


@dataclass(frozen=True, slots=True)
class MaintenanceReport:
    """What a pass did: slots made into jobs, leases of dead workers freed."""

    slots_made: int
    leases_freed: int

    def __add__(self, other: "MaintenanceReport") -> "MaintenanceReport":
        return MaintenanceReport(self.slots_made + other.slots_made, self.leases_freed + other.leases_freed)


class Maintenance:
    """Frees ended leases and inserts due cron slots, once a second; with a broker, has it rung for what is due."""

    def __init__(self, queue: QueueService, cron: Cron, clock: Clock, dispatcher: Dispatcher | None = None) -> None:
        self._queue = queue
        self._cron = cron
        self._clock = clock
        self._dispatcher = dispatcher
        self._last_step: float | None = None
        self._leases_kept_until = -math.inf
        self._drift: float | None = None
        self._repair_at = -math.inf

    async def run(self, after_step: Callable[[], Awaitable[None]], poll: Callable[[], None]) -> None:
        """Keep the line moving, for ever; `poll` is called when workers must look at the table by themselves."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._loop(after_step))
            if self._dispatcher is not None:
                tasks.create_task(self._dispatcher.run(poll))

    async def republish(self, wakeup: WakeUp) -> None:
        """Give back a wake-up that a worker took without room for it."""
        if self._dispatcher is not None:
            await self._dispatcher.republish(wakeup)

    async def dispatch(self) -> int:
        """Have the broker rung for what is due now; how many wake-ups went out, none without a broker."""
        return 0 if self._dispatcher is None else await self._dispatcher.step()

    async def _loop(self, after_step: Callable[[], Awaitable[None]]) -> None:
        """Pass once a second; a database that cannot be reached now is tried again."""
        while True:
            pause = min(INTERVAL_SECONDS, self._queue.lease.total_seconds() / 3)
            try:
                await self.step()
                await after_step()
            except DomainError as error:
                log.warning("queue.relay_failed", error=str(error))
            await asyncio.sleep(pause)

    async def step(self) -> int:
        """One pass; how many jobs of dead workers are free again.

        After an outage of the database (no pass for a whole lease), and after the clock was set, living
        workers get one lease's time to renew what they hold: leases that ran out while no write was possible, or by
        another clock than the one they were given by, are no crashes.
        """
        now = self._clock.monotonic()
        lease = self._queue.lease.total_seconds()
        jumped = self._clock_jumped()
        if jumped or (self._last_step is not None and now - self._last_step > lease + INTERVAL_SECONDS):
            self._leases_kept_until = now + lease
        if jumped or now >= self._repair_at:
            await self._repair_times()
            self._repair_at = now + REPAIR_SECONDS
        freed = await self._free() if now >= self._leases_kept_until else 0
        await self._cron.insert_slots()
        self._last_step = now
        return freed

    async def run_once(self) -> MaintenanceReport:
        """A pass of those who come round seldom: that nobody passed meanwhile says nothing about the database."""
        await self._repair_times()
        return MaintenanceReport(await self._cron.insert_slots(), await self._free())

    def _clock_jumped(self) -> bool:
        """Whether the clock was set since the last pass."""
        before, self._drift = self._drift, self._clock.now().timestamp() - self._clock.monotonic()
        return before is not None and abs(self._drift - before) > JUMP_SECONDS

    async def _repair_times(self) -> None:
        try:
            found = await self._queue.repair_times()
        except DomainError as error:  # Leases and cron slots must not wait for it.
            log.warning("queue.times_not_set_right", error=str(error))
            return
        if found:
            log.warning("queue.clock_was_set_back", lanes=found, doing="what waits is timed anew")

    async def _free(self) -> int:
        await self._queue.end_future_leases()
        freed = await self._queue.free_ended_leases()
        if freed:
            log.warning("queue.leases_freed", jobs=freed, lease=str(self._queue.lease))
        return freed
