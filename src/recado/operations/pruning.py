"""Delete old rows of the queue in small steps, so that other transactions do not wait for the lock.

Finished jobs are deleted after a week; their results stay in messages, turns and answers. Dead letters stay. Events are
deleted after 30 days.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from recado.core.clock import Clock
from recado.core.database.engine import Database
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.event_log import repository as event_log
from recado.core.queue.storage import endings, slots, tables

KEEP_JOBS: Final = timedelta(days=7)
KEEP_EVENTS: Final = timedelta(days=30)
KEEP_SLOTS: Final = timedelta(days=2)
MAX_STEPS: Final = 200
"""A hundred thousand rows a run; the next run goes on."""


@dataclass(frozen=True, slots=True)
class PruningReport:
    """The number of finished jobs and of events that a run deleted."""

    jobs: int
    events: int = 0


class Pruning:
    """Deletes finished jobs, old events and old cron slots."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def prune(self) -> PruningReport:
        """Delete one run's worth of old rows."""
        now = self._clock.now()
        await self._database.write(lambda uow: slots.forget_old(uow, now - KEEP_SLOTS), owner=None)
        jobs = await self._in_steps(lambda uow: endings.prune(uow, now - KEEP_JOBS), tables.STEP)
        events = await self._in_steps(lambda uow: event_log.prune(uow, now - KEEP_EVENTS), event_log.STEP)
        return PruningReport(jobs, events)

    async def _in_steps(self, delete: Callable[[UnitOfWork], int], full: int) -> int:
        """Delete one step after the other until one is not full. Return the number of rows."""
        deleted = 0
        for _ in range(MAX_STEPS):
            step = await self._database.write(delete, owner=None)
            deleted += step
            if step < full:
                break
        return deleted
