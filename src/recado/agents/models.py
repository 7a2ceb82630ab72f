"""An owner's agents and their settings.

An agent that an owner has switched on is a *feature*: one row per agent name. Exactly one of them is active and answers
turns. The others keep their settings, so that an owner can switch back without typing them again.
"""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

DEFAULT_HISTORY = 20
MAX_HISTORY = 100


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """An agent of an owner, as stored. Sealed fields are ciphertext and not in `repr`."""

    owner_id: UUID
    agent: str
    active: bool
    model: str | None
    base_url: str | None
    url: str | None
    prompt: str | None = field(repr=False)
    history_limit: int
    allow_private: bool
    api_key_sealed: bytes | None = field(repr=False)
    secret_sealed: bytes | None = field(repr=False)
    created_at: datetime
    updated_at: datetime

    @property
    def has_api_key(self) -> bool:
        return self.api_key_sealed is not None

    @property
    def has_secret(self) -> bool:
        return self.secret_sealed is not None


@dataclass(frozen=True, slots=True)
class AgentForm:
    """The wanted changes. None keeps the stored value, an empty text removes it."""

    agent: str
    model: str | None = None
    base_url: str | None = None
    url: str | None = None
    prompt: str | None = field(default=None, repr=False)
    api_key: str | None = field(default=None, repr=False)
    history_limit: int | None = None
    allow_private: bool | None = None


@dataclass(frozen=True, slots=True)
class AgentSaved:
    """The settings as stored. `secret` is set only once, when it was created."""

    settings: AgentSettings
    secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class AgentCredentials:
    """The secrets of an agent in clear, for as long as an agent object lives."""

    api_key: str | None = field(default=None, repr=False)
    secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class KnowledgeDocument:
    """A document as stored. Only passages of its `revision` are visible."""

    id: UUID
    owner_id: UUID
    name: str
    sha: bytes = field(repr=False)
    revision: UUID
    chunks: int
    added_at: datetime


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage for the index, with the words by which it is found."""

    owner_id: UUID
    revision: UUID
    position: int
    heading: str
    body: str
    heading_terms: str
    body_terms: str
    loose_terms: str


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage that the index found."""

    document: str
    heading: str
    body: str
    score: float


@dataclass(frozen=True, slots=True)
class Passage:
    """A passage that may answer.

    A higher `score` is more likely; `coverage` is the share of the query that it covers.
    """

    document: str
    heading: str
    text: str
    score: float
    coverage: float
