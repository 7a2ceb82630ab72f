"""How a process learns that events can be read which another process, or itself, has stored."""

from collections.abc import AsyncGenerator
from typing import Protocol


class EventSignals(Protocol):
    """Signals that there may be new events. A signal may come for nothing, and several may be one."""

    def receive(self) -> AsyncGenerator[None, None]:
        """Yield soon after events can be read, and from time to time without a reason, until closed."""
        ...
