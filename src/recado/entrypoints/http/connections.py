"""All connections of a server: their number, the memory they hold, and their deadlines.

A limit per address would hit proxies, behind which all callers share one address. So the total cost is limited. Above
the limit the server closes the connection that has been silent longest without proving its identity, or the one that
holds most memory.

Time is counted in ticks of a timer. After the event loop was blocked for seconds there is one tick, not many: the data
that callers sent meanwhile is still unread in the kernel, and none of them is late.
"""

import asyncio
import math
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator
from typing import Final, Literal, Protocol, TypeAlias

import structlog

from recado.core.metrics import REFUSED, Meters
from recado.entrypoints.http.limits import TICK_SECONDS, Limits

log = structlog.get_logger(__name__)

Reason: TypeAlias = Literal["head", "body", "malformed", "silent", "slow", "crowded", "memory", "pipelined", "unread"]

Trusts: TypeAlias = Callable[[str, int], bool]
"""Returns whether an answer with this status on this path proves the identity of the caller."""

TURN: Final = 8
"""Requests, except webhooks, that start in one turn of the event loop. A request that arrives during a thousand health
checks waits for eight of them, not for all."""

TICKS_PER_LOG: Final = 10
"""Refusals are logged at most once in this many ticks, so that an attack does not fill the disk."""


class Member(Protocol):
    """What `Connections` knows of a connection."""

    trusted: bool
    """A signed request, or one with a key, came over it."""
    held: int
    deadline: int
    pool: "Pool | None"

    def overdue(self) -> None:
        """Handle a passed deadline."""

    def close_idle(self) -> None:
        """Free the memory of unfinished requests and close, because memory is short."""

    def abort(self) -> None:
        """Close it now. Unwritten data is lost."""


Pool: TypeAlias = "OrderedDict[Member, None]"


