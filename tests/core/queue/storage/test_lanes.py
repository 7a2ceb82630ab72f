"""Lanes are held by a type: a job of a lane that a transaction does not hold cannot be changed by it."""

from pathlib import Path

import pytest

from recado.core.clock import FrozenClock
from recado.core.database.engine import Database
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.ids import Ids
from recado.core.queue.lane import HeldLanes, LaneNotHeld
from recado.core.queue.storage import endings, enqueue, lanes
from tests.contracts.queue import QueueHarness
from tests.support.lanes import lane_named

ON_BOTH_DATABASES = True

SOURCES = Path(__file__).parents[4] / "src" / "recado"


@pytest.fixture
def harness(database: Database, clock: FrozenClock, ids: Ids) -> QueueHarness:
    return QueueHarness(database, clock, ids)


class TestHeldLanes:
    async def test_allow_a_change_in_the_lanes_they_name_only(self, harness: QueueHarness) -> None:
        await harness.stores("ana")
        claim = await harness.claims_one()

        def end(uow: UnitOfWork, held: str) -> bool:
            return endings.complete(lanes.hold(uow, [lane_named(held)]), claim, harness.clock.now())

        with pytest.raises(LaneNotHeld):
            await harness.database.write(lambda uow: end(uow, "bia"), owner=None)
        assert await harness.database.write(lambda uow: end(uow, "ana"), owner=None)

    async def test_hold_a_reply_lane_and_its_send_lane_together(self, harness: QueueHarness) -> None:
        job = harness.job("send:ana")
        await harness.database.write(lambda uow: enqueue.add(lanes.hold(uow, [lane_named("ana")]), [job]), owner=None)
        assert await harness.claimed_lanes() == ["send:ana"]

    async def test_are_taken_once_in_a_transaction(self, harness: QueueHarness) -> None:
        def work(uow: UnitOfWork) -> HeldLanes:
            lanes.hold(uow, [lane_named("ana")])
            return lanes.hold(uow.for_owner(harness.job("ana").owner_id), [lane_named("ana")])

        with pytest.raises(RuntimeError, match="holds lanes twice"):
            await harness.database.write(work, owner=None)

    async def test_can_be_added_to_when_another_lane_turns_up(self, harness: QueueHarness) -> None:
        await harness.stores("ana", "bia")
        held = await harness.database.write(
            lambda uow: lanes.hold_also(lanes.hold(uow, [lane_named("ana")]), [lane_named("bia")]).lanes, owner=None
        )
        assert {lane_named("ana"), lane_named("bia")} <= held

    def test_are_made_in_storage_only(self) -> None:
        makers = {
            str(path.relative_to(SOURCES))
            for path in SOURCES.rglob("*.py")
            if "HeldLanes(" in path.read_text("utf-8").replace("class HeldLanes(", "")
        }
        assert makers == {"core/queue/storage/claiming.py", "core/queue/storage/lanes.py"}
