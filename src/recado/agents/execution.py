"""One run of an agent, and where it runs: on a loop that our own agents share, or in a thread of its own."""

import asyncio
import contextvars
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import structlog

from recado.agents.results import usage_of, validated
from recado.conversation.ports import Agent, AgentResult, TurnContext
from recado.core.outbound.http_clients import HttpClients

log = structlog.get_logger(__name__)


# --- One run ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RunFailed:
    error: BaseException


RunEnding: TypeAlias = AgentResult | RunFailed


class AgentRun:
    """One run. `perform` is awaited on the loop of the agent; the caller's loop calls all other methods."""

    def __init__(self, agent: Agent, turn: TurnContext) -> None:
        self._agent = agent
        self._turn = turn
        self._caller = asyncio.get_running_loop()
        self.ended: asyncio.Future[RunEnding] = self._caller.create_future()
        self._lock = threading.Lock()
        self._stopped = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[object] | None = None

    async def perform(self) -> None:
        with self._lock:
            self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
            stopped = self._stopped
        self.end(RunFailed(asyncio.CancelledError()) if stopped else await self._respond())
        with self._lock:
            self._task = None

    def stop(self) -> None:
        """Request the end of the run. `ended` is set when it has ended."""
        with self._lock:
            self._stopped = True
            if self._loop is not None and self._task is not None:
                _call_soon(self._loop, self._task.cancel)

    def end(self, ending: RunEnding) -> None:
        """Store the ending, from any thread. Only the first one counts."""
        _call_soon(self._caller, lambda: None if self.ended.done() else self.ended.set_result(ending))

    async def _respond(self) -> RunEnding:
        try:
            result = await self._agent.respond(self._turn)
            if (usage := usage_of(result)) is not None:  # Invalid results cost tokens too.
                self._turn.consumption.report(usage)
            return validated(result)
        except BaseException as error:  # noqa: BLE001 - the one call into foreign code
            # Base exceptions too: an agent that calls sys.exit() must not end the worker. A cancellation that arrives
            # here is our own `stop`, which only wants the run to end, or the agent's own doing. The caller's
            # cancellation never passes through this coroutine.
            return RunFailed(error)


def _call_soon(loop: asyncio.AbstractEventLoop, callback: Callable[[], object]) -> None:
    try:
        loop.call_soon_threadsafe(callback)
    except RuntimeError:  # That loop is closed, so nothing waits there any more.
        log.debug("agents.loop_gone")


# --- Where runs happen ------------------------------------------------------------------------------------------------


class SharedLoop:
    """One thread with one event loop, for agents that never block. The first run starts it."""

    def __init__(self, http: HttpClients, grace: float) -> None:
        self._http = http
        self._grace = grace
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False

    def start(self, run: AgentRun) -> None:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=self._run_loop, args=(self._loop,), name="recado-agents", daemon=True
                )
                self._thread.start()
            loop = self._loop
        loop.call_soon_threadsafe(self._begin, loop, run)

    async def aclose(self) -> None:
        with self._lock:
            loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        if loop is None or thread is None:
            return
        ending = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._end(), loop))
        await asyncio.wait({ending}, timeout=2 * self._grace)
        self._closing = True
        loop.call_soon_threadsafe(loop.stop)
        await asyncio.get_running_loop().run_in_executor(None, thread.join, self._grace)

    def _begin(self, loop: asyncio.AbstractEventLoop, run: AgentRun) -> None:
        task = loop.create_task(run.perform())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _run_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        while not self._closing:
            try:
                loop.run_forever()
            except BaseException as error:  # noqa: BLE001 - SystemExit of an agent's own task ends run_forever, not us
                log.warning("agents.loop_interrupted", error=type(error).__name__)
        loop.close()

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=self._grace)
        await self._http.close_loop_clients()
        await asyncio.get_running_loop().shutdown_asyncgens()
        await asyncio.get_running_loop().shutdown_default_executor()


class RunThreads:
    """A thread with its own loop for each run. The number is limited, and an abandoned run keeps its place."""

    def __init__(self, http: HttpClients, most: int) -> None:
        self._http = http
        self._lock = threading.Lock()
        self._free = most
        self._waiting: deque[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = deque()
        self._started = 0

    async def start(self, run: AgentRun) -> None:
        """Wait for a free thread, then start the run."""
        await self._take_thread()
        self._started += 1
        name = f"recado-agent-{self._started}"
        # A daemon thread, because an abandoned one must not keep the process from ending. It continues the trace.
        here = contextvars.copy_context()
        threading.Thread(target=here.run, args=(self._run_loop, run), name=name, daemon=True).start()

    def _run_loop(self, run: AgentRun) -> None:
        try:
            with asyncio.Runner() as runner:
                try:
                    runner.run(self._perform(run))
                except BaseException as error:  # noqa: BLE001 - SystemExit of an agent's own task comes out here
                    run.end(RunFailed(error))
        except BaseException as error:  # noqa: BLE001 - what an agent left behind may fail while its loop is closed
            log.warning("agents.untidy", error=type(error).__name__)
        finally:
            self._release_thread()

    async def _perform(self, run: AgentRun) -> None:
        try:
            await run.perform()
        finally:
            await self._http.close_loop_clients()

    async def _take_thread(self) -> None:
        place = (asyncio.get_running_loop(), asyncio.get_running_loop().create_future())
        with self._lock:
            if self._free > 0:
                self._free -= 1
                return
            self._waiting.append(place)
        try:
            await place[1]
        except asyncio.CancelledError:
            with self._lock:
                granted = place not in self._waiting
                if not granted:
                    self._waiting.remove(place)
            if granted:
                self._release_thread()
            raise

    def _release_thread(self) -> None:
        with self._lock:
            if not self._waiting:
                self._free += 1
                return
            loop, future = self._waiting.popleft()
        _call_soon(loop, lambda: None if future.done() else future.set_result(None))
