"""Delete old rows of the queue in small steps, so that other transactions do not wait for the lock.

Finished jobs are deleted after a week; their results stay in messages, turns and answers. Dead letters stay.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from recado.core.clock import Clock
from recado.core.database.engine import Database
from recado.core.queue.storage import endings, slots, tables

KEEP_JOBS: Final = timedelta(days=7)
KEEP_SLOTS: Final = timedelta(days=2)
MAX_STEPS: Final = 200
"""A hundred thousand rows a run; the next run goes on."""


@dataclass(frozen=True, slots=True)
class PruningReport:
    """The number of finished jobs that a run deleted."""

    jobs: int


class Pruning:
    """Deletes finished jobs and old cron slots."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def prune(self) -> PruningReport:
        """Delete one run's worth of old rows."""
        now, jobs = self._clock.now(), 0
        await self._database.write(lambda uow: slots.forget_old(uow, now - KEEP_SLOTS), owner=None)
        for _ in range(MAX_STEPS):
            step = await self._database.write(lambda uow: endings.prune(uow, now - KEEP_JOBS), owner=None)
            jobs += step
            if step < tables.STEP:
                break
        return PruningReport(jobs)
