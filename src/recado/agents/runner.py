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
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import inf
from pathlib import PurePath
from uuid import UUID

import structlog

from recado.agents.errors import AgentUnusable, UnknownAgent
from recado.agents.execution import AgentRun, RunFailed, RunThreads, SharedLoop
from recado.agents.knowledge.service import KnowledgeService
from recado.agents.models import AgentSettings
from recado.agents.numbers.models import AgentsInForce
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
class AgentsOfOwner:
    """The agents that answer an owner's customers: the conversation's port `OwnersAgents`."""

    of_owner: Agent
    of_numbers: Mapping[UUID, Agent]

    def for_number(self, address_id: UUID | None) -> Agent:
        """Return the agent that answers at a number; at any other, and where none is named, the owner's."""
        return self.of_owner if address_id is None else self.of_numbers.get(address_id, self.of_owner)


@dataclass(frozen=True, slots=True)
class _Cached:
    agents: AgentsOfOwner
    in_force: AgentsInForce
    read_at: float


# --- The runner -------------------------------------------------------------------------------------------------------


class AgentRunner:
    """Finds an owner's agents and runs them: the conversation's port `Agents`."""

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

    async def agents_of(self, owner_id: UUID) -> AgentsOfOwner:
        cached, now = self._cache.get(owner_id), self._clock.monotonic()
        if cached is not None and now - cached.read_at < self._cache_seconds:
            return cached.agents
        in_force = await self._service.in_force(owner_id)
        agents = self._agents_of(in_force, cached)
        self._cache.pop(owner_id, None)
        self._cache[owner_id] = _Cached(agents, in_force, now)
        while len(self._cache) > CACHED_OWNERS:
            self._cache.popitem(last=False)
        return agents

    async def agent_for(self, owner_id: UUID, address_id: UUID | None = None) -> Agent:
        """Return the agent that answers at a number, or at those without an agent of their own."""
        return (await self.agents_of(owner_id)).for_number(address_id)

    def history_limit(self, agent: Agent) -> int:
        """Return the history limit of the owner. Replacements of agents need no history."""
        return agent.history_limit if isinstance(agent, _OwnersAgent) else 0

    def invalidate(self, owner_id: UUID) -> None:
        """Read an owner's settings again before they are used. Any thread may call this.

        Agents whose settings stayed the same stay.
        """
        cached = self._cache.get(owner_id)
        if cached is not None:
            self._cache[owner_id] = replace(cached, read_at=-inf)

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

    async def problem(self, owner_id: UUID, address_id: UUID | None = None) -> str | None:
        """Return what would make every run of an agent fail on this machine: an extra, a provider, a key.

        It is the number's agent, or the owner's. Agents of other packages are not asked: what they import may do
        anything.
        """
        agent = await self.agent_for(owner_id, address_id)
        try:
            return await agent.problem() if isinstance(agent, _OwnersAgent) and agent.cooperative else None
        except AgentFailed as failure:
            return failure.reason
        finally:
            await self._http.close_loop_clients()

    async def aclose(self) -> None:
        """Stop the agents' loop. Runs that are still in progress there are cancelled."""
        await self._shared.aclose()

    def _agents_of(self, in_force: AgentsInForce, before: _Cached | None) -> AgentsOfOwner:
        """Return the agents in force. The same settings keep their agent object, with the clients that it has built."""
        built = {} if before is None or before.in_force.keys != in_force.keys else dict(_settled(before))

        def agent_of(settings: AgentSettings | None) -> Agent:
            if settings not in built:
                built[settings] = self._agent_of(settings, in_force.keys)
            return built[settings]

        of_numbers = {address_id: agent_of(settings) for address_id, settings in in_force.of_numbers.items()}
        return AgentsOfOwner(agent_of(in_force.of_owner), of_numbers)

    def _agent_of(self, settings: AgentSettings | None, keys: SealedOwnerKeys | None) -> Agent:
        if settings is None or keys is None:
            return _NoAgent()
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


def _settled(cached: _Cached) -> Iterator[tuple[AgentSettings | None, Agent]]:
    """Yield the settings of all agents in force, each with its agent object."""
    yield cached.in_force.of_owner, cached.agents.of_owner
    for address_id, agent in cached.agents.of_numbers.items():
        yield cached.in_force.of_numbers[address_id], agent


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
