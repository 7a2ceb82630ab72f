"""A silenced restored copy sends no answers to messages that may have been answered after it was made."""

from datetime import timedelta

import pytest

from recado.conversation.values import Address
from recado.core.errors import Conflict
from recado.operations.restored import RestoredCopy, SilenceReport
from tests.world import ANA, BRUNO, LEASE, Lost, World

ON_BOTH_DATABASES = True

CARLA = Address("whatsapp:+5531987651234")


@pytest.fixture
def copy(world: World) -> RestoredCopy:
    return RestoredCopy(world.database, world.clock, world.queue)


async def test_what_waits_is_dropped_and_what_was_settled_stays(world: World, copy: RestoredCopy) -> None:
    answered = await world.says("oi", ANA)
    collecting = await world.receives("alguém?", BRUNO)
    written = await world.receives("quero um bolo", CARLA)
    world.advance(2)
    await world.works_once()
    assert await copy.waiting() == 2

    assert await copy.silence() == SilenceReport(dropped=2, left=0, numbers=0)

    await world.passes(60)
    outcomes = await world.outcomes_of(answered, collecting, written)
    assert outcomes == ["answered", "suppressed:discarded", "suppressed:discarded"]
    assert [world.sent_texts(who) for who in (ANA, BRUNO, CARLA)] == [["echo: oi"], [], []]
    assert (await world.verify()).violations == []


async def test_a_send_that_was_under_way_is_found_out(world: World, copy: RestoredCopy) -> None:
    world.channel.will(Lost())
    sid = await world.says("oi", ANA)

    assert await copy.silence() == SilenceReport(dropped=0, left=1, numbers=0)

    await world.passes(300)
    assert (await world.outcome_of(sid), world.sent_texts()) == ("answered", ["echo: oi"])


async def test_a_job_whose_worker_is_lost_as_well_is_dropped_without_a_crash(world: World, copy: RestoredCopy) -> None:
    sid = await world.receives("oi", ANA)
    world.advance(2)
    await world.queue.claim(1, max_isolated=0)
    world.advance(LEASE.total_seconds() + 1)

    assert (await copy.silence()).dropped == 1

    assert await world.outcome_of(sid) == "suppressed:discarded"


async def test_sweeps_begin_now(world: World, copy: RestoredCopy) -> None:
    before = world.clock.now()
    await world.breaks("UPDATE channel_addresses SET first_webhook_at = :then", then=before)
    world.clock.advance(timedelta(hours=12))

    assert (await copy.silence()).numbers == 1

    [row] = await world.rows(
        "SELECT count(*) AS n FROM channel_addresses WHERE first_webhook_at = :now", now=world.clock.now()
    )
    assert row["n"] == 1


async def test_a_database_at_work_is_left_alone(world: World, copy: RestoredCopy) -> None:
    sid = await world.receives("oi", ANA)
    world.advance(2)
    await world.queue.claim(1, max_isolated=0)

    with pytest.raises(Conflict, match="a worker holds 1 jobs"):
        await copy.silence()

    assert await world.outcome_of(sid) is None
