"""Find agents by name, wherever they were installed from.

Agents are entry points of the group `recado.agents`: a package of somebody else adds one line to its own metadata and
`agents set --agent that-name` works. No path on any disk is known here, and nothing is imported before it is needed
(the language model agent alone takes seconds).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Protocol
from uuid import UUID

import structlog

from recado.agents.errors import AgentUnusable, UnknownAgent
from recado.agents.http_clients import HttpClients
from recado.agents.knowledge.service import KnowledgeService
from recado.agents.models import AgentSettings, Credentials
from recado.conversation.ports import Agent
from recado.core.clock import Clock

log = structlog.get_logger(__name__)

GROUP = "recado.agents"
_BUILTIN = "recado.agents.builtin."


@dataclass(frozen=True, slots=True)
class AgentSetup:
    """All that an agent is made from. A foreign agent may ignore most of it."""

    owner_id: UUID
    settings: AgentSettings
    knowledge: KnowledgeService
    clock: Clock
    http: HttpClients
    credentials: Credentials = field(default_factory=Credentials)


class AgentFactory(Protocol):
    """What an entry point leads to: a class or a function. The agent it makes may serve several turns at once."""

    def __call__(self, setup: AgentSetup) -> Agent: ...


@dataclass(frozen=True, slots=True)
class RegisteredAgent:
    """A name and where its factory is; loading happens in `make`."""

    name: str
    entry: EntryPoint

    @property
    def cooperative(self) -> bool:
        """Ours never block their event loop; of others nobody knows, so each of their runs gets a thread."""
        return self.entry.value.startswith(_BUILTIN)

    def make(self, setup: AgentSetup) -> Agent:
        """Import the package and build an agent; raises whatever the package raises."""
        factory: AgentFactory = self.entry.load()
        if not callable(factory):
            raise AgentUnusable(self.name, "its entry point leads to something that cannot be called")
        agent = factory(setup)
        if not callable(getattr(agent, "respond", None)):
            raise AgentUnusable(self.name, "what its factory made has no `respond`")
        return agent


class AgentRegistry:
    """The installed agents. Entry points are read once: a package installed later is seen after a restart."""

    def __init__(self, entries: Iterable[EntryPoint] | None = None) -> None:
        found = self.installed() if entries is None else entries
        self._agents: dict[str, RegisteredAgent] = {}
        # Ours first: a package cannot take the name of a built-in agent and read every tenant's messages under it.
        for entry in sorted(found, key=lambda entry: (not entry.value.startswith(_BUILTIN), entry.value)):
            if entry.name in self._agents:
                if self._agents[entry.name].entry.value != entry.value:
                    log.warning("agents.name_taken", agent=entry.name, ignored=entry.value)
                continue
            self._agents[entry.name] = RegisteredAgent(entry.name, entry)

    @staticmethod
    def installed() -> Sequence[EntryPoint]:
        """What installed packages offer."""
        return tuple(entry_points(group=GROUP))

    @property
    def names(self) -> Sequence[str]:
        return sorted(self._agents)

    def find(self, name: str) -> RegisteredAgent:
        """The agent of that name; raises `UnknownAgent`, which lists the names there are."""
        found = self._agents.get(name)
        if found is None:
            raise UnknownAgent(name, self.names)
        return found
