"""Run agents so that they cannot harm other work.

An agent may block, hang, raise an exception that ends a process, or ignore cancellation. So none runs on the caller's
event loop. Our own agents never block and share one loop in a thread (a thousand of them may wait there for a slow
model). Each run of a foreign agent gets a thread with its own loop. The caller's loop enforces the deadline; it is
never blocked. A run that outlives its cancellation cannot be killed, because threads cannot: it is abandoned and
counted, and the worker recycles its process.
"""

import asyncio
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import PurePath
from uuid import UUID

import structlog

from recado.agents.errors import AgentUnusable, UnknownAgent
from recado.agents.execution import AgentRun, RunFailed, RunThreads, SharedLoop
from recado.agents.knowledge.service import KnowledgeService
from recado.agents.models import AgentSettings
from recado.agents.registry import AgentRegistry, AgentSetup, ChecksItself, RegisteredAgent
from recado.agents.results import InvalidResult, clean_text
from recado.agents.service import AgentService
from recado.conversation.errors import AgentFailed
from recado.conversation.ports import Agent, AgentResult, HandOff, TurnContext
from recado.core.clock import Clock
from recado.core.outbound.http_clients import HttpClients
from recado.identity.models import SealedOwnerKeys

log = structlog.get_logger(__name__)

GRACE_SECONDS = 5.0
FOREIGN_THREADS = 64
CACHED_OWNERS = 1_000
CACHE_SECONDS = 0.25
"""A change by another process may stay unseen this long. A change by this process is seen at once."""


# --- An owner's agent -------------------------------------------------------------------------------------------------


class _OwnersAgent:
    """An agent with an owner's settings. The first run builds it, because the import may take seconds or fail."""

    def __init__(
        self, registered: RegisteredAgent, settings: AgentSettings, keys: SealedOwnerKeys, runner: "AgentRunner"
    ) -> None:
        self._registered = registered
        self._settings = settings
        self._keys = keys
        self._runner = runner
        self._lock = threading.Lock()
        self._agent: Agent | None = None
        self.cooperative = registered.cooperative
        self.history_limit = settings.history_limit

    async def respond(self, turn: TurnContext) -> AgentResult:
        return await self._built().respond(turn)

    async def problem(self) -> str | None:
        agent = await asyncio.to_thread(self._built)
        return await agent.problem() if isinstance(agent, ChecksItself) else None

    def _built(self) -> Agent:
        with self._lock:
            if self._agent is None:
                self._agent = self._registered.make(self._runner.setup_of(self._settings, self._keys))
            return self._agent


class _MissingAgent:
    """Replaces an agent that is set but not installed any more. Its runs fail with the reason."""

    cooperative = True

    def __init__(self, error: UnknownAgent) -> None:
        self._error = error

    async def respond(self, turn: TurnContext) -> AgentResult:  # noqa: ARG002 - the port's name
        raise AgentFailed(str(self._error), retryable=False)


class _NoAgent:
    """Replaces the agent of an owner who has none. Its messages go to people."""

    cooperative = True

    async def respond(self, turn: TurnContext) -> AgentResult:  # noqa: ARG002 - the port's name
        return HandOff(reason="no agent is on")


@dataclass(frozen=True, slots=True)
class _Cached:
    agent: Agent
    active: tuple[AgentSettings, SealedOwnerKeys] | None
    read_at: float


# --- The runner -------------------------------------------------------------------------------------------------------


