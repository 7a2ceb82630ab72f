"""Delete old rows in small steps, so that other transactions do not wait for the lock.

Finished jobs are deleted after a week; their results stay in messages, turns and answers. Dead letters stay. Events and
their deliveries are deleted after 30 days, and so are bulk operations that are done. What people and programs proved
themselves by goes when it has ended, and the row of a job's own lane when no job needs it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Final
from uuid import UUID

from recado.core.clock import Clock
from recado.core.database.engine import Database
from recado.core.database.pages import FIRST_ID
from recado.core.database.unit_of_work import STEP, UnitOfWork
from recado.core.event_log import repository as event_log
from recado.core.queue.lane import Lane
from recado.core.queue.storage import endings, inspection, lanes, slots
from recado.events.repository import prune as prune_deliveries
from recado.identity.access.repository import prune as prune_access
from recado.operations.dead_letters.repository import prune as prune_bulk_operations

KEEP_JOBS: Final = timedelta(days=7)
KEEP_EVENTS: Final = timedelta(days=30)
KEEP_BULK_OPERATIONS: Final = timedelta(days=30)
KEEP_SLOTS: Final = timedelta(days=2)
MAX_STEPS: Final = 200
"""A hundred thousand rows a run; the next run goes on."""


@dataclass(frozen=True, slots=True)
class PruningReport:
    """The number of finished jobs and of events that a run deleted, and of ended sessions, links and their like."""

    jobs: int
    events: int = 0
    access: int = 0


class Pruning:
    """Deletes finished jobs, old events, old cron slots, and what is past of sign-ins and requests."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def prune(self) -> PruningReport:
        """Delete one run's worth of old rows."""
        now = self._clock.now()
        await self._database.write(lambda uow: slots.forget_old(uow, now - KEEP_SLOTS), owner=None)
        await self._delete_unused_lanes()
        jobs = await self._in_steps(lambda uow: endings.prune(uow, now - KEEP_JOBS), STEP)
        events = await self._in_steps(lambda uow: event_log.prune(uow, now - KEEP_EVENTS), STEP)
        await self._in_steps(lambda uow: prune_deliveries(uow, now - KEEP_EVENTS), STEP)
        bulk_before = now - KEEP_BULK_OPERATIONS
        await self._in_steps(lambda uow: prune_bulk_operations(uow, bulk_before, STEP), STEP)
        access = await self._in_steps(lambda uow: prune_access(uow, now, STEP), STEP)
        return PruningReport(jobs, events, access)

    async def _delete_unused_lanes(self) -> None:
        """Delete what retries of an earlier release have left. Nothing is written where there is nothing."""
        after = FIRST_ID
        while True:
            letters, unused = await self._database.read(partial(_unused_lanes, after=after), owner=None)
            if not letters:
                return
            if unused:
                await self._database.write(partial(lanes.delete_unused, names=unused), owner=None)
            after = letters[-1]

    async def _in_steps(self, delete: Callable[[UnitOfWork], int], full: int) -> int:
        """Delete one step after the other until one is not full. Return the number of rows."""
        deleted = 0
        for _ in range(MAX_STEPS):
            step = await self._database.write(delete, owner=None)
            deleted += step
            if step < full:
                break
        return deleted


def _unused_lanes(uow: UnitOfWork, after: UUID) -> tuple[list[UUID], list[Lane]]:
    """Return the next dead letters, and those of their lanes that nothing needs."""
    letters = inspection.dead_ids(uow, after)
    return letters, lanes.unused(uow, letters)
