"""Deadlines for many waits of equal length, with one timer for all of them.

`asyncio.timeout` creates and cancels a timer for each wait, which is several percent of the cost of a webhook.
"""

import asyncio
from types import TracebackType


class Deadlines:
    """Cancels the tasks that take longer than a number of seconds. For one event loop at a time."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ends: dict[
            asyncio.Task[object], float
        ] = {}  # In the order of their deadlines, because all waits have the same length.
        self._timer: asyncio.TimerHandle | None = None

    def bounded(self) -> "_Bounded":
        """Limit the time of a block. Raises `TimeoutError` in it."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - narrows the type
        return _Bounded(self, task)

    def begin(self, task: "asyncio.Task[object]") -> None:
        """Start the time of a task, and the timer unless it runs."""
        loop = task.get_loop()
        if loop is not self._loop:
            self._loop, self._timer = loop, None
            self._ends.clear()
        self._ends[task] = loop.time() + self._seconds
        if self._timer is None:
            self._timer = loop.call_later(self._seconds, self._sweep, loop)

    def end(self, task: "asyncio.Task[object]") -> bool:
        """Return whether the task was in time."""
        return self._ends.pop(task, None) is not None

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        for task, end in list(self._ends.items()):
            if end > loop.time():
                self._timer = loop.call_at(end, self._sweep, loop)
                return
            del self._ends[task]
            task.cancel()


class _Bounded:
    """One wait. It is a class, because a generator would cost more than everything else in it."""

    __slots__ = ("_before", "_deadlines", "_task")

    def __init__(self, deadlines: Deadlines, task: "asyncio.Task[object]") -> None:
        self._deadlines = deadlines
        self._task = task
        self._before = task.cancelling()

    def __enter__(self) -> None:
        self._deadlines.begin(self._task)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._deadlines.end(self._task):
            return
        # We cancelled it. If another caller cancelled it as well, that cancellation counts.
        if self._task.uncancel() <= self._before and kind is asyncio.CancelledError:
            raise TimeoutError from error
