"""A number with an agent of its own, and the owner's agent at all others."""

from dataclasses import replace
from uuid import UUID

import pytest

from recado.agents.models import AgentForm, AgentSaved, AgentSettings
from recado.agents.numbers.service import NumberAgentService
from recado.agents.registry import AgentRegistry
from recado.agents.runner import AgentRunner
from recado.agents.service import AgentService
from recado.conversation.ports import HandOff, NumberOfOurs, Reply
from recado.conversation.values import Address
from recado.core.clock import FrozenClock
from recado.core.database.engine import Database
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.errors import Conflict, InvalidInput, NotFound
from recado.core.ids import UuidV7
from tests.agents.conftest import Turns
from tests.support.callers import admin_of
from tests.support.crossing import crossing

ON_BOTH_DATABASES = True

SALES, SUPPORT, NOBODYS = UUID(int=501), UUID(int=502), UUID(int=503)
LLM = AgentForm("llm", model="openai:gpt-5", api_key="sk-1", prompt="Venda.")


class TwoNumbers:
    """The numbers of every owner; `removed` are not in use any more."""

    def __init__(self) -> None:
        self.removed: set[UUID] = set()

    def in_use(self, uow: UnitOfWork, address: Address) -> NumberOfOurs | None:
        raise NotImplementedError

    def with_id(self, uow: UnitOfWork, number_id: UUID) -> NumberOfOurs | None:  # noqa: ARG002 - the port's name
        known = number_id in (SALES, SUPPORT) and number_id not in self.removed
        return NumberOfOurs(number_id, "whatsapp:+5511900000001") if known else None


@pytest.fixture
def numbers() -> TwoNumbers:
    return TwoNumbers()


@pytest.fixture
def of_numbers(
    database: Database,
    registry: AgentRegistry,
    service: AgentService,
    numbers: TwoNumbers,
    clock: FrozenClock,
    ids: UuidV7,
) -> NumberAgentService:
    return NumberAgentService(database, registry, service, numbers, clock, ids)


async def test_a_number_s_own_agent_answers_there_and_the_owner_s_elsewhere(
    runner: AgentRunner, service: AgentService, of_numbers: NumberAgentService, turn_of: Turns, owner: UUID
) -> None:
    await of_numbers.set(admin_of(owner), SALES, AgentForm("echo"))
    agents = await runner.agents_of(owner)
    assert await runner.run(agents.for_number(SALES), turn_of("oi"), 5) == Reply("echo: oi")
    assert await runner.run(agents.for_number(SUPPORT), turn_of("oi"), 5) == HandOff("no agent is on")
    await service.set(admin_of(owner), AgentForm("echo", history_limit=3))
    agents = await runner.agents_of(owner)
    assert [runner.history_limit(agents.for_number(each)) for each in (SALES, SUPPORT)] == [20, 3]


async def test_a_change_is_seen_at_once(
    runner: AgentRunner, service: AgentService, of_numbers: NumberAgentService, owner: UUID
) -> None:
    await service.set(admin_of(owner), AgentForm("echo"))
    before = await runner.agents_of(owner)
    await of_numbers.set(admin_of(owner), SALES, AgentForm("echo", history_limit=1))
    assert runner.history_limit((await runner.agents_of(owner)).for_number(SALES)) == 1
    await of_numbers.unset(admin_of(owner), SALES)
    after = await runner.agents_of(owner)
    assert after.for_number(SALES) is before.for_number(SALES) is before.of_owner


async def test_the_same_settings_keep_their_agent(
    runner: AgentRunner, service: AgentService, of_numbers: NumberAgentService, owner: UUID
) -> None:
    await service.set(admin_of(owner), AgentForm("echo"))
    await of_numbers.set(admin_of(owner), SALES, AgentForm("echo"))
    before = await runner.agents_of(owner)
    await of_numbers.set(admin_of(owner), SUPPORT, AgentForm("echo"))
    after = await runner.agents_of(owner)
    assert (after.for_number(SALES) is before.for_number(SALES), after.of_owner is before.of_owner) == (True, True)


class TestWhatIsLeftOut:
    async def test_comes_from_the_owner_s_agent_of_that_name(
        self, service: AgentService, of_numbers: NumberAgentService, owner: UUID
    ) -> None:
        await service.set(admin_of(owner), LLM)
        await service.set(admin_of(owner), AgentForm("echo"))
        saved = (await of_numbers.set(admin_of(owner), SALES, AgentForm("llm", prompt="Ajude."))).settings
        assert (saved.model, saved.prompt, saved.has_api_key) == ("openai:gpt-5", "Ajude.", True)
        active = await service.settings(owner)
        assert active is not None
        assert active.agent == "echo"

    async def test_stays_as_it_was_from_then_on(
        self, service: AgentService, of_numbers: NumberAgentService, owner: UUID
    ) -> None:
        await service.set(admin_of(owner), LLM)
        await of_numbers.set(admin_of(owner), SALES, AgentForm("llm"))
        await service.set(admin_of(owner), replace(LLM, model="openai:gpt-6", prompt="Outra."))
        saved = (await of_numbers.set(admin_of(owner), SALES, AgentForm("llm", history_limit=5))).settings
        assert (saved.model, saved.prompt, saved.history_limit) == ("openai:gpt-5", "Venda.", 5)

    async def test_begins_anew_with_another_kind_of_agent(self, of_numbers: NumberAgentService, owner: UUID) -> None:
        await of_numbers.set(admin_of(owner), SALES, LLM)
        await of_numbers.set(admin_of(owner), SALES, AgentForm("echo"))
        with pytest.raises(InvalidInput, match="needs a model"):
            await of_numbers.set(admin_of(owner), SALES, AgentForm("llm"))

    async def test_is_no_key_when_it_would_be_sent_elsewhere(
        self, service: AgentService, of_numbers: NumberAgentService, owner: UUID
    ) -> None:
        """Who may change the address but never saw the key must not receive it by a number's agent either."""
        await service.set(admin_of(owner), LLM)
        elsewhere = AgentForm("llm", model="gpt-5", base_url="https://collector.example")
        assert not (await of_numbers.set(admin_of(owner), SALES, elsewhere)).settings.has_api_key


