"""Find agents by name in the installed packages.

Agents are entry points of the group `recado.agents`: a foreign package adds one line to its own metadata, and `agents
set --agent that-name` works. No path is configured, and no agent is imported before it is needed (the language model
agent alone takes seconds).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Protocol, runtime_checkable
from uuid import UUID

import structlog

from recado.agents.errors import AgentUnusable, UnknownAgent
from recado.agents.knowledge.service import KnowledgeService
from recado.agents.models import AgentCredentials, AgentSettings
from recado.conversation.ports import Agent
from recado.core.clock import Clock
from recado.core.outbound.http_clients import HttpClients

log = structlog.get_logger(__name__)

GROUP = "recado.agents"
_BUILTIN = "recado.agents.builtin."


@dataclass(frozen=True, slots=True)
class AgentSetup:
    """What an agent is made from. A foreign agent may ignore most of it."""

    owner_id: UUID
    settings: AgentSettings
    knowledge: KnowledgeService
    clock: Clock
    http: HttpClients
    credentials: AgentCredentials = field(default_factory=AgentCredentials)


@runtime_checkable
class ChecksItself(Protocol):
    """An agent that can tell without a run why no run can succeed."""

    async def problem(self) -> str | None:
        """Return what is missing, or None."""
        ...


class AgentFactory(Protocol):
    """An entry point: a class or a function. The agent that it makes may serve several turns at once."""

    def __call__(self, setup: AgentSetup) -> Agent: ...


@dataclass(frozen=True, slots=True)
class RegisteredAgent:
    """A name and the place of its factory, which `make` loads."""

    name: str
    entry: EntryPoint

    @property
    def cooperative(self) -> bool:
        """Return whether it is one of ours, which never block their event loop.

        Others may, so each of their runs gets a thread.
        """
        return self.entry.value.startswith(_BUILTIN)

    def make(self, setup: AgentSetup) -> Agent:
        """Import the package and build an agent. Raises any error of the package."""
        factory: AgentFactory = self.entry.load()
        if not callable(factory):
            raise AgentUnusable(self.name, "its entry point leads to something that cannot be called")
        agent = factory(setup)
        if not callable(getattr(agent, "respond", None)):
            raise AgentUnusable(self.name, "what its factory made has no `respond`")
        return agent


class AgentRegistry:
    """The installed agents. Entry points are read once: a package that is installed later is seen after a restart."""

    def __init__(self, entries: Iterable[EntryPoint] | None = None) -> None:
        found = self.installed() if entries is None else entries
        self._agents: dict[str, RegisteredAgent] = {}
        # Ours come first: a package must not take the name of a built-in agent and read every tenant's messages.
        for entry in sorted(found, key=lambda entry: (not entry.value.startswith(_BUILTIN), entry.value)):
            if entry.name in self._agents:
                if self._agents[entry.name].entry.value != entry.value:
                    log.warning("agents.name_taken", agent=entry.name, ignored=entry.value)
                continue
            self._agents[entry.name] = RegisteredAgent(entry.name, entry)

    @staticmethod
    def installed() -> Sequence[EntryPoint]:
        """Return the agents of installed packages."""
        return tuple(entry_points(group=GROUP))

    @property
    def names(self) -> Sequence[str]:
        return sorted(self._agents)

    def find(self, name: str) -> RegisteredAgent:
        """Return the agent of that name. Raises `UnknownAgent`, which lists all names."""
        found = self._agents.get(name)
        if found is None:
            raise UnknownAgent(name, self.names)
        return found
