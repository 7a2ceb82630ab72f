"""Every owner's dead letters, retried by somebody at the command line."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import update

from recado.core.clock import FrozenClock
from recado.core.database.engine import Database
from recado.core.ids import Ids
from recado.core.queue.job import Replayed, ReplayRefused
from recado.core.queue.storage import inspection
from recado.core.queue.storage.tables import message_queue
from recado.identity.principal import operator_of
from recado.operations.dead_letters.service import DeadLetterService
from tests.contracts.queue import SUCCESSOR, QueueHarness
from tests.support.lanes import lane_named

ON_BOTH_DATABASES = True


@pytest.fixture
def harness(database: Database, clock: FrozenClock, ids: Ids) -> QueueHarness:
    return QueueHarness(database, clock, ids)


def retry_all(harness: QueueHarness) -> AsyncIterator[Replayed | ReplayRefused]:
    service = DeadLetterService(harness.database, harness.clock, harness.ids, harness.queue)
    return service.retry_all(lambda owner_id: operator_of(owner_id, "rita"))


async def test_goes_on_though_pages_of_them_are_refused(harness: QueueHarness) -> None:
    lanes = [f"{n:04}" for n in range(inspection.PAGE + 20)]
    letters = await harness.gives_up(*lanes)
    harness.handler.refused_lanes = set(lanes[: inspection.PAGE + 3])

    results = [result async for result in retry_all(harness)]

    assert [result.job_id for result in results] == letters
    assert [isinstance(result, Replayed) for result in results] == [False] * (inspection.PAGE + 3) + [True] * 17
    assert [job.id for job in await harness.queue.dead()] == letters[: inspection.PAGE + 3]


async def test_leaves_a_job_that_dies_meanwhile(harness: QueueHarness) -> None:
    """A replay that fails at once would be replayed for ever."""
    first = await harness.gives_up("ana", "bia")
    results = []
    async for result in retry_all(harness):
        results.append(result.job_id)
        newer = await harness.gives_up(f"newer {len(results)}")

    assert results == first
    assert newer[0] in [job.id for job in await harness.queue.dead()]


async def test_is_not_stopped_by_one_that_cannot_be_retried(harness: QueueHarness) -> None:
    strange, fine = await harness.gives_up("strange", "fine")
    renamed = (
        update(message_queue).where(message_queue.c.lane == lane_named("strange")).values(name="of an older release")
    )
    await harness.database.write(lambda uow: uow.execute(renamed).close(), owner=None)

    refused, retried = [result async for result in retry_all(harness)]

    assert isinstance(refused, ReplayRefused)
    assert (refused.job_id, "no handler" in refused.why) == (strange, True)
    assert retried == Replayed(fine, SUCCESSOR)
