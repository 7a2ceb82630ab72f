"""How fast this machine can follow, measured all the time: a worker that is killed before it claims a job proves
nothing.

The unit is the time that a start of the API takes (from its process to its first `ready`), as measured lately, and a
second at least. On a busy machine the torture slows down by itself; the order of the faults stays the same.
"""

from collections.abc import Callable

_NEWS = 0.3
"""How much the latest start counts against those before."""
_LOOK_SECONDS = 0.2


class MachinePace:
    """Told again and again what the API's process is, it finds out how long its starts take."""

    def __init__(self, first: float) -> None:
        self.unit = max(1.0, first)
        self._incarnation = 0
        self._began: float | None = None
        self._looked = 0.0

    def sample(self, incarnation: int, serves: Callable[[], bool], now: float) -> None:
        """`serves` is asked only while a start is under way."""
        if incarnation != self._incarnation:
            if self._incarnation and self._began is not None:
                self._learn(max(self.unit, now - self._began))  # It was killed before it was ready: at least so long.
            self._incarnation, self._began = incarnation, now
        if self._began is not None and now - self._looked >= _LOOK_SECONDS:
            self._looked = now
            if serves():
                self._learn(now - self._began)
                self._began = None

    def _learn(self, took: float) -> None:
        self.unit = max(1.0, (1 - _NEWS) * self.unit + _NEWS * took)
