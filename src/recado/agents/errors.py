"""Errors of the agents.

DomainError
├── UnknownAgent        agents.unknown      422   no installed package offers an agent of that name
├── AgentUnusable       agents.unusable     500   what the entry point gave is no agent
├── DocumentRefused     agents.document     422   a file that cannot be read as text, or is too large
└── DocumentContended   agents.contended    409   two uploads of one document met
"""

from collections.abc import Sequence

from recado.core.errors import Conflict, DomainError, InvalidInput


class UnknownAgent(InvalidInput):
    """No installed package has an agent of that name."""

    code = "agents.unknown"

    def __init__(self, name: str, known: Sequence[str]) -> None:
        super().__init__(f"no agent is called {name[:60]!r}; installed are: {', '.join(known) or 'none'}")
        self.name = name
        self.known = tuple(known)


class AgentUnusable(DomainError):
    """The object of an entry point is not an agent."""

    code = "agents.unusable"

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"the agent {name!r} cannot be used: {why}")


class DocumentRefused(InvalidInput):
    """A document that cannot become knowledge. The sentence says why."""

    code = "agents.document"


class DocumentContended(Conflict):
    """Two uploads replaced the same document at once, and the other one won."""

    code = "agents.contended"

    def __init__(self, name: str) -> None:
        super().__init__(f"the document {name!r} was being replaced at the same time; add it again")
