"""What everything in one simulated world shares: its time, its chance, its trace, and the truth about what happened.

The truth is written by the played outside only (Twilio, agents, customers). The product never reads it, and the oracle
believes nothing else about what customers received.
"""

import random
import re
import sys
import traceback
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from uuid import UUID

from recado.channels.models import KnownAddress
from recado.conversation.values import Address
from tests.chaos.simulator.loop import PROCESS, Process, SimClock, VirtualLoop
from tests.chaos.simulator.plan import Plan

TAG = re.compile(r"#(\d+)\b")


@dataclass(eq=False)
class Said:
    """A message a customer sent."""

    number: int
    sid: str
    sender: str
    ours: str
    text: str
    at: float
    created_at: datetime
    acknowledged: bool = False
    """The provider got its 200 at least once."""
    pigeon: bool = False
    """It came through the second channel, which has no list of what it received."""


@dataclass(eq=False)
class Received:
    """A message a customer's phone shows."""

    sid: str
    ref: UUID
    """The attempt it was accepted for."""
    to: str
    ours: str
    text: str
    at: float
    created_at: datetime
    listed_from: float

    @property
    def tags(self) -> frozenset[int]:
        """The customer's messages this was made from."""
        return frozenset(int(tag) for tag in TAG.findall(self.text))


@dataclass(eq=False)
class Run:
    """One run of an agent."""

    number: int
    turn_id: UUID
    tags: tuple[int, ...]
    process: Process
    began: float
    ended: float | None = None

    @property
    def over(self) -> bool:
        return self.ended is not None or not self.process.alive


@dataclass
class Truth:
    """What really happened outside."""

    said: dict[int, Said] = field(default_factory=dict)
    received: list[Received] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    effects: Counter[str] = field(default_factory=Counter)
    surprises: list[str] = field(default_factory=list)
    """Errors nobody played: the product's own."""
    hardships: list[float] = field(default_factory=list)
    """Moments at which living workers may have lost their leases (clock, storage)."""


class World:
    """One seed's world."""

    def __init__(self, plan: Plan, chance: random.Random, *, tell: Callable[[str], None] | None = None) -> None:
        self.plan = plan
        self.chance = chance
        self.loop = VirtualLoop()
        self.clock = SimClock(self.loop)
        self.truth = Truth()
        self.counts: Counter[str] = Counter()
        self.digest = 0
        self.addresses: dict[str, KnownAddress] = {}
        """Our numbers, as the directory knows them."""
        self.faults_over = False
        """The faults are over; everything has to come to its end now."""
        self._tell = tell

    def happens(self, fault: str) -> bool:
        """Whether a fault of this world strikes here."""
        rate = self.plan.rate(fault)
        if rate <= 0.0 or self.faults_over or self.chance.random() >= rate:
            return False
        self.counts[fault] += 1
        self.trace(f"! {fault}")
        return True

    def delay_expected(self) -> None:
        """From here on, living workers may lose their leases."""
        self.truth.hardships.append(self.loop.time())

    def suspend(self, process: Process, most: float) -> None:
        """As with SIGSTOP, or a virtual machine that is moved: later it goes on as if nothing had been."""
        seconds = most * self.chance.random()
        self.delay_expected()
        self.trace(f"{process.name} stands still for {seconds:.1f}s")
        process.stopped = True
        process.last_disturbed = self.loop.time()
        self.loop.later(seconds, partial(self.loop.resume, process))

    def lane_of(self, run: Run) -> tuple[str, str] | None:
        """Whose messages a run was given: our number and the customer."""
        said = [self.truth.said[tag] for tag in run.tags]
        return (said[0].ours, Address(said[0].sender).match_key) if said else None

    def over(self) -> None:
        """What is heard from now on is the noise of its end."""
        self._tell = None

    @property
    def traces(self) -> bool:
        return self._tell is not None

    def last_error(self) -> BaseException | None:
        return sys.exception() if sys.version_info >= (3, 11) else sys.exc_info()[1]

    def explain(self) -> None:
        """The whole story of the error at hand, for a reader of the trace."""
        if self._tell is not None:
            self._tell(traceback.format_exc())

    def trace(self, what: str) -> None:
        """Remember an event; the digest of all of them tells whether two runs were the same."""
        process = PROCESS.get()
        line = f"{self.loop.time():12.4f} {process.name if process else '-':<12} {what}"
        self.digest = zlib.crc32(line.encode(), self.digest)
        if self._tell is not None:
            self._tell(f"{self.clock.now():%d %H:%M:%S} {line}")
