"""The queue over a real PostgreSQL, where other transactions may be open at any moment."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import create_engine, make_url, select, text
from sqlalchemy.pool import NullPool

from recado.core.clock import FrozenClock, SystemClock
from recado.core.database.postgres.database import PostgresDatabase
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.ids import Ids
from recado.core.queue.job import Done, NewJob
from recado.core.queue.service import QueueService
from recado.core.queue.storage import endings, lanes, leases
from recado.core.queue.storage.claiming import OwnerWalk, hold_heads
from recado.core.queue.storage.tables import message_queue
from tests.contracts.queue import (
    FLORES,
    HOUR,
    LEASE,
    PADARIA,
    SECOND,
    NoChance,
    QueueContract,
    QueueHarness,
    ScriptedHandler,
)
from tests.support.lanes import lane_named

TOKEN = UUID(int=77)


class TestOverPostgres(QueueContract):
    """What the contract says."""

    @pytest.fixture
    def database(self, postgres_database: PostgresDatabase) -> PostgresDatabase:
        return postgres_database


@contextmanager
def frozen(database: PostgresDatabase, *work: Callable[[UnitOfWork], object]) -> Iterator[None]:
    """A process that stands still in mid-transaction. Nothing times it out, so a test that waits for it fails."""
    engine = create_engine(make_url(database.url).set(drivername="postgresql+psycopg"), poolclass=NullPool)
    with closing(engine.connect()) as connection:
        for each in work:
            each(UnitOfWork(connection))
        yield
        connection.rollback()


class TestAHostWhoseClockIsSetBack:
    async def test_resets_no_times_because_the_time_is_the_servers(
        self, postgres_database: PostgresDatabase, ids: Ids
    ) -> None:
        """Its maintenance runs before a write has synchronized its clock again."""
        host = FrozenClock(SystemClock().now())
        database = PostgresDatabase(postgres_database.url, host_clock=host)
        clock = database.clock
        queue = QueueService(database, clock, ids, NoChance(), [ScriptedHandler()], lease=LEASE)
        job = NewJob(
            ids.new(), "reply", PADARIA, clock.now(), clock.now() + HOUR / 2, lane_named("a retry of half an hour")
        )
        await queue.enqueue([job])
        host.jump(-HOUR)

        assert await queue.repair_times() == 0

        [due_at] = await database.read(
            lambda uow: uow.execute(select(message_queue.c.due_at)).scalars().all(), owner=None
        )
        assert due_at == job.due_at
        await database.close()


class TestTheView:
    async def test_shows_a_tenant_its_own_jobs_only(
        self, postgres_database: PostgresDatabase, clock: FrozenClock, ids: Ids
    ) -> None:
        harness = QueueHarness(postgres_database, clock, ids)
        await harness.stores("ana")
        await harness.stores("bia", owner=FLORES)
        statement = text("SELECT owner_id FROM message_queue_view")
        seen = await postgres_database.read(lambda uow: uow.all(statement), owner=FLORES)
        assert [row["owner_id"] for row in seen] == [str(FLORES)]


class TestAFrozenProcess:
    """It keeps its locks until the server ends it, and stops no other process meanwhile."""

    @pytest.fixture
    def harness(self, postgres_database: PostgresDatabase, clock: FrozenClock, ids: Ids) -> QueueHarness:
        return QueueHarness(postgres_database, clock, ids)

    def claiming(self, harness: QueueHarness, limit: int) -> Callable[[UnitOfWork], object]:
        now = harness.clock.now()

        def claim(uow: UnitOfWork) -> object:
            held, heads = hold_heads(uow, now, limit, 4, OwnerWalk())
            return leases.lease(held, heads, TOKEN, now, now + LEASE)

        return claim

    async def test_that_claims_for_the_first_time_stops_no_claim(
        self, harness: QueueHarness, postgres_database: PostgresDatabase
    ) -> None:
        await harness.stores("p1", "p2", "p3")

        with frozen(postgres_database, self.claiming(harness, 1)):
            assert await harness.claimed_lanes() == ["p2", "p3"]

    async def test_that_claims_again_stops_no_claim(
        self, harness: QueueHarness, postgres_database: PostgresDatabase
    ) -> None:
        await harness.stores("p0")
        await harness.queue.finish(await harness.claims_one(), Done())
        await harness.stores("p1", "p2", "p3")

        with frozen(postgres_database, self.claiming(harness, 1)):
            assert await harness.claimed_lanes() == ["p2", "p3"]

    async def test_holds_no_more_lanes_than_it_takes(
        self, harness: QueueHarness, postgres_database: PostgresDatabase
    ) -> None:
        await harness.stores("p1", "p2", "p3", "p4")
        await harness.stores("f1", "f2", "f3", "f4", owner=FLORES)

        with frozen(postgres_database, self.claiming(harness, 4)):
            assert sorted(await harness.claimed_lanes(4)) == ["f3", "f4", "p3", "p4"]

    async def test_that_claims_for_an_owner_with_a_cap_cannot_have_it_exceeded(
        self, harness: QueueHarness, postgres_database: PostgresDatabase
    ) -> None:
        await harness.given_cap(PADARIA, 2)
        await harness.stores("p1", "p2", "p3")
        await harness.stores("f1", owner=FLORES)

        with frozen(postgres_database, self.claiming(harness, 2)):
            assert await harness.claimed_lanes() == []
            await harness.stores("f2", owner=FLORES)
            assert await harness.claimed_lanes() == ["f2"]

    async def test_does_not_stop_the_leases_of_others_from_being_freed(
        self, harness: QueueHarness, postgres_database: PostgresDatabase
    ) -> None:
        await harness.stores("p1", "p2")
        await harness.claims()
        harness.clock.advance(LEASE + SECOND)

        with frozen(postgres_database, lambda uow: lanes.hold(uow, [lane_named("p1")])):
            assert await harness.queue.free_ended_leases() == 1
            assert await harness.claimed_lanes() == ["p2"]
        assert await harness.queue.free_ended_leases() == 1

    async def test_that_ends_a_job_does_not_stop_the_heartbeat_of_its_neighbours(
        self, harness: QueueHarness, postgres_database: PostgresDatabase
    ) -> None:
        await harness.stores("p1", "p2")
        ending, going_on = await harness.claims()
        until = harness.clock.now() + timedelta(minutes=5)
        renewals = [(claim.job.id, claim.token, until) for claim in (ending, going_on)]

        with frozen(
            postgres_database, lambda uow: endings.complete_all(lanes.hold(uow, [lane_named("p1")]), [ending], until)
        ):
            held = await postgres_database.write(lambda uow: leases.extend_leases(uow, renewals), owner=None)

        assert held == {ending.job.id: False, going_on.job.id: True}, (
            "it is not lost as long as its ending may be undone"
        )
        assert (await harness.row(going_on.job.id))["leased_until"] == until
