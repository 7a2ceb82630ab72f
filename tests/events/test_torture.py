"""An endpoint that fails, hangs, takes things twice and is gone for hours, and workers that die beside it.

Whatever chance does: every event arrives at least once, each customer's in order, and none that was never stored.
"""

import random
from uuid import UUID

import pytest

from recado.core.database.unit_of_work import UnitOfWork
from recado.core.errors import InvalidInput
from recado.core.event_log.models import NewEvent
from recado.core.event_log.repository import append
from recado.core.queue.lane import Lane, job_lane
from recado.events.models import Endpoint, PostResult
from tests.world import LEASE, WorkerDied, World

pytestmark = pytest.mark.proof

ON_BOTH_DATABASES = True

ANSWERS = (
    PostResult(204),
    PostResult(204),
    PostResult(500, "it answered 500"),
    PostResult(None, "no answer in time"),
    PostResult(302, "it answered 302 Found"),
)


class Torture:
    """What chance does to a world."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.chance = random.Random(seed)  # noqa: S311 - chance that repeats is the point
        self.lanes = [job_lane(world.ids.new()) for _ in range(5)]
        self.happened: dict[Lane, list[UUID]] = {lane: [] for lane in self.lanes}
        self.never: set[UUID] = set()

    async def happens(self) -> None:
        lane = self.chance.choice(self.lanes)
        event = NewEvent(self.world.ids.new(), self.world.owner_id, "message.received", lane, self.world.clock.now())
        rolls_back = self.chance.random() < 0.2

        def work(uow: UnitOfWork) -> None:
            append(uow, [event])
            if rolls_back:
                raise InvalidInput("it is rolled back")

        try:
            await self.world.database.write(work, owner=None)
            self.happened[lane].append(event.id)
        except InvalidInput:
            self.never.add(event.id)

    def dies_sometimes(self) -> None:
        if self.chance.random() < 0.15:
            raise WorkerDied("after the endpoint has answered")

    async def step(self) -> None:
        for _ in range(self.chance.randrange(4)):
            await self.happens()
        await self.world.publisher.step()
        self.world.endpoint.always = self.chance.choice(ANSWERS)
        self.world.endpoint.afterwards = self.dies_sometimes
        await self.world.passes(self.chance.choice((1, 30, 600, 4_000)))
        await self.world.queue.free_ended_leases()

    async def calms(self) -> None:
        self.world.endpoint.always, self.world.endpoint.afterwards = None, lambda: None
        for _ in range(30):
            self.world.advance(LEASE.total_seconds() + 1)
            await self.world.queue.free_ended_leases()
            await self.world.publisher.step()
            await self.world.passes(1_200)


@pytest.mark.parametrize("seed", range(3))
async def test_everything_arrives_and_in_order(world: World, endpoint: Endpoint, seed: int) -> None:
    torture = Torture(world, seed)
    for _ in range(40):
        await torture.step()
    await torture.calms()
    posted = [each.event for each in world.endpoint.posted]
    assert torture.never.isdisjoint(each.id for each in posted)
    for lane, happened in torture.happened.items():
        first = list(dict.fromkeys(each.id for each in posted if each.lane == lane))
        assert first == happened
    waiting = await world.rows("SELECT id FROM event_deliveries WHERE state <> 'delivered'")
    assert (list(waiting), endpoint.disabled_at) == ([], None)
