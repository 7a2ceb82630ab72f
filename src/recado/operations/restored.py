"""Silence a restored copy: send no answer to a message that may have been answered after the copy was made.

A restored database is older than the conversations. Messages that were open in it may have been answered since, by an
installation whose rows are lost, and the provider's list would bring back every later message. Silencing drops both.
Sends that were in flight are left alone: the provider knows their result.
"""

from dataclasses import dataclass

from recado.channels.repository import EveryAddress
from recado.conversation.replying.jobs import REPLY
from recado.conversation.sending.outbox import SEND
from recado.core.clock import Clock
from recado.core.database.engine import Database
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.errors import Conflict
from recado.core.queue.service import QueueService
from recado.core.queue.storage import leases
from recado.operations.storage.restored import leased_jobs, unfinished_jobs


@dataclass(frozen=True, slots=True)
class SilenceReport:
    """The jobs that were dropped, the sends that are still to be looked up, the numbers whose sweeps begin now."""

    dropped: int
    left: int
    numbers: int


class RestoredCopy:
    """A database that was restored from a backup and that no worker uses yet."""

    def __init__(self, database: Database, clock: Clock, queue: QueueService) -> None:
        self._database = database
        self._clock = clock
        self._queue = queue

    async def waiting(self) -> int:
        """Return the number of jobs that would write to customers."""
        return await self._database.read(lambda uow: len(unfinished_jobs(uow)), owner=None)

    async def silence(self) -> SilenceReport:
        """Drop the waiting jobs, and let sweeps begin now. Raises `Conflict` while a worker holds jobs."""
        await self._refuse_if_at_work()
        while await self._free():
            """Each step frees some of them."""
        dropped = left = 0
        for job_id in await self._database.read(unfinished_jobs, owner=None):
            try:
                await self._queue.discard(job_id)
                dropped += 1
            except Conflict:  # Its create call was in flight.
                left += 1
        return SilenceReport(dropped, left, await self._database.write(self._begin_sweeps, owner=None))

    async def _refuse_if_at_work(self) -> None:
        now = self._clock.now()
        count = await self._database.read(lambda uow: leased_jobs(uow, now), owner=None)
        if count:
            raise Conflict(
                f"a worker holds {count} jobs of this database: stop the workers, or wait for their leases to end"
            )

    async def _free(self) -> int:
        now = self._clock.now()
        return await self._database.write(lambda uow: leases.free_ended_leases(uow, now, (REPLY, SEND)), owner=None)

    def _begin_sweeps(self, uow: UnitOfWork) -> int:
        numbers = EveryAddress(uow)
        swept = numbers.every_with_webhooks()
        for number in swept:
            numbers.change(number.id, first_webhook_at=self._clock.now())
        return len(swept)
