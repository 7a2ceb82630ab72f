"""The API over a world of two owners. `callers` makes up who calls.

async def test_…(api: httpx2.AsyncClient, callers: KnownCallers, world: World) -> None:
    answer = await api.get("/api/v1/owners", headers=callers.role(world.owner_id, "viewer"))
"""

from collections.abc import AsyncIterator
from uuid import UUID

import httpx2
import pytest

from recado.bootstrap import Container
from recado.core.clock import FrozenClock
from recado.core.database.engine import Database
from recado.core.ids import UuidV7
from recado.entrypoints.api.app import build_app
from recado.identity.owners import Registration
from recado.settings import Settings
from tests.support.callers import KnownCallers
from tests.world import World

NOWHERE = "http://127.0.0.1:9"
"""Nothing listens there, so no test asks Twilio."""


@pytest.fixture
async def world(database: Database, clock: FrozenClock, ids: UuidV7) -> World:
    return await World.open(database, clock, ids)


@pytest.fixture
async def stranger(world: World) -> UUID:
    """Another owner."""
    form = Registration("Floricultura", "dono@floricultura.example", "rosas às sete")
    return (await world.owners.register_organization(form)).owner_id


@pytest.fixture
def callers() -> KnownCallers:
    return KnownCallers()


@pytest.fixture
async def container(world: World, callers: KnownCallers) -> AsyncIterator[Container]:
    settings = Settings(
        database_url=world.database.url,
        public_url="https://recado.example",
        secret_key=bytes(32),
        twilio_api_url=NOWHERE,
    )
    container = Container(settings=settings)
    container.clock.override(world.clock)
    container.database.override(world.database)
    container.agents.override(world.agents)
    container.channels.override(world.channels)
    container.authenticator.override(callers)
    yield container
    container.heartbeat().close()


@pytest.fixture
async def api(container: Container) -> AsyncIterator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(build_app(container))
    async with httpx2.AsyncClient(transport=transport, base_url="https://recado.example") as client:
        yield client
