"""An end to each of many waits that all have equally long, with one timer for all of them.

`asyncio.timeout` makes and cancels a timer for each, which is several percent of what a webhook costs.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Deadlines:
    """Cancels the tasks that are not through after so many seconds; one event loop at a time."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ends: dict[asyncio.Task[object], float] = {}  # In the order of their ends, since all have equally long.
        self._timer: asyncio.TimerHandle | None = None

    @contextmanager
    def bounded(self) -> Iterator[None]:
        """Raises `TimeoutError` in what takes too long."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - narrows the type
        before = task.cancelling()
        self._begin(task)
        try:
            yield
        except asyncio.CancelledError as error:
            if task in self._ends or task.uncancel() > before:
                raise  # Someone else ended it.
            raise TimeoutError from error
        finally:
            self._ends.pop(task, None)

    def _begin(self, task: "asyncio.Task[object]") -> None:
        loop = task.get_loop()
        if loop is not self._loop:
            self._loop, self._timer = loop, None
            self._ends.clear()
        self._ends[task] = loop.time() + self._seconds
        if self._timer is None:
            self._timer = loop.call_later(self._seconds, self._sweep, loop)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        for task, end in list(self._ends.items()):
            if end > loop.time():
                self._timer = loop.call_at(end, self._sweep, loop)
                return
            del self._ends[task]
            task.cancel()