class TestAnAgentOfOnesOwn:
    async def test_has_a_secret_for_each_number(
        self, service: AgentService, of_numbers: NumberAgentService, owner: UUID
    ) -> None:
        form = AgentForm("http", url="https://agent.example")
        shown = [(await service.set(admin_of(owner), form)).secret]
        shown += [(await of_numbers.set(admin_of(owner), each, form)).secret for each in (SALES, SUPPORT)]
        assert (None not in shown, len(set(shown))) == (True, 3)
        again = await of_numbers.set(admin_of(owner), SALES, form)
        renewed = await of_numbers.renew_secret(admin_of(owner), SALES)
        assert (again.secret, renewed.secret in {None, *shown}) == (None, False)
        in_force = await service.in_force(owner)
        assert in_force.keys is not None
        opened = service.credentials(in_force.of_numbers[SALES], in_force.keys)
        assert opened.secret == renewed.secret

    async def test_is_needed_for_a_new_secret(self, of_numbers: NumberAgentService, owner: UUID) -> None:
        await of_numbers.set(admin_of(owner), SALES, AgentForm("echo"))
        for number in (SALES, SUPPORT):
            with pytest.raises(InvalidInput, match="no http agent"):
                await of_numbers.renew_secret(admin_of(owner), number)


class TestANumberThatIsRemoved:
    async def test_has_its_agent_for_what_it_had_received_and_when_it_comes_back(
        self, runner: AgentRunner, of_numbers: NumberAgentService, numbers: TwoNumbers, turn_of: Turns, owner: UUID
    ) -> None:
        await of_numbers.set(admin_of(owner), SALES, AgentForm("echo"))
        numbers.removed.add(SALES)
        agent = await runner.agent_for(owner, SALES)
        assert await runner.run(agent, turn_of("oi"), 5) == Reply("echo: oi")
        assert list(await of_numbers.all(owner)) == []
        numbers.removed.clear()
        assert [number for number, _ in await of_numbers.all(owner)] == [SALES]

    async def test_is_given_no_other(self, of_numbers: NumberAgentService, numbers: TwoNumbers, owner: UUID) -> None:
        numbers.removed.add(SALES)
        for number in (SALES, NOBODYS):
            with pytest.raises(NotFound):
                await of_numbers.set(admin_of(owner), number, AgentForm("echo"))
            with pytest.raises(NotFound):
                await of_numbers.unset(admin_of(owner), number)
            with pytest.raises(NotFound):
                await of_numbers.of_number(owner, number)


async def test_what_was_done_is_written_down_once(
    database: Database, of_numbers: NumberAgentService, owner: UUID
) -> None:
    await of_numbers.set(admin_of(owner), SALES, AgentForm("echo", history_limit=1))
    await of_numbers.unset(admin_of(owner), SALES)
    await of_numbers.unset(admin_of(owner), SALES)
    rows = await database.read(lambda uow: uow.execute_raw("SELECT action FROM audit_entries ORDER BY id"), owner=None)
    assert [row[0] for row in rows] == ["number.agent_set", "number.agent_unset"]
    assert await of_numbers.of_number(owner, SALES) is None


async def test_an_agent_that_is_not_installed_is_refused(of_numbers: NumberAgentService, owner: UUID) -> None:
    with pytest.raises(InvalidInput, match="no agent is called"):
        await of_numbers.set(admin_of(owner), SALES, AgentForm("oracle"))


async def test_of_two_changes_of_what_both_have_read_one_is_refused(
    database: Database,
    registry: AgentRegistry,
    service: AgentService,
    of_numbers: NumberAgentService,
    numbers: TwoNumbers,
    clock: FrozenClock,
    ids: UuidV7,
    owner: UUID,
) -> None:
    def not_set_yet(stored: AgentSettings | None) -> None:
        if stored is not None:
            raise Conflict("it has changed")

    first, second = await crossing(
        database,
        lambda held: NumberAgentService(held, registry, service, numbers, clock, ids).set(
            admin_of(owner), SALES, AgentForm("echo", history_limit=6), check=not_set_yet
        ),
        lambda: of_numbers.set(admin_of(owner), SALES, AgentForm("echo", history_limit=7), check=not_set_yet),
    )
    assert isinstance(first, AgentSaved)
    assert isinstance(second, Conflict)
    assert [settings.history_limit for _, settings in await of_numbers.all(owner)] == [6]
