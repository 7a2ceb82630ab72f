"""The only place that asks the machine what time it is.

Everything else is handed a `Clock`, so that a test or a simulator decides the time and an hour's wait costs nothing.
"""

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Tell the time: `now` is aware and in UTC, `monotonic` counts seconds for measuring spans."""

    def now(self) -> datetime: ...

    def monotonic(self) -> float: ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)  # noqa: TID251 - this is the one place

    def monotonic(self) -> float:
        return time.monotonic()


class ServerClock:
    """The clock of a server that several hosts share: the machine's clock, corrected by an offset.

    Every answer of the server brings its time along, so reading this clock costs nothing and never waits. Hosts whose
    own clocks differ by an hour then agree on leases and due times to within a round trip.
    """

    def __init__(self, host: Clock) -> None:
        self._host = host
        self._offset = timedelta()

    def now(self) -> datetime:
        return self._host.now() + self._offset

    def monotonic(self) -> float:
        return self._host.monotonic()

    def synchronize(self, server: datetime, asked: float, answered: float) -> None:
        """Correct the offset by the server's time, which it told between two readings of our monotonic clock.

        A difference smaller than the uncertainty of the round trip is ignored, so that the clock does not jitter.
        """
        half = timedelta(seconds=(answered - asked) / 2)
        before, host, after = self._host.monotonic(), self._host.now(), self._host.monotonic()
        offset = server + half + timedelta(seconds=before - answered) - host
        # This thread may have been suspended between the two readings of our own clocks; that adds to the uncertainty.
        if abs(offset - self._offset) > half + timedelta(seconds=after - before):
            self._offset = offset


class FrozenClock:
    """A clock that moves only by `advance` and `jump`: for tests, and for what must not depend on when it runs."""

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
        """Change the time of day as if somebody had set the clock; `monotonic` stays."""
        self._now += by
