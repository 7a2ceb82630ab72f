"""Who wakes the worker.

A delivery may forget, repeat or reorder: the row decides. A wake-up says "claim the best due job"; its id is for
traces. Pinned by tests/contracts/.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID


@dataclass(frozen=True, slots=True)
class WakeUp:
    """Something is, or may be, due."""

    job_id: UUID | None = None
    lane: str | None = None
    dispatch: int = 0


class Delivery(Protocol):
    """The bell between those who store jobs and those who run them."""

    async def publish(self, wakeups: Sequence[WakeUp]) -> None:
        """Ring for due jobs; called by the relay only, never in a webhook."""
        ...

    def receive(self) -> AsyncIterator[WakeUp]:
        """Wake-ups, for ever."""
        ...

    async def close(self) -> None: ...
