"""Setting an owner's agent: what is kept, what is refused, and where keys may go."""

from dataclasses import replace
from uuid import UUID

import pytest
from sqlalchemy import text

from recado.agents.errors import UnknownAgent
from recado.agents.models import AgentForm
from recado.agents.registry import AgentRegistry
from recado.agents.service import AgentService
from recado.core.clock import FrozenClock
from recado.core.database.engine import Database
from recado.core.errors import InvalidInput
from recado.core.ids import UuidV7
from recado.core.sealing import SealBroken
from recado.identity.models import SealedOwnerKeys
from recado.identity.principal import operator_of
from recado.identity.repository import OwnerKeyRows
from tests.support.callers import admin_of
from tests.support.keys import KEY_RING

OTHER = UUID(int=77)
LLM = AgentForm("llm", model="openai:gpt-5", api_key="sk-1")


async def keys_of(database: Database, owner_id: UUID) -> SealedOwnerKeys:
    return await database.read(lambda uow: OwnerKeyRows(uow).require(owner_id), owner=owner_id)


class TestSetting:
    async def test_makes_the_agent_the_active_one_and_keeps_the_others(
        self, service: AgentService, owner: UUID
    ) -> None:
        await service.set(admin_of(owner), LLM)
        await service.set(admin_of(owner), AgentForm("echo"))
        assert [(agent.agent, agent.active) for agent in await service.all(owner)] == [("echo", True), ("llm", False)]
        active = await service.settings(owner)
        assert active is not None
        assert active.agent == "echo"

    async def test_going_back_needs_nothing_typed_again(self, service: AgentService, owner: UUID) -> None:
        await service.set(admin_of(owner), LLM)
        await service.set(admin_of(owner), AgentForm("echo"))
        saved = await service.set(admin_of(owner), AgentForm("llm"))
        assert (saved.settings.model, saved.settings.has_api_key) == ("openai:gpt-5", True)

    async def test_an_empty_text_removes(self, service: AgentService, owner: UUID) -> None:
        await service.set(admin_of(owner), replace(LLM, prompt="x"))
        saved = await service.set(admin_of(owner), AgentForm("llm", prompt=""))
        assert saved.settings.prompt is None

    async def test_is_of_one_owner(self, service: AgentService, owner: UUID) -> None:
        await service.set(admin_of(owner), AgentForm("echo"))
        assert await service.settings(OTHER) is None
        assert list(await service.all(OTHER)) == []

    async def test_is_announced_after_it_is_stored(self, service: AgentService, owner: UUID) -> None:
        changed_owners: list[UUID] = []
        service.on_change(changed_owners.append)
        with pytest.raises(InvalidInput):
            await service.set(admin_of(owner), AgentForm("llm"))
        await service.set(admin_of(owner), AgentForm("echo"))
        assert changed_owners == [owner]

    async def test_remembers_when(self, service: AgentService, owner: UUID, clock: FrozenClock) -> None:
        saved = await service.set(admin_of(owner), AgentForm("echo"))
        assert saved.settings.updated_at == clock.now()


