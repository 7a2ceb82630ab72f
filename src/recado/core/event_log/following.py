"""Follow the events of owners as they come: one reading of the log for all that follow the same owner.

A follower misses nothing. It is registered first, so that whatever is read from then on reaches its queue; then it is
given what is in the log after its own cursor; then its queue, without what it has had. One that cannot keep up is cut
off, and goes on after its last event when it comes again.

The only task here runs while somebody follows.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

import structlog

from recado.core.database.engine import Database
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.errors import DomainError
from recado.core.event_log.models import Event
from recado.core.event_log.reading import MOST, EventReading, Events
from recado.core.event_log.signals.contract import EventSignals

log = structlog.get_logger(__name__)

QUEUED: Final = 2_000
"""How many events a follower may be behind."""
_PAUSE: Final = 0.5


class TooSlow(Exception):
    """A follower did not keep up."""


@dataclass(slots=True, eq=False)
class _Follower:
    """Somebody who follows an owner's events."""

    queue: "asyncio.Queue[Event]" = field(default_factory=lambda: asyncio.Queue(QUEUED))
    cut_off: bool = False

    def put(self, events: Sequence[Event]) -> None:
        for event in events:
            if self.cut_off or self.queue.full():
                self.cut_off = True
                return
            self.queue.put_nowait(event)


@dataclass(slots=True, eq=False)
class _Feed:
    """The events of one owner: up to which they were read, and who follows."""

    position: int
    followers: set[_Follower] = field(default_factory=set)


class EventFollowing:
    """Gives events to followers. One per process."""

    def __init__(self, database: Database, reading: EventReading, signals: EventSignals) -> None:
        self._database = database
        self._reading = reading
        self._signals = signals
        self._feeds: dict[UUID, _Feed] = {}
        self._task: asyncio.Task[None] | None = None

    @property
    def is_at_work(self) -> bool:
        """Whether somebody follows."""
        return self._task is not None

    async def follow(self, owner_id: UUID, after: str | None) -> AsyncGenerator[Event | None, None]:
        """Yield an owner's events after a cursor, or from now on; None when it is ready for those to come.

        Raises `InvalidInput` and `CursorUnknown` before the first, and `TooSlow`.
        """
        number = None if after is None else await self._reading.number_of(owner_id, after)
        newest = await self._reading.newest_number(owner_id)
        feed = self._feeds.setdefault(owner_id, _Feed(newest))
        follower = _Follower()
        feed.followers.add(follower)
        self._start()
        try:
            number = feed.position if number is None else number
            yield None
            while page := await self._reading.after(owner_id, number):
                for event in page:
                    number = event.number
                    yield event
                if len(page) < MOST:
                    break
            while not follower.cut_off:
                event = await follower.queue.get()
                if event.number > number:
                    yield event
            raise TooSlow
        finally:
            self._leave(owner_id, feed, follower)

    def _start(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    def _leave(self, owner_id: UUID, feed: _Feed, follower: _Follower) -> None:
        feed.followers.discard(follower)
        if not feed.followers and self._feeds.get(owner_id) is feed:
            del self._feeds[owner_id]
        if not self._feeds and self._task is not None:
            self._task.cancel()
            self._task = None

    async def _run(self) -> None:
        async with aclosing(self._signals.receive()) as signals:
            async for _ in signals:
                try:
                    while await self._read():
                        pass
                except DomainError as error:  # The next signal reads the same events.
                    log.info("events.not_read", error=str(error))
                    await asyncio.sleep(_PAUSE)

    async def _read(self) -> bool:
        """Give what is new to all followers. Return whether there may be more."""
        positions = {owner_id: feed.position for owner_id, feed in self._feeds.items()}
        found = await self._database.read(lambda uow: _after(uow, positions), owner=None)
        for owner_id, events in found.items():
            feed = self._feeds.get(owner_id)
            if feed is None or not events:
                continue
            fresh = [event for event in events if event.number > feed.position]
            if fresh:
                feed.position = fresh[-1].number
            for follower in feed.followers:
                follower.put(fresh)
        return any(len(events) == MOST for events in found.values())


def _after(uow: UnitOfWork, positions: Mapping[UUID, int]) -> Mapping[UUID, Sequence[Event]]:
    return {owner_id: Events(uow.for_owner(owner_id)).after(number, MOST) for owner_id, number in positions.items()}
