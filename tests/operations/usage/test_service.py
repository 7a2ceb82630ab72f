"""What an owner has used, counted by the schedule."""

from datetime import date, timedelta

import pytest

from recado.conversation.ports import Reply, Usage
from recado.core.clock import FrozenClock
from recado.core.database.engine import Database
from recado.core.errors import InvalidInput
from recado.core.ids import UuidV7
from recado.operations.usage.service import UsageService
from tests.support.callers import admin_of
from tests.world import BRUNO, World

ON_BOTH_DATABASES = True

DAY = date(2026, 3, 14)


@pytest.fixture
async def world(database: Database, clock: FrozenClock, ids: UuidV7) -> World:
    return await World.open(database, clock, ids)


@pytest.fixture
def usage(database: Database, clock: FrozenClock) -> UsageService:
    return UsageService(database, clock)


async def used(usage: UsageService, world: World, since: date = DAY, until: date = DAY) -> list[tuple[object, ...]]:
    return [
        (each.period, each.messages_received, each.messages_sent, each.agent_runs, each.input_tokens)
        for each in await usage.used(world.owner_id, since, until, "day")
    ]


async def test_counts_messages_runs_and_tokens(world: World, usage: UsageService) -> None:
    world.agents.will(Reply("pão", usage=Usage("gpt", 120, 30)))
    await world.says("oi")
    await world.says("oi", BRUNO)
    await usage.count()
    assert await used(usage, world) == [("2026-03-14", 2, 2, 2, 120)]


async def test_counts_again_what_has_changed_since(world: World, usage: UsageService) -> None:
    await world.says("oi")
    await usage.count()
    await world.says("e aí")
    await usage.count()
    await usage.count()
    assert await used(usage, world) == [("2026-03-14", 2, 2, 2, 0)]


async def test_counts_each_day_by_itself_and_none_twice(world: World, usage: UsageService, clock: FrozenClock) -> None:
    await world.says("oi")
    clock.advance(timedelta(hours=11, minutes=59, seconds=50))  # Ten seconds to midnight.
    await world.says("ainda hoje")
    clock.advance(timedelta(seconds=20))
    await world.says("amanhã já")
    clock.advance(timedelta(days=3))
    await world.says("bom dia")
    await usage.count()
    days = await used(usage, world, DAY, DAY + timedelta(days=10))
    assert [(day, received) for day, received, *_ in days] == [
        ("2026-03-14", 2),
        ("2026-03-15", 1),
        ("2026-03-18", 1),
    ]


async def test_sums_months(world: World, usage: UsageService, clock: FrozenClock) -> None:
    await world.says("oi")
    clock.advance(timedelta(days=20))
    await world.says("oi")
    await usage.count()
    months = await usage.used(world.owner_id, DAY, DAY + timedelta(days=30), "month")
    assert [(each.period, each.messages_received) for each in months] == [("2026-03", 1), ("2026-04", 1)]


async def test_without_any_message_counts_nothing(world: World, usage: UsageService) -> None:
    assert await usage.count() == 0
    assert await used(usage, world) == []


async def test_tells_one_owner_nothing_of_another(
    world: World, usage: UsageService, ids: UuidV7, database: Database
) -> None:
    await world.says("oi")
    await usage.count()
    stranger = admin_of(ids.new()).owner_id
    assert await usage.used(stranger, DAY, DAY, "day") == []
    assert database is not None


@pytest.mark.parametrize(("since", "until"), [(DAY, DAY - timedelta(days=1)), (DAY, DAY + timedelta(days=400))])
async def test_refuses_days_that_make_no_sense(usage: UsageService, world: World, since: date, until: date) -> None:
    with pytest.raises(InvalidInput):
        await usage.used(world.owner_id, since, until, "day")
