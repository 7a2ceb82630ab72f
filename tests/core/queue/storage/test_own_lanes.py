"""The lane that was made for one job goes with the job, however the job ends and however often it is started again."""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import pytest
from sqlalchemy import select

from recado.core.clock import FrozenClock
from recado.core.database.engine import Database
from recado.core.errors import Conflict
from recado.core.ids import Ids
from recado.core.queue.job import (
    MAX_CRASHES,
    Discard,
    Done,
    NewJob,
    Replayed,
    ReplayRefused,
    RetryIn,
    StoredJob,
)
from recado.core.queue.lane import HeldLanes, job_lane
from recado.core.queue.service import QueueService
from recado.core.queue.storage import enqueue
from recado.core.queue.storage import lanes as storage
from recado.core.queue.storage.tables import lanes
from recado.operations.pruning import Pruning
from tests.contracts.queue import LEASE, PADARIA, SECOND, NoChance, QueueHarness, ScriptedHandler
from tests.support.crossing import crossing

ON_BOTH_DATABASES = True

NAME = "mail"


@dataclass(slots=True)
class Mailing(ScriptedHandler):
    """Starts its jobs again as mails are: each in a lane of its own."""

    name: str = NAME

    def replay(
        self,
        held: HeldLanes,
        job: StoredJob,
        *,
        force: bool,  # noqa: ARG002 - the port's names
        now: datetime,
        ids: Ids,
    ) -> Replayed | ReplayRefused:
        again = new_job(ids.new(), now)
        enqueue.add_alone(held, [again])
        return Replayed(job.id, again.id)


def new_job(id_: UUID, now: datetime) -> NewJob:
    return NewJob(id_, NAME, PADARIA, now, now, max_attempts=1)


@dataclass(slots=True)
class OwnLanes:
    """A queue of jobs that run beside all others."""

    harness: QueueHarness

    @property
    def queue(self) -> QueueService:
        return self.harness.queue

    async def stores(self) -> UUID:
        job = new_job(self.harness.ids.new(), self.harness.clock.now())
        await self.queue.enqueue([job])
        return job.id

    async def dies(self, job_id: UUID) -> None:
        claim = await self.harness.claims_one()
        assert claim.job.id == job_id
        await self.queue.finish(claim, RetryIn(SECOND, "the mail server is gone"))

    async def dead_letter(self) -> UUID:
        job_id = await self.stores()
        await self.dies(job_id)
        return job_id

    async def retried(self, job_id: UUID) -> UUID:
        result = await self.queue.retry(job_id)
        assert isinstance(result, Replayed)
        return result.by

    async def left(self) -> Collection[UUID]:
        """The lanes that have a row."""
        found = await self.harness.database.read(lambda uow: uow.all(select(lanes.c.lane)), owner=None)
        return {row["lane"] for row in found}


@pytest.fixture
def own(database: Database, clock: FrozenClock, ids: Ids) -> OwnLanes:
    harness = QueueHarness(database, clock, ids, Mailing())
    return OwnLanes(harness)


async def is_done(own: OwnLanes, _: UUID) -> None:
    await own.queue.finish(await own.harness.claims_one(), Done())


async def is_done_beside_another(own: OwnLanes, _: UUID) -> None:
    await own.stores()
    claims = await own.harness.claims()
    assert len(claims) == 2
    for claim in claims:
        await own.queue.finish(claim, Done())


async def is_not_wanted(own: OwnLanes, _: UUID) -> None:
    await own.queue.finish(await own.harness.claims_one(), Discard("the user is gone"))


async def dies_again(own: OwnLanes, job_id: UUID) -> None:
    await own.dies(job_id)


async def is_discarded_by_a_person(own: OwnLanes, job_id: UUID) -> None:
    await own.queue.discard(job_id)


async def is_given_back_and_then_done(own: OwnLanes, job_id: UUID) -> None:
    await own.queue.give_back(await own.harness.claims_one())
    assert await own.left() == {job_lane(job_id)}
    await is_done(own, job_id)


async def kills_its_workers_until_it_is_given_up(own: OwnLanes, job_id: UUID) -> None:
    for _ in range(MAX_CRASHES):
        await own.harness.claims_one()
        await own.harness.crashes()
        assert await own.left() == {job_lane(job_id)}
    assert await own.harness.claims() == []


