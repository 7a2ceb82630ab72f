"""Two who change an owner's agents at one moment: one waits, and then sees what the other stored."""

from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

import pytest

from recado.agents.models import AgentForm, AgentSaved, AgentSettings
from recado.agents.registry import AgentRegistry
from recado.agents.service import AgentService
from recado.core.clock import FrozenClock
from recado.core.database.engine import Database
from recado.core.errors import Conflict
from recado.core.ids import UuidV7
from tests.support.callers import admin_of
from tests.support.crossing import crossing
from tests.support.keys import KEY_RING

ON_BOTH_DATABASES = True

ServiceOf = Callable[[Database], AgentService]


@pytest.fixture
def service_of(registry: AgentRegistry, clock: FrozenClock, ids: UuidV7) -> ServiceOf:
    return lambda database: AgentService(database, registry, KEY_RING, clock, ids)


async def test_of_two_changes_of_what_both_have_read_one_is_refused(
    service: AgentService, service_of: ServiceOf, database: Database, owner: UUID
) -> None:
    form = AgentForm("faq", prompt=None, history_limit=5)
    read = (await service.set(admin_of(owner), form)).settings

    def as_read(stored: AgentSettings | None) -> None:
        if stored != read:
            raise Conflict("it has changed")

    first, second = await crossing(
        database,
        lambda held: service_of(held).set(admin_of(owner), replace(form, history_limit=6), check=as_read),
        lambda: service.set(admin_of(owner), replace(form, history_limit=7), check=as_read),
    )
    assert isinstance(first, AgentSaved)
    assert isinstance(second, Conflict)
    assert [agent.history_limit for agent in await service.all(owner)] == [6]


@pytest.mark.parametrize("name", ["echo", "faq"])
async def test_of_two_that_become_active_one_is(
    service: AgentService, service_of: ServiceOf, database: Database, owner: UUID, name: str
) -> None:
    _, second = await crossing(
        database,
        lambda held: service_of(held).set(admin_of(owner), AgentForm("echo")),
        lambda: service.set(admin_of(owner), AgentForm(name)),
    )
    assert isinstance(second, AgentSaved)
    assert [agent.agent for agent in await service.all(owner) if agent.active] == [name]


async def test_of_two_secrets_the_later_one_is_stored(
    service: AgentService, service_of: ServiceOf, database: Database, owner: UUID
) -> None:
    await service.set(admin_of(owner), AgentForm("http", url="https://agent.example/"))
    _, second = await crossing(
        database,
        lambda held: service_of(held).renew_secret(admin_of(owner)),
        lambda: service.renew_secret(admin_of(owner)),
    )
    assert isinstance(second, AgentSaved)
    found = await service.in_force(owner)
    assert found.of_owner is not None
    assert found.keys is not None
    assert service.credentials(found.of_owner, found.keys).secret == second.secret
