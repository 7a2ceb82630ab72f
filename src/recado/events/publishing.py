"""Number and fan out what was committed: a moment after each commit of this process, and once a second for all others.

There is no loop here. A commit that tells something starts one run, unless one is under way; the maintenance of each
worker makes a run for what a process that died has left.
"""

import asyncio
from collections.abc import Callable
from uuid import UUID

import structlog

from recado.core.database.changes import Changes
from recado.core.errors import DomainError
from recado.core.event_log.numbering import Numbering
from recado.events.fanout import Fanout

log = structlog.get_logger(__name__)

GATHER_SECONDS = 0.02
"""How long a run waits for further commits, so that one step serves all of them."""


class EventPublisher:
    """Gives events to their readers."""

    def __init__(
        self, numbering: Numbering, fanout: Fanout, changes: Changes, *, gather_seconds: float = GATHER_SECONDS
    ) -> None:
        self._numbering = numbering
        self._fanout = fanout
        self._changes = changes
        self._gather_seconds = gather_seconds
        self._run: asyncio.Task[None] | None = None
        self._again = False
        self._stop: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Run a moment after each commit from now on, on the running loop."""
        loop = asyncio.get_running_loop()

        def told(_owner: UUID) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._begin)

        self._stop = self._changes.subscribe("events", told)

    async def aclose(self) -> None:
        """Run no more; wait for the run that is under way."""
        self._stop()
        if self._run is not None:
            await asyncio.gather(self._run, return_exceptions=True)

    async def step(self) -> None:
        """Give what is committed by now to its readers. Raises `Busy` and `StorageUnavailable`."""
        if await self._numbering.has_work():
            await self._numbering.run()
        await self._fanout.run()

    def _begin(self) -> None:
        self._again = True
        if self._run is None or self._run.done():
            self._run = asyncio.create_task(self._gather())

    async def _gather(self) -> None:
        while self._again:
            await asyncio.sleep(self._gather_seconds)
            self._again = False
            try:
                await self._numbering.run()
                await self._fanout.run()
            except DomainError as error:  # The next run, here or in a worker's maintenance, finds the same events.
                log.info("events.not_published", error=str(error))
