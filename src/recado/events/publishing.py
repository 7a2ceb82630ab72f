"""Number and fan out what was committed: a moment after each commit of this process, and once a second for all others.

A commit that tells something starts one run for its owner, unless one is under way. What a process without a publisher
has stored, or one that died, is numbered here within a second; the maintenance of each worker makes deliveries of it.
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
LOOK_SECONDS = 1.0
"""How often this process looks for events that nobody has numbered."""


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
        self._look: asyncio.Task[None] | None = None
        self._owners: set[UUID] = set()
        self._stop: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Run a moment after each commit from now on, on the running loop."""
        loop = asyncio.get_running_loop()

        def told(owner_id: UUID) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._begin, owner_id)

        self._stop = self._changes.subscribe("events", told)
        if self._numbering.is_needed:
            self._look = loop.create_task(self._look_again_and_again())

    async def aclose(self) -> None:
        """Run no more; wait for the run that is under way."""
        self._stop()
        if self._look is not None:
            self._look.cancel()
        under_way = [task for task in (self._look, self._run) if task is not None]
        await asyncio.gather(*under_way, return_exceptions=True)

    async def step(self) -> None:
        """Give what is committed by now to its readers. Raises `Busy` and `StorageUnavailable`."""
        if await self._numbering.has_work():
            await self._numbering.run()
        await self._fanout.run()

    def _begin(self, owner_id: UUID) -> None:
        self._owners.add(owner_id)
        if self._run is None or self._run.done():
            self._run = asyncio.create_task(self._gather())

    async def _gather(self) -> None:
        while self._owners:
            await asyncio.sleep(self._gather_seconds)
            owners, self._owners = self._owners, set()
            try:
                await self._fanout.run({*owners, *await self._numbering.run()})
            except DomainError as error:  # A worker's maintenance finds the same events.
                log.info("events.not_published", error=str(error))

    async def _look_again_and_again(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                if await self._numbering.has_work():
                    await self._fanout.run(await self._numbering.run())
            except DomainError as error:
                log.info("events.not_numbered", error=str(error))