class TestRefusals:
    @pytest.mark.parametrize(
        ("form", "why"),
        [
            (AgentForm("llm"), "needs a model"),
            (AgentForm("llm", model="gpt-5"), "needs its provider"),
            (AgentForm("llm", model="openai:"), "needs its provider"),
            (AgentForm("llm", model="a\nb:c", api_key="k"), "not the name of a model"),
            (AgentForm("llm", model="openai:gpt-5"), "needs an API key"),
            (AgentForm("llm", model="m", base_url="ftp://x.example"), "not a URL"),
            (AgentForm("llm", model="m", base_url="x.example"), "not a URL"),
            (AgentForm("llm", model="m", base_url="https://"), "not a URL"),
            (AgentForm("llm", model="m", base_url="https://x.example:99999"), "not a URL"),
            (AgentForm("llm", model="m", base_url="https://[::1"), "not a URL"),
            (AgentForm("llm", model="m", base_url="https://300.1.1.1/"), "not a URL"),
            (AgentForm("http", url="https://[v1.a]/"), "not a URL"),
            (AgentForm("http", url="https://ex☃.com/"), "not a URL"),
            (AgentForm("http", url="https://01.1.1.1/"), "not a URL"),
            (AgentForm("llm", model="m", base_url="http://x.example/v1"), "must start with https"),
            (AgentForm("llm", model="m", base_url="https://me:pw@x.example"), "must not hold"),
            (AgentForm("llm", model="m", base_url="https://x.example/" + "x" * 2_000), "too long"),
            (AgentForm("llm", model="openai:m", api_key="a\nb"), "no key has"),
            (AgentForm("http"), "needs the URL"),
            (AgentForm("http", url="http://localhost:8000"), "private address"),
            (AgentForm("http", url="https://169.254.169.254/"), "private address"),
            (AgentForm("http", url="https://[fd00::1]/"), "private address"),
            (AgentForm("http", url="https://x.example", allow_private=True), "operator only"),
            (AgentForm("echo", history_limit=-1), "history_limit"),
            (AgentForm("echo", history_limit=101), "history_limit"),
            (AgentForm("llm", model="m", base_url="https://x.example", prompt="x" * 50_001), "at most"),
            (AgentForm("llm", model="m", base_url="https://x.example", prompt="a\x00b"), "is no text"),
            (AgentForm("echo", model="m"), "uses no model"),
            (AgentForm("faq", prompt="Be kind.", api_key="k"), "uses no prompt and no api_key"),
            (AgentForm("faq", base_url="https://x.example"), "uses no base_url"),
            (AgentForm("llm", model="m", base_url="https://x.example", url="https://y.example"), "uses no url"),
            (AgentForm("http", url="https://x.example", prompt="Be kind."), "uses no prompt"),
            (AgentForm("http", url="https://x.example", base_url="https://y.example"), "not both"),
            (AgentForm("faq", history_limit=0), "at least 1"),
        ],
        ids=range(34),
    )
    async def test_say_what_to_mend(self, service: AgentService, owner: UUID, form: AgentForm, why: str) -> None:
        with pytest.raises(InvalidInput, match=why):
            await service.set(admin_of(owner), form)
        assert await service.settings(owner) is None

    async def test_list_the_agents_there_are(self, service: AgentService, owner: UUID) -> None:
        with pytest.raises(UnknownAgent, match="faq"):
            await service.set(admin_of(owner), AgentForm("ecko"))


class TestProviders:
    @pytest.mark.parametrize("model", ["ollama:llama3", "azure:gpt-5", "litellm:x", "bedrock:x", "nowhere:x"])
    async def test_that_are_where_the_operator_says_are_the_operators(
        self, service: AgentService, owner: UUID, model: str
    ) -> None:
        """Any key would open the operator's own server."""
        form = AgentForm("llm", model=model, api_key="made up")
        with pytest.raises(InvalidInput, match="operator only"):
            await service.set(admin_of(owner), form)
        await service.set(operator_of(owner, "rita"), form)

    async def test_that_the_operator_chose_stay_with_another_prompt_and_model(
        self, service: AgentService, owner: UUID
    ) -> None:
        await service.set(operator_of(owner, "rita"), AgentForm("llm", model="ollama:llama3", api_key="k"))
        saved = await service.set(admin_of(owner), AgentForm("llm", model="ollama:llama4", prompt="Seja breve."))
        assert (saved.settings.model, saved.settings.prompt) == ("ollama:llama4", "Seja breve.")

    @pytest.mark.usefixtures("service")
    async def test_that_the_environment_moves_are_the_operators_too(
        self, database: Database, registry: AgentRegistry, clock: FrozenClock, ids: UuidV7, owner: UUID
    ) -> None:
        moved = {"OPENAI_BASE_URL": "http://10.0.0.5/v1"}
        service = AgentService(database, registry, KEY_RING, clock, ids, environment=moved)
        with pytest.raises(InvalidInput, match="only the operator may set it"):
            await service.set(admin_of(owner), LLM)
        await service.set(operator_of(owner, "rita"), LLM)
        await service.set(admin_of(owner), AgentForm("llm", model="deepseek:chat", api_key="k"))


