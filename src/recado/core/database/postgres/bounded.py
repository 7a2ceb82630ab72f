"""A connection to PostgreSQL that waits for an answer so long and no longer.

A server that is frozen, or whose host is gone without a word, keeps its connections open: the system acknowledges what
is sent, so no time-out of TCP ends the wait, and the server's own time-outs do not run. Only the one who waits can.
"""

import time
from typing import Any, Final, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus

RV = TypeVar("RV")

_INTERVAL: Final = 0.1


class NoAnswer(psycopg.OperationalError):
    """The server said nothing for too long; the connection is closed."""


class BoundedConnection(psycopg.Connection[tuple[Any, ...]]):
    """Each wait for the server ends after `answer_seconds` seconds; then the connection is of no more use."""

    answer_seconds: float = 10.0

    def wait(self, gen: PQGen[RV], interval: float = _INTERVAL, timeout: float | None = None) -> RV:
        if timeout is not None:  # The driver's own waits, which may well end without an answer.
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(_until(gen, time.monotonic() + self.answer_seconds), interval)
        except psycopg.OperationalError:
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self.pgconn.finish()
            raise


def _until(gen: PQGen[RV], deadline: float) -> PQGen[RV]:
    """The same steps until a moment; the driver takes a step at least every `_INTERVAL`."""
    try:
        state = next(gen)
        while True:
            ready = yield state
            if not ready and time.monotonic() >= deadline:
                gen.close()
                raise NoAnswer("the server does not answer")
            state = gen.send(ready)
    except StopIteration as end:
        result: RV = end.value
        return result