ENDINGS = [
    is_done,
    is_done_beside_another,
    is_not_wanted,
    dies_again,
    is_discarded_by_a_person,
    is_given_back_and_then_done,
    kills_its_workers_until_it_is_given_up,
]


@pytest.mark.parametrize("ends", ENDINGS)
class TestTheRowGoes:
    async def test_with_the_first_job(self, own: OwnLanes, ends: Callable[[OwnLanes, UUID], Awaitable[None]]) -> None:
        job_id = await own.stores()
        assert await own.left() == {job_lane(job_id)}
        await ends(own, job_id)
        assert await own.left() == set()

    async def test_with_the_retry_of_a_retry(
        self, own: OwnLanes, ends: Callable[[OwnLanes, UUID], Awaitable[None]]
    ) -> None:
        first = await own.retried(await own.dead_letter())
        await own.dies(first)
        second = await own.retried(first)
        assert await own.left() == {job_lane(second)}
        await ends(own, second)
        assert await own.left() == set()


class TestTwoPeopleAtOnce:
    """No lane is left that could keep them apart."""

    def of(self, own: OwnLanes, database: Database) -> QueueService:
        harness = own.harness
        return QueueService(database, harness.clock, harness.ids, NoChance(), [harness.handler], lease=LEASE)

    async def test_start_a_dead_letter_again_once(self, own: OwnLanes) -> None:
        job_id = await own.dead_letter()
        first, second = await crossing(
            own.harness.database,
            lambda database: self.of(own, database).retry(job_id),
            lambda: own.queue.retry(job_id),
        )
        assert isinstance(first, Replayed)
        assert second == ReplayRefused(job_id, "it was retried before")
        assert (await own.harness.claims_one()).job.id == first.by

    async def test_do_not_discard_what_is_started_again(self, own: OwnLanes) -> None:
        job_id = await own.dead_letter()
        first, second = await crossing(
            own.harness.database,
            lambda database: self.of(own, database).retry(job_id),
            lambda: own.queue.discard(job_id),
        )
        assert (type(first), type(second)) == (Replayed, Conflict)


class TestAnEarlierReleaseLeft:
    """A retry ran in the lane of its dead letter, and its end left the row. Pruning deletes it."""

    async def retried_there(self, own: OwnLanes, letter: UUID) -> None:
        again = new_job(own.harness.ids.new(), own.harness.clock.now())
        again_there = NewJob(again.id, NAME, PADARIA, again.created_at, again.due_at, job_lane(letter), max_attempts=1)
        await own.queue.enqueue([again_there])

    async def forgets_its_head(self, own: OwnLanes, letter: UUID) -> None:
        """As when a clock was set back while the job runs."""
        lane = job_lane(letter)
        await own.harness.database.write(lambda uow: storage.refresh(storage.hold(uow, [lane]), [lane]), owner=None)

    async def prunes(self, own: OwnLanes) -> None:
        await Pruning(own.harness.database, own.harness.clock).prune()

    async def test_rows_that_nothing_needs(self, own: OwnLanes) -> None:
        letters = [await own.dead_letter() for _ in range(3)]
        for letter in letters:
            await self.retried_there(own, letter)
            await is_done(own, letter)
        assert await own.left() == {job_lane(letter) for letter in letters}
        await self.prunes(own)
        assert await own.left() == set()

    async def test_rows_of_retries_that_still_wait_or_run(self, own: OwnLanes) -> None:
        letter = await own.dead_letter()
        await self.retried_there(own, letter)
        await self.prunes(own)
        claim = await own.harness.claims_one()
        await self.forgets_its_head(own, letter)
        await self.prunes(own)
        assert await own.left() == {job_lane(letter)}
        await own.queue.finish(claim, Done())
        await self.prunes(own)
        assert await own.left() == set()

    async def test_and_no_row_of_a_customer_goes(self, own: OwnLanes) -> None:
        [job_id] = await own.harness.stores("ana", attempts=1)
        own.harness.queue = QueueService(
            own.harness.database, own.harness.clock, own.harness.ids, NoChance(), [ScriptedHandler()], lease=LEASE
        )
        await own.dies(job_id)
        before = await own.left()
        await self.prunes(own)
        assert await own.left() == before != set()
