"""The only place that asks the machine what time it is.

Everything else is handed a `Clock`, so that a test or a simulator decides the time and an hour's wait costs nothing.
"""

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Tells the time, always aware and always UTC, and a monotonic count of seconds for measuring spans."""

    def now(self) -> datetime: ...

    def monotonic(self) -> float: ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)  # noqa: TID251 - this is the one place

    def monotonic(self) -> float:
        return time.monotonic()


class ServerClock:
    """The clock of a server that several hosts share, as far as it is known: the machine's, set right by an offset.

    Whoever talks to the server tells what it said, and no one else asks it: telling the time costs nothing and never
    waits. Hosts whose clocks differ by an hour then agree on leases and due times to within a round trip.
    """

    def __init__(self, host: Clock) -> None:
        self._host = host
        self._offset = timedelta()

    def now(self) -> datetime:
        return self._host.now() + self._offset

    def monotonic(self) -> float:
        return self._host.monotonic()

    def synchronize(self, server: datetime, asked: float, answered: float) -> None:
        """The server's time, said between two moments of our monotonic clock.

        What lies within the doubt that a round trip leaves changes nothing, so that the clock does not tremble.
        """
        half = timedelta(seconds=(answered - asked) / 2)
        before, host, after = self._host.monotonic(), self._host.now(), self._host.monotonic()
        offset = server + half + timedelta(seconds=before - answered) - host
        # This thread may have stood still between the two looks at our own clock; that is doubt, and no news.
        if abs(offset - self._offset) > half + timedelta(seconds=after - before):
            self._offset = offset


class FrozenClock:
    """A clock that moves only when told to: for tests, and for anything that must not depend on when it runs."""

    def __init__(self, at: datetime) -> None:
        if at.tzinfo is None:
            raise ValueError("a clock needs an aware datetime")
        self._now = at.astimezone(UTC)
        self._monotonic = 0.0

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, by: timedelta) -> None:
        self._now += by
        self._monotonic += by.total_seconds()

    def jump(self, by: timedelta) -> None:
        """As if it had been set: what measures spans goes on as before."""
        self._now += by
