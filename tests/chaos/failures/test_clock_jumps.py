"""Clocks that jump an hour, either way, while messages are at every stage: late at worst, never lost, never twice."""

import random
from datetime import timedelta

import pytest

from recado.conversation.errors import AgentFailed
from recado.conversation.ports import AgentResult, NotProcessed, Reply, TurnContext, Unknown
from recado.conversation.values import Address
from recado.core.clock import FrozenClock
from recado.core.database.sqlite.database import SqliteDatabase
from recado.core.ids import UuidV7
from recado.core.queue.cron import Cron
from recado.core.queue.running.maintenance import Maintenance
from tests.conftest import NOON
from tests.world import Ending, Lost, World

HOUR = timedelta(hours=1)


@pytest.fixture
def jumping() -> FrozenClock:
    return FrozenClock(at=NOON)


@pytest.fixture
async def world(database: SqliteDatabase, jumping: FrozenClock) -> World:
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
    world: World, jumping: FrozenClock, by: timedelta
) -> None:
    sids = await at_every_stage(world)
    jumping.jump(by)
    await world.queue.free_ended_leases()
    await ends_well(world, sids)


@pytest.mark.parametrize("by", [HOUR, -HOUR], ids=["forward", "back"])
async def test_there_and_back_again(world: World, jumping: FrozenClock, by: timedelta) -> None:
    sids = await at_every_stage(world)
    jumping.jump(by)
    await world.work()
    jumping.jump(-by)
    await ends_well(world, sids)


async def test_a_jump_back_during_a_run_changes_nothing(world: World, jumping: FrozenClock) -> None:
    async def meanwhile(turn: TurnContext) -> AgentResult:
        jumping.jump(-HOUR)
        return Reply(f"echo: {turn.text}")

    world.agents.will(meanwhile)
    sid = await world.says("oi", customer(0))
    await ends_well(world, [sid])


async def test_a_jump_forward_during_a_run_costs_that_run_its_lease_and_no_more(
    world: World, jumping: FrozenClock
) -> None:
    """Everybody's lease has ended by that clock: the run is done again, and the first result is never sent."""

    async def meanwhile(turn: TurnContext) -> AgentResult:  # noqa: ARG001 - the port's name
        jumping.jump(timedelta(minutes=2))
        await world.queue.free_ended_leases()
        return Reply("too late")

    world.agents.will(meanwhile)
    sid = await world.says("oi", customer(0))
    await ends_well(world, [sid])
    assert world.sent_texts(customer(0)) == ["echo: oi"]


async def test_nothing_waits_for_the_hour_that_a_clock_was_ahead(world: World, jumping: FrozenClock) -> None:
    """Messages that came, were tried again, held by a dead worker or half sent while it was an hour ahead."""
    maintenance = Maintenance(world.queue, Cron(world.database, jumping, world.ids, []), jumping)
    sids = await at_every_stage(world)
    await maintenance.step()
    jumping.jump(HOUR)
    for number in range(6, 32):
        if number % 6 == 3:
            world.agents.will(AgentFailed("a hiccup"))
        sids.append(await world.receives("oi", customer(number)))
        if number % 2:
            await world.passes(2)
    world.dies_at = "after_claim"
    await world.passes(2)
    jumping.jump(-HOUR)

    for _ in range(20):
        await maintenance.step()
        await world.passes(10)

    assert await world.outcomes_of(*sids) == ["answered"] * len(sids)
    assert [len(world.sent_texts(customer(number))) for number in range(32)] == [1] * 32
    assert (await world.verify()).violations == []


@pytest.mark.parametrize("taken", [True, False], ids=["taken", "not taken"])
async def test_a_send_in_doubt_is_found_out_though_its_clock_was_an_hour_ahead(
    world: World, jumping: FrozenClock, taken: bool
) -> None:
    """The provider's clock is right all the time, and so are the times in its list."""
    world.channel.clock = right = FrozenClock(jumping.now())
    jumping.jump(HOUR)
    world.channel.will(Lost() if taken else Unknown("reset", ""))
    sid = await world.says("enviando", customer(0))
    jumping.jump(-HOUR)
    right.advance(jumping.now() - right.now())

    await world.queue.repair_times()
    await world.passes(200)

    assert (await world.outcome_of(sid), len(world.sent_texts(customer(0)))) == ("answered", 1)