class Connections:
    """The connections of one process, in pools ordered by the time of entry.

    A connection whose request is being answered is in no pool: the application has its own time limits.
    """

    def __init__(self, limits: Limits, meters: Meters, trusts: Trusts, *, tick_seconds: float = TICK_SECONDS) -> None:
        self.limits = limits
        self.trusts = trusts
        self._meters = meters
        self._tick_seconds = tick_seconds
        self._waiting: Pool = OrderedDict()
        self._trusted: Pool = OrderedDict()
        self._unread: Pool = OrderedDict()
        self._leaving: Pool = OrderedDict()
        self.arrivals = 0
        """The number of connections since the start."""
        self._open = 0
        self._held = 0
        self._now = 0
        self._begun = 0
        self._queued = deque[Callable[[], None]]()
        self._timer: asyncio.TimerHandle | None = None
        self._unsaid = Counter[Reason]()
        self._said_at = -TICKS_PER_LOG
        self.head_ticks = _ticks(limits.head_seconds)
        self.body_ticks = _ticks(limits.body_seconds)

    @property
    def open(self) -> int:
        """The number of open connections."""
        return self._open

    @property
    def held(self) -> int:
        """Bytes of unanswered requests."""
        return self._held

    # --- The life of a connection -------------------------------------------------------------------------------------

    def arrived(self, member: Member) -> bool:
        """Add a connection if there is room. At the limit, close the one that has been silent longest."""
        self.arrivals += 1
        if self._open >= self.limits.connections and not self._make_room():
            self.refused("crowded")
            return False
        self._open += 1
        self.waits(member, self.head_ticks)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._tick_seconds, self._on_timer)
        return True

    def waits(self, member: Member, ticks: int) -> None:
        """Expect its next bytes within so many ticks."""
        self._move(member, self._trusted if member.trusted else self._waiting, ticks)

    def idles(self, member: Member) -> None:
        """Keep it open after an answer, for another request."""
        limits = self.limits
        self.waits(member, _ticks(limits.trusted_idle_seconds if member.trusted else limits.idle_seconds))

    def busy(self, member: Member) -> None:
        """Take it out of its pool while the application handles its request."""
        pool = member.pool
        if pool is not None:
            del pool[member]
            member.pool = None

    def unread(self, member: Member) -> None:
        """Note that the caller does not read its answer."""
        self._move(member, self._unread, _ticks(self.limits.unread_seconds))

    def leaves(self, member: Member, *, unread: bool) -> None:
        """Close it after its pending data is sent."""
        limits = self.limits
        self._move(member, self._leaving, _ticks(limits.unread_seconds if unread else limits.leave_seconds))

    def left(self, member: Member) -> None:
        """Remove a closed connection."""
        self.busy(member)
        self.frees(member, member.held)
        self._open -= 1

    def stop(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()

    def in_turn(self, begin: Callable[[], None]) -> None:
        """Start a request in this turn of the loop, or in a later one when there are many."""
        if self._begun >= TURN:
            self._queued.append(begin)
            return
        if not self._begun:
            asyncio.get_running_loop().call_soon(self._turn)
        self._begun += 1
        begin()

    def _turn(self) -> None:
        self._begun = min(TURN, len(self._queued))
        for _ in range(self._begun):
            self._queued.popleft()()
        if self._begun:
            asyncio.get_running_loop().call_soon(self._turn)

    # --- Memory -------------------------------------------------------------------------------------------------------

    def holds(self, member: Member, more: int) -> None:
        """Count further bytes that are kept until the request is answered."""
        member.held += more
        self._held += more
        if self._held > self.limits.held_bytes:
            self._relieve(member)

    def frees(self, member: Member, less: int) -> None:
        """Count bytes that are not kept any more."""
        member.held -= less
        self._held -= less

    def _relieve(self, latest: Member) -> None:
        """Close the largest connections until an eighth is free, because finding the largest reads all of them."""
        enough = self.limits.held_bytes * 7 // 8
        for pool in (self._waiting, self._trusted):
            for member in sorted(pool, key=_held, reverse=True):
                if self._held <= enough or not member.held:
                    break
                self.refused("memory")
                member.close_idle()
        if self._held > self.limits.held_bytes and latest.pool is None:  # It sends more while it waits for an answer.
            self.refused("memory")
            latest.close_idle()

    # --- Too many, too late -------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Advance the time by one tick, and handle the deadlines that have passed."""
        self._now += 1
        for pool in (self._waiting, self._trusted):
            for member in self._due(pool):
                member.overdue()
        for member in self._due(self._unread):
            self.refused("unread")
            member.abort()
        for member in self._due(self._leaving):
            member.abort()
        if self._unsaid and self._now >= self._said_at + TICKS_PER_LOG:
            log.warning("serve.refused", **dict(self._unsaid), open=self._open, held_bytes=self._held)
            self._unsaid.clear()
            self._said_at = self._now

    def refused(self, reason: Reason) -> None:
        """Count a refusal. The log shows the counts from time to time."""
        self._meters.count(REFUSED, reason)
        self._unsaid[reason] += 1

    def _on_timer(self) -> None:
        self.tick()
        again = self._open or self._unsaid
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._tick_seconds, self._on_timer) if again else None

    def _make_room(self) -> bool:
        """Close the least useful connection. Returns False when every connection waits for an answer."""
        member = next(self._spared(), None)
        if member is None:
            return False
        if member.pool is not self._leaving:
            self.refused("crowded")
        member.abort()
        return True

    def _spared(self) -> Iterator[Member]:
        """Yield closing connections first, then untrusted ones that do not read or are silent, then trusted ones."""
        yield from self._leaving
        yield from (member for member in self._unread if not member.trusted)
        yield from self._waiting
        yield from self._trusted
        yield from self._unread

    def _move(self, member: Member, pool: Pool, ticks: int) -> None:
        member.deadline = self._now + ticks
        if member.pool is not pool:
            self.busy(member)
            member.pool = pool
            pool[member] = None

    def _due(self, pool: Pool) -> list[Member]:
        return [member for member in pool if member.deadline <= self._now]


def _ticks(seconds: float) -> int:
    """Return the number of ticks, and one more because the current tick may be nearly over."""
    return math.ceil(seconds / TICK_SECONDS) + 1


def _held(member: Member) -> int:
    return member.held
