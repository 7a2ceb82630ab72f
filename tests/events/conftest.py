import pytest

from recado.core.clock import FrozenClock
from recado.core.database.engine import Database
from recado.core.ids import UuidV7
from recado.events.models import Endpoint
from recado.events.service import NewEndpoint
from tests.world import World


@pytest.fixture
async def world(database: Database, clock: FrozenClock, ids: UuidV7) -> World:
    return await World.open(database, clock, ids)


@pytest.fixture
async def endpoint(world: World) -> Endpoint:
    """An endpoint that is sent everything from now on."""
    return (await world.endpoints.add(world.rita, NewEndpoint("https://crm.example/events"))).endpoint
