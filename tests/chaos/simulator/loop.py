"""An event loop whose time is a number, and processes that can be killed or stopped in it.

Nothing ever waits: when no callback is ready, time jumps to the next timer. Every callback belongs to the process whose
context it was scheduled in. A killed process's callbacks are dropped, so no `finally` of it ever runs, as with kill -9;
a stopped one's are held back until it goes on, as with SIGSTOP or a machine that was put to sleep.
"""

import asyncio
import contextlib
import heapq
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Sequence
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

T = TypeVar("T")

START = datetime(2026, 3, 14, 12, 0, tzinfo=UTC)


MOST_STEPS = 4_000_000
"""An idle hour of three workers is some 16,000; the longest worlds seen took three days."""


class Stuck(Exception):
    """Nothing is ready and no timer is set: the world waits for something that cannot come."""


@dataclass(eq=False)
class Process:
    """A process of ours. Its clock and its memory end with it; what it has stored or sent remains."""

    name: str
    born_at: float = 0.0
    alive: bool = True
    stopped: bool = False
    last_disturbed: float = -1.0
    """When it was last stopped: from then on it may hold what it has lost."""
    hazard: Callable[[], bool] | None = None
    """Asked before each step: True kills it there."""
    ended: Callable[[], None] | None = None
    """Called once, when the process is killed."""
    children: "list[Process]" = field(default_factory=list)
    held: "list[asyncio.Handle]" = field(default_factory=list)

    def may_run(self, handle: asyncio.Handle) -> bool:
        if not self.alive:
            return False
        if self.stopped:
            self.held.append(handle)
            return False
        if self.hazard is not None and self.hazard():
            self.kill()
            return False
        return True

    def kill(self) -> None:
        """Nothing of it runs any more, not even its clean-up; its children notice and end."""
        if not self.alive:
            return
        self.alive = False
        self.held.clear()
        for child in self.children:
            child.kill()
        if self.ended is not None:
            self.ended()


PROCESS: ContextVar[Process | None] = ContextVar("PROCESS", default=None)
Spawn = Callable[[Sequence[str], asyncio.SubprocessProtocol], asyncio.SubprocessTransport]


class VirtualLoop(asyncio.BaseEventLoop):
    """Runs callbacks in the order of their time; the steps of one moment in the order they were asked for."""

    _ready: "deque[asyncio.Handle]"
    _scheduled: "list[asyncio.TimerHandle]"

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self.steps = 0
        self.tasks: list[asyncio.Task[Any]] = []
        self.outside = copy_context()
        self.spawn: Spawn | None = None
        self.complaints: list[str] = []
        self.set_task_factory(self._remember_task)  # type: ignore[arg-type]  # The stubs want a task of every type at once.
        self.set_exception_handler(self._complain)

    def time(self) -> float:
        return self._now

    def start_in(self, process: Process | None, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Run something as part of a process (None: of the world)."""
        context = copy_context()
        context.run(PROCESS.set, process)
        return self.create_task(work, context=context)

    def later(self, delay: float, happening: Callable[[], object]) -> asyncio.TimerHandle:
        """Schedule something of the world in `delay` seconds, for no process."""
        return self.call_later(delay, happening, context=self.outside)

    def resume(self, process: Process) -> None:
        """A stopped process goes on where it was."""
        process.stopped = False
        process.last_disturbed = self._now
        self._ready.extend(process.held)
        process.held.clear()

    def _run_once(self) -> None:
        ready, scheduled = self._ready, self._scheduled
        if not ready:
            while scheduled and scheduled[0]._cancelled:
                _take_out(scheduled)
            if not scheduled:
                raise Stuck("nothing is left that could happen")
            self._now = max(self._now, scheduled[0].when())
        while scheduled and scheduled[0].when() <= self._now:
            ready.append(_take_out(scheduled))
        if self.steps > MOST_STEPS:
            raise Stuck("everything goes round and round")
        for _ in range(len(ready)):
            handle = ready.popleft()
            if handle.cancelled():
                continue
            self.steps += 1
            process = _process_of(handle)
            if process is None or process.may_run(handle):
                handle._run()

    def _write_to_self(self) -> None:
        """There is no selector to wake."""

    def _process_events(self, event_list: object) -> None:
        """There are no sockets."""

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Cancelled timers are dropped when they come up."""

    async def subprocess_exec(  # type: ignore[override]  # Only what `create_subprocess_exec` asks for.
        self, protocol_factory: Callable[[], asyncio.SubprocessProtocol], *args: str, **_options: object
    ) -> "tuple[asyncio.SubprocessTransport, asyncio.SubprocessProtocol]":
        """A process of ours starts another one: it is played like the rest."""
        assert self.spawn is not None
        protocol = protocol_factory()
        transport = self.spawn(args, protocol)
        protocol.connection_made(transport)
        return transport, protocol

    def bury(self) -> None:
        """Forget what never came to its end, without letting any of it run on."""
        for task in self.tasks:
            if not task.done():
                task._log_destroy_pending = False  # type: ignore[attr-defined]  # It is meant to be destroyed.
                _close(task.get_coro())
        self.tasks.clear()
        self._ready.clear()
        self._scheduled.clear()
        self.close()

    def _remember_task(
        self, loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, T], context: Context | None = None
    ) -> "asyncio.Task[T]":
        task: asyncio.Task[T] = asyncio.Task(coro, loop=loop, context=context)
        self.tasks.append(task)
        return task

    def _complain(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.complaints.append(f"{context.get('message')}: {context.get('exception')!r}")


def _take_out(scheduled: "list[asyncio.TimerHandle]") -> asyncio.TimerHandle:
    handle = heapq.heappop(scheduled)
    handle._scheduled = False  # type: ignore[attr-defined]  # A handle that is cancelled later need not be looked for.
    return handle


def _process_of(handle: asyncio.Handle) -> Process | None:
    context: Context = handle._context  # type: ignore[attr-defined]  # Handles keep it, and nobody else knows whose they are.
    return context.get(PROCESS)


def _close(coro: "Coroutine[Any, Any, Any] | Generator[Any, None, Any] | None") -> None:
    """A coroutine that clings to life in a `finally` is closed again until it gives in."""
    for _ in range(50):
        with contextlib.suppress(BaseException):
            if coro is not None:
                coro.close()
            return


class SimClock:
    """The host's clock: the loop's time, what the host slept through, and the small steps a time server makes."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self.slept = 0.0
        self.stepped = 0.0

    def now(self) -> datetime:
        return START + timedelta(microseconds=round((self._loop.time() + self.slept + self.stepped) * 1e6))

    def elsewhere(self) -> datetime:
        """What time it is at Twilio, whose clocks are never stepped."""
        return START + timedelta(microseconds=round((self._loop.time() + self.slept) * 1e6))

    def monotonic(self) -> float:
        return self._loop.time()
