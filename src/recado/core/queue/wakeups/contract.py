"""Wake-up sources: how a worker learns that a job may be due.

A delivery may forget, repeat or reorder wake-ups: the row decides. A wake-up means "claim the best due job"; its id is
for traces. tests/contracts/delivery.py is the suite of every delivery.
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
    """A job is due, or may be."""

    job_id: UUID | None = None
    lane: Lane | None = None
    dispatch: int = 0

    @property
    def key(self) -> str:
        """The id of this wake-up at a broker: new for each dispatch of a job, because brokers refuse ids they know."""
        return f"{self.job_id}-{self.dispatch}"


Room: TypeAlias = Callable[[], int]
"""Returns how many jobs the worker has room for. A wake-up received without room is lost to idle workers."""


@dataclass(frozen=True, slots=True)
class BrokerState:
    """The state of a broker. `warnings` are sentences for operators, `detail` is for machines."""

    name: str
    reachable: bool
    warnings: Sequence[str] = ()
    detail: tuple[tuple[str, str], ...] = ()


def log_loss(source: str, why: str, *, lost: bool) -> Literal[True]:
    """Log once that a wake-up source is lost. Return the new value of `lost`."""
    if not lost:
        log.warning("queue.wakeups_lost", source=source, error=why, doing="workers poll the table")
    return True


def log_return(source: str, *, lost: bool) -> Literal[False]:
    """Log that a wake-up source is back. Return the new value of `lost`."""
    if lost:
        log.warning("queue.wakeups_back", source=source)
    return False


class Delivery(Protocol):
    """Carries wake-ups from the processes that store jobs to the workers."""

    async def publish(self, wakeups: Sequence[WakeUp]) -> None:
        """Publish wake-ups for due jobs. Called by maintenance only, never in a webhook. Raises `BrokerLost`."""
        ...

    def receive(self, room: Room) -> AsyncGenerator[WakeUp, None]:
        """Yield wake-ups until closed. Each is removed from the broker before it is yielded."""
        ...

    async def close(self) -> None:
        """Close connections."""
        ...


@runtime_checkable
class Broker(Delivery, Protocol):
    """A delivery through a server of its own."""

    async def forgot(self) -> bool:
        """Return whether it may have lost wake-ups since the last call (best effort). Raises `BrokerLost`."""
        ...

    async def state(self) -> BrokerState:
        """Return whether it can be reached and what operators should change. Never raises."""
        ...
