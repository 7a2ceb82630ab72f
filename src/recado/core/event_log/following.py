"""Follow the events of owners as they come: one reading of the log for all that follow the same owner.

A follower misses nothing. It is registered first, so that whatever is read from then on reaches its queue; then it is
given what is in the log after its own cursor; then its queue, without what it has had. One that cannot keep up is cut
off, and goes on after its last event when it comes again.

The only task here runs while somebody follows.
"""

import asyncio
import contextlib
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

QUIET_SECONDS: Final = 15.0
"""After this time without an event a follower is told so: nobody on the way shall believe that a connection is dead."""
QUEUED: Final = 2_000
"""How many events a follower may be behind."""
_PAUSE: Final = 0.5


class TooSlow(Exception):
    """A follower did not keep up."""


@dataclass(slots=True, eq=False)
class _Follower:
    """Somebody who follows an owner's events."""

    waiting: list[Event] = field(default_factory=list)
    has_some: asyncio.Event = field(default_factory=asyncio.Event)
    cut_off: bool = False

    def put(self, events: Sequence[Event]) -> None:
        if len(self.waiting) + len(events) > QUEUED:
            self.cut_off = True
        if not self.cut_off:
            self.waiting += events
        self.has_some.set()

    async def take(self, seconds: float) -> Sequence[Event]:
        """Return all that waits, or nothing when nothing came for so long."""
        with contextlib.suppress(TimeoutError):
            # Not `wait_for`: it loses a cancellation that comes together with the event.
            async with asyncio.timeout(seconds):
                await self.has_some.wait()
        taken, self.waiting = self.waiting, []
        self.has_some.clear()
        return taken


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

    async def follow(
        self, owner_id: UUID, after: str | None, *, quiet_seconds: float = QUIET_SECONDS
    ) -> AsyncGenerator[Sequence[Event], None]:
        """Yield an owner's events after a cursor, or from now on, as many as there are at a time.

        Yields nothing once when it is ready, and after each quiet time. Raises `InvalidInput` and `CursorUnknown`
        before that, and `TooSlow`.
        """
        number = None if after is None else await self._reading.number_of(owner_id, after)
        newest = await self._reading.newest_number(owner_id)
        feed = self._feeds.setdefault(owner_id, _Feed(newest))
        follower = _Follower()
        feed.followers.add(follower)
        self._start()
        try:
            number = feed.position if number is None else number
            yield ()
            while page := await self._reading.after(owner_id, number):
                number = page[-1].number
                yield page
                if len(page) < MOST:
                    break
            while not follower.cut_off:
                taken = await follower.take(quiet_seconds)
                fresh = [event for event in taken if event.number > number]
                if fresh or not taken:
                    yield fresh
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
