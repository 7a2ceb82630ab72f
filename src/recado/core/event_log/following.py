"""Follow the events of owners as they come: one reading of the log for all that follow, whichever owner they follow.

A follower misses nothing. It is registered first, so that whatever is read from then on reaches its queue; then it is
given what is in the log after its own cursor; then its queue, without what it has had. One that cannot keep up is cut
off, and goes on after its last event when it comes again.

The reading costs nothing for owners that have nothing new: it asks for the numbers after the last one, of all owners,
and then for the events of those that are followed. The only task here runs while somebody follows.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

import structlog

from recado.core.errors import DomainError
from recado.core.event_log.models import Event
from recado.core.event_log.reading import MOST, EventReading
from recado.core.event_log.signals.contract import EventSignals

log = structlog.get_logger(__name__)

QUEUED: Final = 2_000
"""How many events a follower may be behind."""
_PAUSE: Final = 0.5


class TooSlow(Exception):
    """A follower did not keep up."""


class TooManyFollowers(DomainError):
    """As many follow the events of this owner as may, or of all owners together."""

    code = "events.too_many_streams"
    status = 429


@dataclass(frozen=True, slots=True)
class FollowLimits:
    """How many may follow in one process: the connections of a server are for others too."""

    followers: int = 2_048
    of_one_owner: int = 1_024
    quiet_seconds: float = 15.0
    """After this time without an event a follower is told so: nobody on the way shall believe the connection dead."""


@dataclass(slots=True, eq=False)
class _Follower:
    """Somebody who follows an owner's events."""

    waiting: list[Event] = field(default_factory=list)
    cut_off: bool = False
    _sleeping: "asyncio.Future[None] | None" = None

    def put(self, events: Sequence[Event]) -> None:
        if len(self.waiting) + len(events) > QUEUED:
            self.cut_off = True
        if not self.cut_off:
            self.waiting += events
        self.wake()

    def wake(self) -> None:
        """Let it look now, whatever there is."""
        if self._sleeping is not None and not self._sleeping.done():
            self._sleeping.set_result(None)

    async def take(self, seconds: float) -> Sequence[Event]:
        """Return all that waits, or nothing when nothing came for so long."""
        if not self.waiting:
            # A bare future: a thousand followers wake for each event, and `asyncio.timeout` takes as long as the rest.
            loop = asyncio.get_running_loop()
            self._sleeping = loop.create_future()
            timer = loop.call_later(seconds, self.wake)
            try:
                await self._sleeping
            finally:
                timer.cancel()
                self._sleeping = None
        taken, self.waiting = self.waiting, []
        return taken


class EventFollowing:
    """Gives events to followers. One per process."""

    def __init__(self, reading: EventReading, signals: EventSignals, limits: FollowLimits | None = None) -> None:
        self._limits = limits or FollowLimits()
        self._reading = reading
        self._signals = signals
        self._followers: dict[UUID, set[_Follower]] = {}
        self._position: int | None = None
        """The last number that was read, while somebody follows."""
        self._task: asyncio.Task[None] | None = None
        self._stopped = False

    @property
    def is_at_work(self) -> bool:
        """Whether somebody follows."""
        return self._task is not None

    def stop(self) -> None:
        """End everything that is followed, so that a server which stops does not wait for it."""
        self._stopped = True
        for followers in self._followers.values():
            for follower in followers:
                follower.wake()

    async def follow(self, owner_id: UUID, after: str | None) -> AsyncGenerator[Sequence[Event], None]:
        """Yield an owner's events after a cursor, or from now on, as many as there are at a time.

        Yields nothing once when it is ready, and after each quiet time. Raises `InvalidInput`, `CursorUnknown` and
        `TooManyFollowers` before that, and `TooSlow`.
        """
        number = None if after is None else await self._reading.number_of(owner_id, after)
        position = await self._known_position()
        follower = self._join(owner_id)
        try:
            number = position if number is None else number
            yield ()
            while page := await self._reading.after(owner_id, number):
                number = page[-1].number
                yield page
                if len(page) < MOST:
                    break
            while not (self._stopped or follower.cut_off):
                taken = await follower.take(self._limits.quiet_seconds)
                fresh = [event for event in taken if event.number > number]
                if fresh or not taken:
                    yield fresh
            if follower.cut_off:
                raise TooSlow
        finally:
            self._leave(owner_id, follower)

    async def _known_position(self) -> int:
        if self._position is None:
            newest = await self._reading.newest_of_all()
            if self._position is None:  # Another follower may have begun meanwhile.
                self._position = newest
        return self._position

    def _join(self, owner_id: UUID) -> _Follower:
        limits, followers = self._limits, self._followers.get(owner_id, set())
        if len(followers) >= limits.of_one_owner or sum(map(len, self._followers.values())) >= limits.followers:
            raise TooManyFollowers("too many streams are open; close one, or read /api/v1/events from time to time")
        follower = _Follower()
        self._followers.setdefault(owner_id, followers).add(follower)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        return follower

    def _leave(self, owner_id: UUID, follower: _Follower) -> None:
        followers = self._followers[owner_id]
        followers.discard(follower)
        if not followers:
            del self._followers[owner_id]
        if not self._followers and self._task is not None:
            self._task.cancel()
            self._task = self._position = None

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
        position = await self._known_position()
        new = await self._reading.numbers_after(position)
        if not new:
            return False
        # Who joins from here on finds all of these in the log.
        followed, last = {each.owner_id for each in new} & self._followers.keys(), new[-1].number
        found = await self._reading.between(followed, position, last) if followed else {}
        for owner_id, events in found.items():
            for follower in self._followers.get(owner_id, ()):
                follower.put(events)
        self._position = last
        return len(new) == MOST
