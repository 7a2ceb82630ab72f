"""Give a number an agent of its own, and take it away again.

A number has one agent at most. When it is first set, or when another kind of agent is chosen, what the form leaves out
comes from the owner's agent of that name, if there is one: its model and its key, but never the secret of an agent of
one's own. From then on the two are apart.

The agent of a removed number stays: what the number had received is still answered, and a number that is added again
has its agent again.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from recado.agents.models import AgentForm, AgentSaved, AgentSettings
from recado.agents.numbers.models import NumberAgent
from recado.agents.numbers.repository import NumberAgents
from recado.agents.registry import AgentRegistry
from recado.agents.repository import AgentSettingsRepository
from recado.agents.service import AgentService, any_agent, blank_settings, changed_fields
from recado.conversation.ports import Numbers
from recado.core.clock import Clock
from recado.core.database.engine import Database
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.errors import InvalidInput, NotFound
from recado.core.ids import Ids
from recado.core.queue.transactions import Transaction, Transactions
from recado.identity import audit
from recado.identity.audit import AuditAction
from recado.identity.principal import Principal


class NumberAgentService:
    """The agents of an owner's numbers."""

    def __init__(
        self,
        database: Database,
        registry: AgentRegistry,
        agents: AgentService,
        numbers: Numbers,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._database = database
        self._transactions = Transactions(database, clock, ids)
        self._registry = registry
        self._agents = agents
        self._numbers = numbers

    async def set(
        self,
        principal: Principal,
        number_id: UUID,
        form: AgentForm,
        *,
        check: Callable[[AgentSettings | None], None] = any_agent,
    ) -> AgentSaved:
        """Store the form as the agent of a number. Raises `NotFound`, and `InvalidInput` with the correction.

        Who may name private addresses or leave out a key is decided as for agents of the owner. `check` gets what is
        stored before the change.
        """
        self._registry.find(form.agent)
        secret = self._agents.secret_for(form)

        def work(tx: Transaction) -> AgentSaved:
            stored = self._held(tx.uow, number_id)
            check(None if stored is None else stored.settings)
            begun = _begun(tx.uow, form, stored, tx.now)
            saved = self._agents.merged(tx.uow, begun, form, secret, tx.now, operator=principal.kind == "operator")
            NumberAgents(tx.uow).put(NumberAgent.of(number_id, saved.settings))
            self._agents.announce(tx.uow, principal.owner_id)
            _record(tx, principal, "number.agent_set", number_id, form)
            return saved

        return await self._transactions.write(work, owner=principal.owner_id)

    async def unset(self, principal: Principal, number_id: UUID) -> None:
        """Let the owner's agent answer at a number again. Done twice, nothing more happens. Raises `NotFound`."""

        def work(tx: Transaction) -> None:
            self._held(tx.uow, number_id)
            if NumberAgents(tx.uow).remove(number_id):
                self._agents.announce(tx.uow, principal.owner_id)
                _record(tx, principal, "number.agent_unset", number_id)

        await self._transactions.write(work, owner=principal.owner_id)

    async def renew_secret(self, principal: Principal, number_id: UUID) -> AgentSaved:
        """Store and return a new signing secret for a number's own agent over HTTP. It is shown once.

        Raises `NotFound`, and `InvalidInput` when the number has no such agent.
        """
        secret = self._agents.secret_for(AgentForm("http"))

        def work(tx: Transaction) -> AgentSaved:
            stored = self._held(tx.uow, number_id)
            if stored is None or stored.agent != "http" or secret is None:
                raise InvalidInput("the number has no http agent; set one first")
            settings = self._agents.resealed(tx.uow, stored.settings, secret, tx.now)
            NumberAgents(tx.uow).put(NumberAgent.of(number_id, settings))
            self._agents.announce(tx.uow, principal.owner_id)
            _record(tx, principal, "number.agent_secret_renewed", number_id)
            return AgentSaved(settings, secret)

        return await self._transactions.write(work, owner=principal.owner_id)

    async def of_number(self, owner_id: UUID, number_id: UUID) -> AgentSettings | None:
        """Return the agent of a number; None when the owner's answers there. Raises `NotFound` for no number."""

        def read(uow: UnitOfWork) -> NumberAgent | None:
            self._require(uow, number_id)
            return NumberAgents(uow).of_number(number_id)

        found = await self._database.read(read, owner=owner_id)
        return None if found is None else found.settings

    async def all(self, owner_id: UUID) -> Sequence[tuple[UUID, AgentSettings]]:
        """Return the numbers in use that have an agent of their own, each with its agent."""

        def read(uow: UnitOfWork) -> list[tuple[UUID, AgentSettings]]:
            found = NumberAgents(uow).everything()
            used = [each for each in found if self._numbers.with_id(uow, each.address_id) is not None]
            return [(each.address_id, each.settings) for each in used]

        return await self._database.read(read, owner=owner_id)

    def _held(self, uow: UnitOfWork, number_id: UUID) -> NumberAgent | None:
        """Return a number's agent, which nobody else changes before this transaction ends. Raises `NotFound`."""
        self._require(uow, number_id)
        uow.lock_by_name(f"agent of number {number_id}")
        return NumberAgents(uow).of_number(number_id)

    def _require(self, uow: UnitOfWork, number_id: UUID) -> None:
        if self._numbers.with_id(uow, number_id) is None:
            raise NotFound(f"there is no number {number_id}")


def _begun(uow: UnitOfWork, form: AgentForm, stored: NumberAgent | None, now: datetime) -> AgentSettings:
    """Return the settings that a form changes."""
    if stored is not None and stored.agent == form.agent:
        return stored.settings
    agents = AgentSettingsRepository(uow)
    owners = agents.named(form.agent) or blank_settings(agents.owner, form.agent, now)
    return replace(owners, secret_sealed=None, created_at=now)


def _record(
    tx: Transaction, principal: Principal, action: AuditAction, number_id: UUID, form: AgentForm | None = None
) -> None:
    detail = None if form is None else {"agent": form.agent, "fields": changed_fields(form)}
    audit.record(tx, principal, action, "number", number_id, detail)
