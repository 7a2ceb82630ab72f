"""Old jobs go in small steps; dead letters, and everything younger than a week, stay."""

from datetime import timedelta

from recado.conversation.errors import AgentFailed
from recado.core.ids import SYSTEM_OWNER
from recado.core.queue.cron import Cron
from recado.core.queue.job import NewJob
from recado.core.queue.schedules import Schedule
from recado.core.queue.storage import enqueue, lanes
from recado.operations.pruning import KEEP_JOBS, Pruning, PruningReport
from tests.support.commits import all_listeners_called
from tests.support.lanes import lane_named
from tests.world import World

ON_BOTH_DATABASES = True

FAILS = AgentFailed("no model")


async def given_jobs(world: World, count: int, status: str = "done") -> None:
    """So many jobs of a customer's, ended just now."""
    now = world.clock.now()
    new = [
        NewJob(world.ids.new(), "conversation.reply", SYSTEM_OWNER, now, now, lane=lane_named("done"))
        for _ in range(count)
    ]
    await world.database.write(lambda uow: enqueue.add(lanes.hold_for(uow, new), new), owner=None)
    await world.breaks(
        "UPDATE message_queue SET status = :status, finished_at = due_at WHERE lane = :lane AND status = 'waiting'",
        status=status,
        lane=lane_named("done"),
    )


async def left(world: World) -> int:
    [row] = await world.rows("SELECT count(*) AS n FROM message_queue")
    return int(row["n"])


async def test_jobs_that_ended_over_a_week_ago_go_in_steps_of_500(world: World) -> None:
    await given_jobs(world, 1_201)
    world.clock.advance(KEEP_JOBS + timedelta(seconds=1))
    await all_listeners_called(world.database)
    steps: list[int] = []
    world.database.on_commit(lambda: steps.append(1))
    pruned = await Pruning(world.database, world.clock).prune()
    await all_listeners_called(world.database)
    assert (pruned, await left(world), len(steps)) == (PruningReport(jobs=1_201), 0, 3)


async def test_younger_ones_stay(world: World) -> None:
    await given_jobs(world, 3)
    world.clock.advance(KEEP_JOBS)
    assert await Pruning(world.database, world.clock).prune() == PruningReport(jobs=0)
    assert await left(world) == 3


async def test_discarded_ones_go_too(world: World) -> None:
    await given_jobs(world, 2, status="discarded")
    world.clock.advance(KEEP_JOBS + timedelta(seconds=1))
    assert await Pruning(world.database, world.clock).prune() == PruningReport(jobs=2)


async def test_a_dead_letter_stays_and_so_does_what_still_runs(world: World) -> None:
    world.agents.will(FAILS, FAILS, FAILS)
    failed = await world.receives("oi")
    await world.passes(30)
    waiting = await world.receives("alô?")
    world.clock.advance(KEEP_JOBS + timedelta(days=1))
    pruned = await Pruning(world.database, world.clock).prune()
    assert pruned == PruningReport(jobs=1), "the apology's send job"
    assert [letter.last_error for letter in await world.dead()] == ["no model"]
    await world.passes(2)
    assert await world.outcome_of(failed) == "apologised"
    assert await world.outcome_of(waiting) is not None
    assert (await world.verify()).violations == []


async def test_a_run_forgets_old_slots_and_can_be_repeated(world: World) -> None:
    cron = Cron(world.database, world.clock, world.ids, [Schedule("sweep.turns", timedelta(seconds=30))])
    await cron.insert_slots()
    world.clock.advance(timedelta(days=3))
    await cron.insert_slots()
    pruning = Pruning(world.database, world.clock)
    assert [await pruning.prune(), await pruning.prune()] == [PruningReport(jobs=0), PruningReport(jobs=0)]
    assert len(await world.rows("SELECT slot FROM cron_slots")) == 1
