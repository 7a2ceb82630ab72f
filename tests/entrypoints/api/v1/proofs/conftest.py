from collections.abc import Mapping
from uuid import UUID

import httpx2
import pytest

from recado.bootstrap import Container
from tests.entrypoints.api.v1.proofs.operations import Operation, described
from tests.entrypoints.api.v1.proofs.scene import Scene
from tests.support.callers import KnownCallers
from tests.world import World


@pytest.fixture
async def scene(world: World, container: Container) -> Scene:
    scene = Scene(world, container)
    await scene.furnish()
    return scene


@pytest.fixture
async def operations(api: httpx2.AsyncClient) -> list[Operation]:
    return list(await described(api))


@pytest.fixture
async def mine(callers: KnownCallers, scene: Scene) -> Mapping[str, str]:
    """The headers of the owner whose things are asked for: its first user, signed in."""
    return callers.known(await scene.first_user())


@pytest.fixture
def theirs(callers: KnownCallers, stranger: UUID) -> Mapping[str, str]:
    """The headers of another owner, who may do everything there."""
    return callers.role(stranger, "owner")
