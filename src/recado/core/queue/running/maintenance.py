"""Maintenance of the queue: ended leases, slots of schedules, and wake-ups that were lost.

Every worker runs it. It is not a job, because it must not need the wake-ups that it repairs.
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
"""How often times of a clock that was ahead are searched for. A jump of this host's clock starts a search at once."""
JUMP_SECONDS = 2.0
"""How far the clock and the monotonic clock must drift apart between two steps to mean that the clock was set."""


@dataclass(frozen=True, slots=True)
class MaintenanceReport:
    """What maintenance did: slots made into jobs, jobs of dead workers requeued."""

    slots_made: int
    leases_freed: int

    def __add__(self, other: "MaintenanceReport") -> "MaintenanceReport":
        return MaintenanceReport(self.slots_made + other.slots_made, self.leases_freed + other.leases_freed)


class Maintenance:
    """Requeues jobs whose lease has ended and inserts due slots, once a second. With a broker, dispatches wake-ups."""

    def __init__(
        self,
        queue: QueueService,
        cron: Cron,
        clock: Clock,
        dispatcher: Dispatcher | None = None,
        publish_events: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """`publish_events` gives to their readers what processes that died have left."""
        self._publish_events = publish_events
        self._queue = queue
        self._cron = cron
        self._clock = clock
        self._dispatcher = dispatcher
        self._last_step: float | None = None
        self._leases_kept_until = -math.inf
        self._drift: float | None = None
        self._repair_at = -math.inf

    @property
    def last_step(self) -> float | None:
        """Return when the last step succeeded, on the monotonic clock; None before the first."""
        return self._last_step

    async def run(self, after_step: Callable[[], Awaitable[None]], poll: Callable[[], None]) -> None:
        """Run until cancelled. `poll` is called when workers must poll the table because the broker is lost."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._loop(after_step))
            if self._dispatcher is not None:
                tasks.create_task(self._dispatcher.run(poll))

    async def republish(self, wakeup: WakeUp) -> None:
        """Republish a wake-up that a worker without room received."""
        if self._dispatcher is not None:
            await self._dispatcher.republish(wakeup)

    async def dispatch(self) -> int:
        """Publish wake-ups for jobs that are due now. Return their number, 0 without a broker."""
        return 0 if self._dispatcher is None else await self._dispatcher.step()

    async def _loop(self, after_step: Callable[[], Awaitable[None]]) -> None:
        """Run a step each second. A step that fails because of the database is logged, and the next one tries again."""
        while True:
            pause = min(INTERVAL_SECONDS, self._queue.lease.total_seconds() / 3)
            try:
                await self.step()
                await after_step()
            except DomainError as error:
                log.warning("queue.maintenance_failed", error=str(error))
            await asyncio.sleep(pause)

    async def step(self) -> int:
        """Run maintenance once in a running worker. Return the number of jobs of dead workers that were requeued.

        After an outage of the database (no step for a whole lease) and after a change of the clock, living workers get
        the time of one lease to renew theirs. A lease that ended meanwhile is no crash.
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
        await self._publish()
        self._last_step = now
        return freed

    async def run_once(self) -> MaintenanceReport:
        """Run maintenance once on a serverless host.

        Long gaps between runs are normal there and do not mean that the database was down.
        """
        await self._repair_times()
        await self._publish()
        return MaintenanceReport(await self._cron.insert_slots(), await self._free())

    async def _publish(self) -> None:
        if self._publish_events is None:
            return
        try:
            await self._publish_events()
        except DomainError as error:  # Leases and slots must not wait for this.
            log.warning("queue.events_not_published", error=str(error))

    def _clock_jumped(self) -> bool:
        """Return whether the clock was set since the last step."""
        before, self._drift = self._drift, self._clock.now().timestamp() - self._clock.monotonic()
        return before is not None and abs(self._drift - before) > JUMP_SECONDS

    async def _repair_times(self) -> None:
        try:
            found = await self._queue.repair_times()
        except DomainError as error:  # Leases and slots must not wait for this.
            log.warning("queue.times_not_repaired", error=str(error))
            return
        if found:
            log.warning("queue.clock_was_set_back", lanes=found, doing="repairing due times")

    async def _free(self) -> int:
        await self._queue.end_future_leases()
        freed = await self._queue.free_ended_leases()
        if freed:
            log.warning("queue.leases_freed", jobs=freed, lease=str(self._queue.lease))
        return freed
