"""All connections of a server: how many there are, what they hold, how long each has to say something.

A limit per address would hit proxies, behind which all callers have one. What is limited is what all together cost;
and when that is too much, the one goes that has waited longest without proving anything, or that holds most.

Time is counted in ticks that a timer makes. A loop that stood still for seconds makes one tick afterwards, not many:
what callers sent meanwhile lies unread in the kernel, and none of them is late.
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
"""Whether an answer with this status on this path proves that the caller is known."""

TURN: Final = 8
"""Requests that are begun in one turn of the loop, webhooks apart. A thousand health checks at once take as long as
before; what comes in meanwhile waits for eight of them and not for all."""

TICKS_PER_LOG: Final = 10
"""At most one line in as many ticks tells what was refused: an attack must not fill the disk."""


class Member(Protocol):
    """What is known of a connection here."""

    trusted: bool
    """Something signed, or with a key, came over it."""
    held: int
    deadline: int
    pool: "Pool | None"

    def overdue(self) -> None:
        """It was waited for, and the time is up."""

    def close_idle(self) -> None:
        """It holds too much while there is too little: it frees what is not with the application, and goes."""

    def abort(self) -> None:
        """End it now; what was not written is lost."""


Pool: TypeAlias = "OrderedDict[Member, None]"


class Connections:
    """The connections of one process, in pools ordered by how long each has been in it.

    One whose request is being answered is in none: the application has time-outs of its own.
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
        """How many ever came."""
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
        """How many there are."""
        return self._open

    @property
    def held(self) -> int:
        """Bytes of requests that are not answered."""
        return self._held

    # --- The life of a connection -------------------------------------------------------------------------------------

    def arrived(self, member: Member) -> bool:
        """Whether there is room for it. At the limit the one that has been silent longest makes it."""
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
        """Its next bytes must come in as many ticks."""
        self._move(member, self._trusted if member.trusted else self._waiting, ticks)

    def idles(self, member: Member) -> None:
        """It was answered; its next request may come or not."""
        limits = self.limits
        self.waits(member, _ticks(limits.trusted_idle_seconds if member.trusted else limits.idle_seconds))

    def busy(self, member: Member) -> None:
        """Its request is with the application."""
        pool = member.pool
        if pool is not None:
            del pool[member]
            member.pool = None

    def unread(self, member: Member) -> None:
        """What was written to it does not go out."""
        self._move(member, self._unread, _ticks(self.limits.unread_seconds))

    def leaves(self, member: Member, *, unread: bool) -> None:
        """It is being closed, when what was written to it has gone out."""
        limits = self.limits
        self._move(member, self._leaving, _ticks(limits.unread_seconds if unread else limits.leave_seconds))

    def left(self, member: Member) -> None:
        """It is gone."""
        self.busy(member)
        self.frees(member, member.held)
        self._open -= 1

    def stop(self) -> None:
        """Let no more time pass."""
        if self._timer is not None:
            self._timer.cancel()

    def in_turn(self, begin: Callable[[], None]) -> None:
        """Begin it in this turn of the loop, or in a later one when many ask at once."""
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
        """It has sent so many bytes more, which are kept until they are answered."""
        member.held += more
        self._held += more
        if self._held > self.limits.held_bytes:
            self._relieve(member)

    def frees(self, member: Member, less: int) -> None:
        """So many of its bytes are kept no longer."""
        member.held -= less
        self._held -= less

    def _relieve(self, latest: Member) -> None:
        """An eighth at once, since looking for the largest looks at all."""
        enough = self.limits.held_bytes * 7 // 8
        for pool in (self._waiting, self._trusted):
            for member in sorted(pool, key=_held, reverse=True):
                if self._held <= enough or not member.held:
                    break
                self.refused("memory")
                member.close_idle()
        if self._held > self.limits.held_bytes and latest.pool is None:  # It sends more while it is being answered.
            self.refused("memory")
            latest.close_idle()

    # --- Too many, too late -------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Let a tick pass."""
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
        """Count it; the log tells it with the next tick that may."""
        self._meters.count(REFUSED, reason)
        self._unsaid[reason] += 1

    def _on_timer(self) -> None:
        self.tick()
        again = self._open or self._unsaid
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._tick_seconds, self._on_timer) if again else None

    def _make_room(self) -> bool:
        """End the connection that can best be spared; False where each is being answered."""
        member = next(self._spared(), None)
        if member is None:
            return False
        if member.pool is not self._leaving:
            self.refused("crowded")
        member.abort()
        return True

    def _spared(self) -> Iterator[Member]:
        """Those that end anyway, strangers who do not read, silent strangers, and then whom we know."""
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
    """One more than it takes: the one that is running may be nearly over."""
    return math.ceil(seconds / TICK_SECONDS) + 1


def _held(member: Member) -> int:
    return member.held
