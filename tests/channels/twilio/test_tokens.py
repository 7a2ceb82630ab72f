"""A token that is rotated: the previous one counts until Twilio signs with the new one, and not for ever."""

from datetime import timedelta

import pytest

from recado.channels.directory import Directory
from recado.channels.twilio.accounts import NewNumber
from recado.channels.twilio.tokens import ROTATION_GRACE, TwilioTokens
from recado.core.clock import FrozenClock
from recado.core.database.engine import Database
from recado.core.ids import UuidV7
from tests.support.keys import KEY_RING
from tests.world import ACCOUNT, OURS, World

ON_BOTH_DATABASES = True

GRACE = timedelta(seconds=ROTATION_GRACE)


@pytest.fixture
async def world(database: Database, clock: FrozenClock, ids: UuidV7) -> World:
    return await World.open(database, clock, ids)


class Webhooks:
    """What a server knows of tokens, and what it sees of them."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.tokens = TwilioTokens(
            Directory(world.database, world.clock, KEY_RING), world.database, KEY_RING, world.clock
        )

    async def counting(self) -> tuple[str, ...]:
        self._world.clock.advance(timedelta(seconds=3))
        return (await self.tokens.signers(ACCOUNT.value)).tokens

    async def signed_with(self, token: str) -> None:
        signers = await self.tokens.signers(ACCOUNT.value)
        await self.tokens.saw(token, signers.bearing(token))


@pytest.fixture
async def webhooks(world: World) -> Webhooks:
    """A number whose token "token" was followed by "newer"."""
    await rotate(world, "newer")
    return Webhooks(world)


async def rotate(world: World, token: str) -> None:
    await world.numbers.add(world.operator, NewNumber(ACCOUNT, token, OURS))


async def test_the_previous_one_counts_until_the_new_one_is_promoted(world: World, webhooks: Webhooks) -> None:
    for _ in range(3):
        await webhooks.signed_with("token")
        world.clock.advance(timedelta(days=30))
    assert await webhooks.counting() == ("newer", "token")


async def test_it_is_forgotten_some_minutes_after_the_new_one_signs(world: World, webhooks: Webhooks) -> None:
    """Who rotates because a token leaked is rid of it then."""
    await webhooks.signed_with("newer")
    assert await webhooks.counting() == ("newer", "token"), "what it signed may be on its way"
    world.clock.advance(GRACE)
    await webhooks.signed_with("newer")
    assert await webhooks.counting() == ("newer",)
    assert await Webhooks(world).counting() == ("newer",)


async def test_the_next_rotation_has_minutes_of_its_own(world: World, webhooks: Webhooks) -> None:
    await webhooks.signed_with("newer")
    world.clock.advance(GRACE)
    await rotate(world, "newest")
    await webhooks.signed_with("newer")
    assert await webhooks.counting() == ("newest", "newer")


async def test_of_one_that_was_rotated_meanwhile_nothing_is_forgotten(world: World, webhooks: Webhooks) -> None:
    signers = await webhooks.tokens.signers(ACCOUNT.value)
    await webhooks.signed_with("newer")
    world.clock.advance(GRACE)
    await rotate(world, "newest")
    await webhooks.tokens.saw("newer", signers.bearing("newer"))
    assert await webhooks.counting() == ("newest", "newer")