class TestTheOperator:
    @pytest.mark.parametrize(
        "form",
        [
            AgentForm("llm", model="openai:gpt-5"),
            AgentForm("llm", model="llama", base_url="http://127.0.0.1:11434/v1"),
            AgentForm("llm", model="llama", base_url="http://ollama:11434/v1", allow_private=True),
            AgentForm("http", url="http://localhost:8000/hook"),
            AgentForm("http", base_url="http://localhost:8000/hook"),
        ],
        ids=["no key", "loopback", "a private network", "an agent on loopback", "by the one option for addresses"],
    )
    async def test_may_do_more(self, service: AgentService, owner: UUID, form: AgentForm) -> None:
        saved = await service.set(operator_of(owner, "rita"), form)
        assert saved.settings.active

    async def test_does_not_open_the_door_for_the_owner(self, service: AgentService, owner: UUID) -> None:
        await service.set(operator_of(owner, "rita"), AgentForm("http", url="http://localhost:8000"))
        renamed = await service.set(admin_of(owner), AgentForm("http", history_limit=3))
        assert renamed.settings.allow_private
        with pytest.raises(InvalidInput, match="private address"):
            await service.set(admin_of(owner), AgentForm("http", url="http://localhost:6379"))
        moved = await service.set(admin_of(owner), AgentForm("http", url="https://x.example"))
        assert not moved.settings.allow_private


class TestKeys:
    async def test_are_sealed_and_hidden(self, service: AgentService, database: Database, owner: UUID) -> None:
        saved = await service.set(admin_of(owner), LLM)
        sealed = saved.settings.api_key_sealed or b""
        assert b"sk-1" not in sealed
        assert "sk-1" not in repr(saved) + repr(LLM)
        assert service.credentials(saved.settings, await keys_of(database, owner)).api_key == "sk-1"

    async def test_of_another_owner_open_nothing(self, service: AgentService, database: Database, owner: UUID) -> None:
        await service.set(admin_of(owner), LLM)
        moved = text("UPDATE agent_settings SET owner_id = :other").bindparams(other=OTHER.bytes)
        await database.write(lambda uow: uow.changed(moved), owner=None)
        stolen = await service.settings(OTHER)
        assert stolen is not None
        with pytest.raises(SealBroken):
            service.credentials(stolen, await keys_of(database, OTHER))

    @pytest.mark.parametrize(
        ("change", "kept"),
        [
            (AgentForm("llm", prompt="x"), True),
            (AgentForm("llm", model="openai:gpt-6"), True),
            (AgentForm("llm", model="m", base_url="https://listens.example/v1"), False),
            (AgentForm("llm", model="mistral:large", api_key=""), False),
        ],
        ids=["a prompt", "another model there", "another address", "another provider"],
    )
    async def test_never_follow_to_another_place(
        self, service: AgentService, owner: UUID, change: AgentForm, kept: bool
    ) -> None:
        await service.set(admin_of(owner), LLM)
        saved = await service.set(operator_of(owner, "rita"), change)
        assert saved.settings.has_api_key is kept

    async def test_the_signing_secret_is_shown_once(
        self, service: AgentService, database: Database, owner: UUID
    ) -> None:
        first = await service.set(admin_of(owner), AgentForm("http", url="https://x.example"))
        again = await service.set(admin_of(owner), AgentForm("http", url="https://y.example"))
        assert first.secret is not None
        assert first.secret.startswith("whsec_")
        assert again.secret is None
        assert service.credentials(again.settings, await keys_of(database, owner)).secret == first.secret

    async def test_the_signing_secret_can_be_renewed(
        self, service: AgentService, database: Database, owner: UUID
    ) -> None:
        first = await service.set(admin_of(owner), AgentForm("http", url="https://x.example"))
        await service.set(admin_of(owner), AgentForm("echo"))
        renewed = await service.renew_secret(admin_of(owner))
        assert renewed.secret not in {None, first.secret}
        assert not renewed.settings.active
        assert service.credentials(renewed.settings, await keys_of(database, owner)).secret == renewed.secret

    async def test_without_an_agent_of_ones_own_there_is_no_secret(self, service: AgentService, owner: UUID) -> None:
        with pytest.raises(InvalidInput, match="set the http agent first"):
            await service.renew_secret(admin_of(owner))


async def test_two_active_agents_of_one_owner_cannot_be_stored(
    service: AgentService, database: Database, owner: UUID
) -> None:
    await service.set(admin_of(owner), AgentForm("echo"))
    await service.set(admin_of(owner), AgentForm("faq"))
    with pytest.raises(Exception, match="UNIQUE"):
        await database.write(lambda uow: uow.changed(text("UPDATE agent_settings SET active = 1")), owner=None)
