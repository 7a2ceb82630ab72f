"""Who wakes the worker.

A delivery may forget, repeat or reorder: the row decides. A wake-up says "claim the best due job"; its id is for
traces. Pinned by tests/contracts/delivery.py.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, runtime_checkable
from uuid import UUID

import structlog

from recado.core.queue.lane import Lane

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class WakeUp:
    """Something is, or may be, due."""

    job_id: UUID | None = None
    lane: Lane | None = None
    dispatch: int = 0

    @property
    def key(self) -> str:
        """The name of this one ring: new for each dispatch of a job, for brokers remember the names they have seen."""
        return f"{self.job_id}-{self.dispatch}"


Room: TypeAlias = Callable[[], int]
"""How many jobs the worker could take now: a broker's wake-up that is taken without room is kept from idle workers."""


@dataclass(frozen=True, slots=True)
class BrokerState:
    """What a broker says of itself: `warnings` are sentences for whoever runs it, `detail` is for machines."""

    name: str
    reachable: bool
    warnings: Sequence[str] = ()
    detail: tuple[tuple[str, str], ...] = ()


def log_loss(source: str, why: str, *, lost: bool) -> Literal[True]:
    """Say once that a bell cannot be heard, however often it is tried; workers look at the table meanwhile."""
    if not lost:
        log.warning("queue.wakeups_lost", source=source, error=why, doing="workers look by themselves")
    return True


def log_return(source: str, *, lost: bool) -> Literal[False]:
    """Say that a bell is heard again."""
    if lost:
        log.warning("queue.wakeups_back", source=source)
    return False


class Delivery(Protocol):
    """The bell between those who store jobs and those who run them."""

    async def publish(self, wakeups: Sequence[WakeUp]) -> None:
        """Ring for due jobs; called by the relay only, never in a webhook. Raises `BrokerLost`."""
        ...

    def receive(self, room: Room) -> AsyncGenerator[WakeUp, None]:
        """Wake-ups, for ever; each is forgotten by the broker before it is given."""
        ...

    async def close(self) -> None: ...


@runtime_checkable
class Broker(Delivery, Protocol):
    """A delivery that is a server of its own."""

    async def forgot(self) -> bool:
        """Whether it may have lost wake-ups since it was last asked; best effort. Raises `BrokerLost`."""
        ...

    async def state(self) -> BrokerState:
        """Whether it can be reached, and what about it should be changed; never raises."""
        ...
