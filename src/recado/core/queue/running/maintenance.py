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

PASS_SECONDS = 1.0
SET_RIGHT_SECONDS = 30.0
"""How often it is looked for what a clock that has been set back since has timed; a jump is noticed at once."""
JUMP_SECONDS = 2.0
"""By how much a clock must differ from the one that only goes on, between two passes, to have been set."""


@dataclass(frozen=True, slots=True)
class Passed:
    """What a pass did: slots made into jobs, leases of dead workers freed."""

    slots_made: int
    leases_freed: int

    def __add__(self, other: "Passed") -> "Passed":
        return Passed(self.slots_made + other.slots_made, self.leases_freed + other.leases_freed)


class Relay:
    """Frees ended leases and inserts due cron slots, once a second; with a broker, has it rung for what is due."""

    def __init__(self, queue: QueueService, cron: Cron, clock: Clock, dispatcher: Dispatcher | None = None) -> None:
        self._queue = queue
        self._cron = cron
        self._clock = clock
        self._dispatcher = dispatcher
        self._last_pass: float | None = None
        self._patient_until = -math.inf
        self._drift: float | None = None
        self._right_until = -math.inf

    async def run(self, after_pass: Callable[[], Awaitable[None]], look: Callable[[], None]) -> None:
        """Keep the line moving, for ever; `look` is called when workers must look at the table by themselves."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._pass(after_pass))
            if self._dispatcher is not None:
                tasks.create_task(self._dispatcher.run(look))

    async def ring_again(self, wakeup: WakeUp) -> None:
        """Give back a wake-up that a worker took without room for it."""
        if self._dispatcher is not None:
            await self._dispatcher.ring_again(wakeup)

    async def ring(self) -> int:
        """Have the broker rung for what is due now; how many wake-ups went out, none without a broker."""
        return 0 if self._dispatcher is None else await self._dispatcher.step()

    async def _pass(self, after_pass: Callable[[], Awaitable[None]]) -> None:
        """Pass once a second; a database that cannot be reached now is tried again."""
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

        After an outage of the database (no pass for a whole lease), and after the clock was set, living
        workers get one lease's time to renew what they hold: leases that ran out while no write was possible, or by
        another clock than the one they were given by, are no crashes.
        """
        now = self._clock.monotonic()
        lease = self._queue.lease.total_seconds()
        jumped = self._clock_jumped()
        if jumped or (self._last_pass is not None and now - self._last_pass > lease + PASS_SECONDS):
            self._patient_until = now + lease
        if jumped or now >= self._right_until:
            await self._set_times_right()
            self._right_until = now + SET_RIGHT_SECONDS
        freed = await self._free() if now >= self._patient_until else 0
        await self._cron.insert_slots()
        self._last_pass = now
        return freed

    async def once(self) -> Passed:
        """A pass of those who come round seldom: that nobody passed meanwhile says nothing about the database."""
        await self._set_times_right()
        return Passed(await self._cron.insert_slots(), await self._free())

    def _clock_jumped(self) -> bool:
        """Whether the clock was set since the last pass."""
        before, self._drift = self._drift, self._clock.now().timestamp() - self._clock.monotonic()
        return before is not None and abs(self._drift - before) > JUMP_SECONDS

    async def _set_times_right(self) -> None:
        try:
            found = await self._queue.set_times_right()
        except DomainError as error:  # Leases and cron slots must not wait for it.
            log.warning("queue.times_not_set_right", error=str(error))
            return
        if found:
            log.warning("queue.clock_was_set_back", lanes=found, doing="what waits is timed anew")

    async def _free(self) -> int:
        await self._queue.end_far_leases()
        freed = await self._queue.free_ended_leases()
        if freed:
            log.warning("queue.leases_freed", jobs=freed, lease=str(self._queue.lease))
        return freed
