"""A connection to PostgreSQL that waits for an answer for a limited time.

A frozen server, or one whose host has vanished, keeps its connections open: the operating system acknowledges what is
sent, so no TCP time-out ends the wait, and the server's own time-outs do not run. Only the client can end the wait.
"""

import time
from typing import Any, Final, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus

RV = TypeVar("RV")

_INTERVAL: Final = 0.1


class NoAnswer(psycopg.OperationalError):
    """The server did not answer in time; the connection is closed."""


class BoundedConnection(psycopg.Connection[tuple[Any, ...]]):
    """A connection each of whose waits ends after `answer_seconds`; then the connection is closed."""

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
