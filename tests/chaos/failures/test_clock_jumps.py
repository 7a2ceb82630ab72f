"""Clocks that jump an hour, either way, while messages are at every stage: late at worst, never lost, never twice."""

import random
from datetime import timedelta

import pytest

from recado.conversation.ports import AgentResult, NotProcessed, Reply, TurnContext, Unknown
from recado.conversation.values import Address
from recado.core.clock import FrozenClock
from recado.core.database.sqlite import SqliteDatabase
from recado.core.ids import UuidV7
from tests.conftest import NOON
from tests.world import Ending, Lost, World

HOUR = timedelta(hours=1)


class JumpingClock(FrozenClock):
    """A host's clock that somebody sets; spans are measured by another one, which goes on."""

    def jumps(self, by: timedelta) -> None:
        self._now += by


@pytest.fixture
def jumping() -> JumpingClock:
    return JumpingClock(at=NOON)


@pytest.fixture
async def world(database: SqliteDatabase, jumping: JumpingClock) -> World:
    return await World.open(database, jumping, UuidV7(jumping, random.Random(7).getrandbits))  # noqa: S311


def customer(number: int) -> Address:
    return Address(f"whatsapp:+55119{80_000_000 + number}")


async def at_every_stage(world: World) -> list[str]:
    """Answered, unknown and taken, unknown and not taken, turned away, held by a dead worker, and just received."""
    sids = [await world.says("respondida", customer(0))]
    endings: tuple[Ending, ...] = (Lost(), Unknown("reset", ""), NotProcessed("20429", "later"))
    for number, ending in enumerate(endings, start=1):
        world.channel.will(ending)
        sids.append(await world.says("enviando", customer(number)))
    world.dies_at = "after_agent"
    sids.append(await world.says("morreu", customer(4)))
    sids.append(await world.receives("recebida", customer(5)))
    return sids


async def ends_well(world: World, sids: list[str]) -> None:
    """Once each, whatever a clock that jumped ahead says about how long it took."""
    for _ in range(4):
        await world.lease_runs_out()
        await world.passes(3_600)
    assert await world.outcomes_of(*sids) == ["answered"] * len(sids)
    assert [len(world.sent_texts(customer(number))) for number in range(len(sids))] == [1] * len(sids)
    assert (await world.verify()).violations == []


@pytest.mark.parametrize("by", [HOUR, -HOUR], ids=["forward", "back"])
async def test_a_jump_between_two_steps_loses_and_doubles_nothing(
    world: World, jumping: JumpingClock, by: timedelta
) -> None:
    sids = await at_every_stage(world)
    jumping.jumps(by)
    await world.queue.free_ended_leases()
    await ends_well(world, sids)


@pytest.mark.parametrize("by", [HOUR, -HOUR], ids=["forward", "back"])
async def test_there_and_back_again(world: World, jumping: JumpingClock, by: timedelta) -> None:
    sids = await at_every_stage(world)
    jumping.jumps(by)
    await world.work()
    jumping.jumps(-by)
    await ends_well(world, sids)


async def test_a_jump_back_during_a_run_changes_nothing(world: World, jumping: JumpingClock) -> None:
    async def meanwhile(turn: TurnContext) -> AgentResult:
        jumping.jumps(-HOUR)
        return Reply(f"echo: {turn.text}")

    world.agents.will(meanwhile)
    sid = await world.says("oi", customer(0))
    await ends_well(world, [sid])


async def test_a_jump_forward_during_a_run_costs_that_run_its_lease_and_no_more(
    world: World, jumping: JumpingClock
) -> None:
    """Everybody's lease has ended by that clock: the run is done again, and the first result is never sent."""

    async def meanwhile(turn: TurnContext) -> AgentResult:  # noqa: ARG001 - the port's name
        jumping.jumps(timedelta(minutes=2))
        await world.queue.free_ended_leases()
        return Reply("too late")

    world.agents.will(meanwhile)
    sid = await world.says("oi", customer(0))
    await ends_well(world, [sid])
    assert world.sent_texts(customer(0)) == ["echo: oi"]
