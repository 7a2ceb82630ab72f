"""Queries for the agents of numbers, always of one owner."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import bindparam, delete

from recado.agents.numbers.models import NumberAgent
from recado.agents.tables import number_agents
from recado.core.database.prepared import Prepared
from recado.core.database.repository import OwnedRepository, of_owner, owned

_AGENTS = owned(number_agents, NumberAgent)
_OF_NUMBER = number_agents.c.address_id == bindparam("address_id")
_ONE = Prepared(_AGENTS.where(_OF_NUMBER))
_IN_ORDER = Prepared(_AGENTS.order_by(number_agents.c.address_id))
_REMOVE = Prepared(delete(number_agents).where(of_owner(number_agents), _OF_NUMBER))


class NumberAgents(OwnedRepository[NumberAgent]):
    """The agents of an owner's numbers. They have no id: a number has one at most."""

    table, entity, noun = number_agents, NumberAgent, "agent"

    def of_number(self, address_id: UUID) -> NumberAgent | None:
        return self._one(_ONE, address_id=address_id)

    def everything(self) -> Sequence[NumberAgent]:
        """Return all of them, also those of removed numbers."""
        return self._many(_IN_ORDER)

    def put(self, agent: NumberAgent) -> None:
        """Store a number's agent instead of the one it may have had."""
        self.remove(agent.address_id)
        self.add(agent)

    def remove(self, address_id: UUID) -> bool:
        """Delete a number's agent; return whether it had one."""
        return self._run(_REMOVE, address_id=address_id) == 1
