"""How the broker is, for probes that ask every second and must not wait for it.

A server without its broker still receives and stores messages, so an ill broker makes it unready never: a load balancer
that took the server away would turn slow answers into lost webhooks. It is said all the same.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from recado.core.clock import Clock
from recado.core.queue.delivery import Broker, BrokerState

REMEMBER_SECONDS: Final = 5.0
PATIENCE_SECONDS: Final = 0.5
"""Half of what Kubernetes gives a probe by default."""


class BrokerWatch:
    """Asks the broker now and then, once for all who want to know."""

    def __init__(self, name: str, broker: Callable[[], Broker | None], clock: Clock) -> None:
        self._name = name
        self._broker = broker
        self._clock = clock
        self._asking = asyncio.Lock()
        self._known: BrokerState | None = None
        self._until = 0.0

    async def state(self) -> BrokerState | None:
        """What it said of itself some seconds ago at most; None where the database rings by itself."""
        broker = self._broker()
        if broker is None:
            return None
        async with self._asking:
            if self._known is None or self._clock.monotonic() >= self._until:
                self._known = await self._asked(broker)
                self._until = self._clock.monotonic() + REMEMBER_SECONDS
            return self._known

    async def close(self) -> None:
        """Let go of the broker."""
        broker = self._broker()
        if broker is not None:
            await broker.close()

    async def _asked(self, broker: Broker) -> BrokerState:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await broker.state()
        except TimeoutError:
            return BrokerState(self._name, False, (f"It did not answer within {PATIENCE_SECONDS:g} s.",))
