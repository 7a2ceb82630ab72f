import pytest

from recado.bootstrap import metadata
from recado.operations.organizations.purge import OwnerPurge
from tests.world import World


@pytest.fixture
def purge(world: World) -> OwnerPurge:
    return OwnerPurge(world.database, world.clock, world.ids, metadata)
