"""Publish wake-ups for due jobs to a broker: the part of maintenance that only BullMQ and SQS need.

A step runs at each wake-up from the database (a commit, a due time, a second passed). It publishes one for each of the
best due heads of lanes that has none outstanding, `limit` at most: a wake-up means "claim the best due job", so more of
them would only fill the broker. The row stores that it was dispatched. A job that is not claimed all the same is
dispatched again, later each time, because a broker may forget.
"""

import asyncio
import contextlib
import math
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

import structlog

from recado.core.clock import Clock
from recado.core.database.engine import Database
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.errors import BrokerLost, DomainError
from recado.core.ids import Chance, jittered
from recado.core.queue.job import ISOLATED_AT_ONCE
from recado.core.queue.storage import dispatched
from recado.core.queue.storage.claiming import Head, OwnerWalk, read_heads
from recado.core.queue.wakeups.contract import Broker, Delivery, WakeUp

log = structlog.get_logger(__name__)

PUBLISH_SECONDS: Final = 2.0
"""How long a broker may take; BullMQ's own client would wait for minutes (measured: over 20 s for one add)."""
POLL_SECONDS: Final = 0.5
"""How often workers poll the table while the broker does not answer."""
RETRY_SECONDS: Final = 1.0
"""How often a broker that does not answer is tried again."""
REST_SHARE: Final = 4.0
"""The pause after a step, as a multiple of the step's time: beside a busy writer it must stay small."""

REPUBLISH_AFTER: Final = timedelta(seconds=30)
REPUBLISH_CAP: Final = timedelta(minutes=10)


class Dispatcher:
    """Publishes due heads of lanes to a broker. While the broker is lost, it makes the worker poll the table."""

    def __init__(
        self,
        database: Database,
        broker: Broker,
        source: Delivery,
        clock: Clock,
        chance: Chance,
        *,
        limit: int,
        publish_seconds: float = PUBLISH_SECONDS,
    ) -> None:
        self._database = database
        self._broker = broker
        self._source = source
        self._clock = clock
        self._chance = chance
        self._limit = limit
        self._publish_seconds = publish_seconds
        self._next_check = -math.inf
        self._walk = OwnerWalk()
        self.lost = False

    async def run(self, poll: Callable[[], None]) -> None:
        """Dispatch until cancelled. While the broker does not answer, call `poll` every half second."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._poll_while_lost(poll))
            async with contextlib.aclosing(self._source.receive(lambda: 1)) as wakeups:
                async for _ in wakeups:
                    started = self._clock.monotonic()
                    await self._step_safely(poll)
                    spent = self._clock.monotonic() - started
                    await asyncio.sleep(RETRY_SECONDS if self.lost else min(REST_SHARE * spent, POLL_SECONDS))

    async def step(self) -> int:
        """Publish wake-ups for due jobs that have none. Return their number. Raises `BrokerLost`."""
        now = self._clock.now()
        due, dispatched_count = await self._database.read(lambda uow: self._heads(uow, now), owner=None)
        if dispatched_count and await self._has_forgotten():
            log.warning("queue.broker_forgot", doing="every waiting job is dispatched again")
            while await self._database.write(dispatched.clear_dispatched, owner=None):
                pass
            due, _ = await self._database.read(lambda uow: self._heads(uow, now), owner=None)
        if not due:
            return 0
        before = {head.job_id: dispatches for head, dispatches in due}
        marked = await self._database.write(lambda uow: dispatched.mark(uow, before, now), owner=None)
        wakeups = [WakeUp(*each) for each in marked]
        try:
            async with asyncio.timeout(self._publish_seconds):
                await self._broker.publish(wakeups)
        except (BrokerLost, TimeoutError) as error:
            await self._clear(wakeups)
            raise BrokerLost(str(error) or f"the broker took over {self._publish_seconds:g} s") from error
        return len(wakeups)

    async def republish(self, wakeup: WakeUp) -> None:
        """Publish a wake-up again that a worker without room received."""
        if wakeup.job_id is not None:
            await self._clear([wakeup])

    # --- Parts --------------------------------------------------------------------------------------------------------

    async def _step_safely(self, poll: Callable[[], None]) -> None:
        try:
            sent = await self.step()
        except BrokerLost as error:
            if not self.lost:
                log.warning("queue.broker_lost", error=str(error), doing="workers poll the table every half second")
            self.lost = True
            poll()
        except DomainError as error:
            log.warning("queue.dispatch_failed", error=str(error))
        else:
            if sent and self.lost:
                log.warning("queue.broker_back")
                self.lost = False

    async def _poll_while_lost(self, poll: Callable[[], None]) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            if self.lost:
                poll()

    async def _has_forgotten(self) -> bool:
        """Ask the broker whether it lost wake-ups, at most once a second and only while dispatched jobs wait."""
        now = self._clock.monotonic()
        if now < self._next_check:
            return False
        self._next_check = now + RETRY_SECONDS
        try:
            async with asyncio.timeout(self._publish_seconds):
                return await self._broker.forgot()
        except (BrokerLost, TimeoutError):
            return False  # The next publish tells.

    def _heads(self, uow: UnitOfWork, now: datetime) -> tuple[list[tuple[Head, int]], int]:
        """Return the heads to dispatch, with their counts before, and the number of those that wait dispatched."""
        heads = read_heads(uow, now, self._limit, ISOLATED_AT_ONCE, self._walk)
        if not heads:
            return [], 0
        by_id = {head.job_id: head for head in heads}
        due = []
        for state in dispatched.states(uow, by_id):
            head = by_id[state.job_id]
            # A wake-up from before it became due was too early: a retry or a newer message has moved the job since.
            too_early = state.dispatched_at is None or state.dispatched_at < head.due_at
            delay = self._republish_delay(state.dispatches - state.attempts - state.crashes)
            # A moment in the future was stored by a clock that was ahead, and says nothing.
            if too_early or abs(now - (state.dispatched_at or now)) >= delay:
                due.append((head, state.dispatches))
        return due, len(heads) - len(due)

    def _republish_delay(self, wakeups: int) -> timedelta:
        """Return how long a dispatched job may wait unclaimed: 30 s, twice as long each time, at most 10 minutes."""
        seconds = min(
            REPUBLISH_AFTER.total_seconds() * 2 ** min(max(wakeups - 1, 0), 10), REPUBLISH_CAP.total_seconds()
        )
        return timedelta(seconds=jittered(seconds, self._chance))

    async def _clear(self, wakeups: Sequence[WakeUp]) -> None:
        """Mark jobs as not dispatched. Should that fail as well, they are dispatched again in half a minute."""
        marked = [(wakeup.job_id, wakeup.dispatch) for wakeup in wakeups if wakeup.job_id is not None]
        try:
            await self._database.write(lambda uow: dispatched.unmark(uow, marked), owner=None)
        except DomainError as error:
            log.warning("queue.dispatch_failed", error=str(error))
