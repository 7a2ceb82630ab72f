"""The agent of a number: it answers there instead of the owner's."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from uuid import UUID

from recado.agents.models import AgentSettings
from recado.identity.models import SealedOwnerKeys


@dataclass(frozen=True, slots=True)
class NumberAgent:
    """The agent of one number, as stored. Sealed fields are ciphertext and not in `repr`."""

    owner_id: UUID
    address_id: UUID
    agent: str
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

    @classmethod
    def of(cls, address_id: UUID, settings: AgentSettings) -> "NumberAgent":
        """Return an agent with these settings for a number."""
        values = {each.name: getattr(settings, each.name) for each in fields(settings) if each.name != "active"}
        return cls(address_id=address_id, **values)

    @property
    def settings(self) -> AgentSettings:
        """The settings, like those of an agent of the owner. A number's agent is always on."""
        values = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "address_id"}
        return AgentSettings(active=True, **values)


@dataclass(frozen=True, slots=True)
class AgentsInForce:
    """The agents that answer an owner's customers: that of the owner, and those of numbers that have another."""

    of_owner: AgentSettings | None
    of_numbers: Mapping[UUID, AgentSettings]
    keys: SealedOwnerKeys | None
    """What opens their credentials; None when there is no agent."""