class AgentRunner:
    """Finds an owner's agent and runs it: the conversation's port `Agents`."""

    def __init__(
        self,
        service: AgentService,
        registry: AgentRegistry,
        knowledge: KnowledgeService,
        clock: Clock,
        *,
        grace_seconds: float = GRACE_SECONDS,
        foreign_threads: int = FOREIGN_THREADS,
        cache_seconds: float = CACHE_SECONDS,
    ) -> None:
        self._service = service
        self._registry = registry
        self._knowledge = knowledge
        self._clock = clock
        self._grace = grace_seconds
        self._cache_seconds = cache_seconds
        self._cache: OrderedDict[UUID, _Cached] = OrderedDict()
        self._http = HttpClients()
        self._shared = SharedLoop(self._http, grace_seconds)
        self._threads = RunThreads(self._http, foreign_threads)
        self._abandoned = 0
        service.on_change(self.invalidate)

    @property
    def abandoned(self) -> int:
        """Return the number of runs that outlived their cancellation.

        If there is any, drain and restart the process.
        """
        return self._abandoned

    async def agent_for(self, owner_id: UUID) -> Agent:
        cached, now = self._cache.get(owner_id), self._clock.monotonic()
        if cached is not None and now - cached.read_at < self._cache_seconds:
            return cached.agent
        active = await self._service.active(owner_id)
        # The same settings keep their agent object, and so the clients and models that it has built.
        same = cached is not None and cached.active == active
        agent = cached.agent if cached is not None and same else self._agent_of(active)
        self._cache.pop(owner_id, None)
        self._cache[owner_id] = _Cached(agent, active, now)
        while len(self._cache) > CACHED_OWNERS:
            self._cache.popitem(last=False)
        return agent

    def history_limit(self, agent: Agent) -> int:
        """Return the history limit of the owner. Replacements of agents need no history."""
        return agent.history_limit if isinstance(agent, _OwnersAgent) else 0

    def invalidate(self, owner_id: UUID) -> None:
        """Drop the remembered settings of an owner. Any thread may call this."""
        self._cache.pop(owner_id, None)

    def setup_of(self, settings: AgentSettings, keys: SealedOwnerKeys) -> AgentSetup:
        """Return the setup for an agent with these settings; `keys` open its credentials."""
        credentials = self._service.credentials(settings, keys)
        return AgentSetup(settings.owner_id, settings, self._knowledge, self._clock, self._http, credentials)

    async def run(self, agent: Agent, turn: TurnContext, timeout: float) -> AgentResult:
        """Return the agent's result, or raise `AgentFailed`.

        Cancelling the caller cancels the run and waits for its end.
        """
        run = AgentRun(agent, turn)
        give_up = asyncio.get_running_loop().time() + timeout
        await self._start(agent, run, timeout)
        try:
            await asyncio.wait({run.ended}, timeout=max(0.0, give_up - asyncio.get_running_loop().time()))
        except asyncio.CancelledError:
            await self._stop(run)
            raise
        if not run.ended.done():
            ended = await self._stop(run)
            ignored = "" if ended else " and ignored being stopped"
            raise self._failed(AgentFailed(f"the agent took longer than {timeout:g} s{ignored}", abandoned=not ended))
        ending = run.ended.result()
        if isinstance(ending, RunFailed):
            raise self._failed(_as_failure(ending.error, ours=_is_cooperative(agent))) from None
        return ending

    async def problem(self, owner_id: UUID) -> str | None:
        """Return what would make every run of the owner's agent fail on this machine: an extra, a provider, a key.

        Agents of other packages are not asked: what they import may do anything.
        """
        agent = await self.agent_for(owner_id)
        try:
            return await agent.problem() if isinstance(agent, _OwnersAgent) and agent.cooperative else None
        except AgentFailed as failure:
            return failure.reason
        finally:
            await self._http.close_loop_clients()

    async def aclose(self) -> None:
        """Stop the agents' loop. Runs that are still in progress there are cancelled."""
        await self._shared.aclose()

    def _agent_of(self, active: tuple[AgentSettings, SealedOwnerKeys] | None) -> Agent:
        if active is None:
            return _NoAgent()
        settings, keys = active
        try:
            return _OwnersAgent(self._registry.find(settings.agent), settings, keys, self)
        except UnknownAgent as error:
            return _MissingAgent(error)

    async def _start(self, agent: Agent, run: AgentRun, timeout: float) -> None:
        if _is_cooperative(agent):
            self._shared.start(run)
            return
        try:
            async with asyncio.timeout(timeout):
                await self._threads.start(run)
        except TimeoutError:
            raise self._failed(AgentFailed("no thread was free for the agent")) from None

    async def _stop(self, run: AgentRun) -> bool:
        """Cancel a run, wait a moment, and return whether it ended.

        A run that did not end is counted, even if this is cancelled.
        """
        run.stop()
        try:
            await asyncio.wait({run.ended}, timeout=self._grace)
        finally:
            if not run.ended.done():
                self._abandoned += 1
        return run.ended.done()

    def _failed(self, failure: AgentFailed) -> AgentFailed:
        log.warning("agents.failed", reason=failure.reason, abandoned=failure.abandoned)
        return failure


def _is_cooperative(agent: Agent) -> bool:
    return getattr(agent, "cooperative", False) is True


def _as_failure(error: BaseException, *, ours: bool) -> AgentFailed:
    """Return the failure in words for operators. The error's own text is left out: it may quote the customer."""
    match error:
        case InvalidResult() | AgentUnusable() | UnknownAgent():
            return AgentFailed(clean_text(str(error))[:200])
        case AgentFailed() if ours:
            return AgentFailed(clean_text(error.reason)[:200], retryable=error.retryable)
        case AgentFailed():
            return AgentFailed("the agent gave up", retryable=error.retryable)
        case asyncio.CancelledError():
            return AgentFailed("the agent cancelled itself")
    return AgentFailed(f"the agent raised {clean_text(type(error).__name__)[:60]}{_place(error)}")


def _place(error: BaseException) -> str:
    """Return the file and line that raised, which a developer needs first."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else f" ({PurePath(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno})"
