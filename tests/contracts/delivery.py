"""The suite of every delivery: what wake-ups must do for jobs, lanes, maintenance and brokers.

    class TestOverRedis(DeliveryContract): ...      # its fixture `source` says which one

A delivery may forget, repeat and reorder, so no test asks when a wake-up comes. The tests read the rows after workers
have received what they received.
"""

import asyncio
import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence, Set
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

import pytest
from sqlalchemy import text

from recado.bootstrap import database_wakeups_of
from recado.core.clock import SystemClock
from recado.core.database.engine import Database
from recado.core.errors import BrokerLost
from recado.core.ids import UuidV7, system_chance
from recado.core.queue.cron import Cron
from recado.core.queue.job import Claim, JobResult, NewJob, RetryIn
from recado.core.queue.running.heartbeat import Heartbeat
from recado.core.queue.running.isolation import IsolatedRunner
from recado.core.queue.running.maintenance import Maintenance
from recado.core.queue.running.worker import Worker
from recado.core.queue.service import QueueService
from recado.core.queue.wakeups.contract import Broker, BrokerState, Delivery, Room, WakeUp
from recado.core.queue.wakeups.dispatcher import Dispatcher
from tests.contracts.queue import PADARIA, NoChance, ScriptedHandler
from tests.support.lanes import lane_named, name_of
from tests.support.patience import PATIENCE

PHONE = "+5511987654321"


class DeliverySource(Protocol):
    """Makes deliveries of one kind."""

    def delivery(self) -> Delivery: ...


class BrokerSource(DeliverySource, Protocol):
    """Makes brokers of one kind."""

    def delivery(self) -> Broker: ...

    def nowhere(self) -> Broker:
        """Return the same kind, at an address where nothing listens."""
        ...

    async def publish_by_hand(self, body: str) -> None:
        """Publish as another producer does."""
        ...

    async def everything(self) -> str:
        """Return all that the broker holds, as text."""
        ...


@dataclass(slots=True)
class RecordingHandler(ScriptedHandler):
    """Records when runs began and ended, lane by lane."""

    runs: list[tuple[str, UUID, datetime, datetime]] = field(default_factory=list)
    clock: SystemClock = field(default_factory=SystemClock)
    held: asyncio.Event | None = None

    async def run(self, claim: Claim) -> JobResult:
        begun = self.clock.now()
        if self.held is not None:
            await self.held.wait()
        else:
            await asyncio.sleep(0)
        result = await ScriptedHandler.run(self, claim)
        self.runs.append((name_of(claim.job.lane), claim.job.id, begun, self.clock.now()))
        return result


@dataclass(slots=True)
class WorkerHarness:
    """Workers over one kind of delivery and one database, in real time."""

    database: Database
    source: DeliverySource
    handler: RecordingHandler = field(default_factory=RecordingHandler)
    clock: SystemClock = field(default_factory=SystemClock)

    @property
    def ids(self) -> UuidV7:
        return UuidV7(self.clock)

    def worker(self, delivery: Delivery, *, concurrency: int = 8, handler: ScriptedHandler | None = None) -> Worker:
        queue = QueueService(self.database, self.clock, self.ids, NoChance(), [handler or self.handler])
        heartbeat = Heartbeat(self.database, self.clock, queue.lease)
        own = database_wakeups_of(self.database, self.clock)
        dispatcher = None
        if isinstance(delivery, Broker):
            limit = 4 * concurrency
            dispatcher = Dispatcher(self.database, delivery, own, self.clock, system_chance(), limit=limit)
        maintenance = Maintenance(queue, Cron(self.database, self.clock, self.ids, []), self.clock, dispatcher)
        isolated_runner = IsolatedRunner(queue, heartbeat, list)
        return Worker(queue, delivery, maintenance, heartbeat, isolated_runner, self.database, concurrency=concurrency)

    @asynccontextmanager
    async def working(
        self, *, workers: int = 1, concurrency: int = 8, delivery: Callable[[], Delivery] | None = None
    ) -> AsyncIterator[None]:
        """Run some workers, each with a delivery of its own."""
        deliveries = [(delivery or self.source.delivery)() for _ in range(workers)]
        crew = [self.worker(each, concurrency=concurrency) for each in deliveries]
        running = [asyncio.create_task(each.run()) for each in crew]
        try:
            yield
        finally:
            for each in crew:
                each.stop()
            async with asyncio.timeout(PATIENCE):
                await asyncio.gather(*running)
            for source in deliveries:
                await source.close()

    async def stores(self, *lanes: str, due_in: timedelta = timedelta(), attempts: int = 3) -> list[UUID]:
        now, ids = self.clock.now(), self.ids
        jobs = [
            NewJob(
                ids.new(), "reply", PADARIA, now, now + due_in, lane_named(lane), kind="reply", max_attempts=attempts
            )
            for lane in lanes
        ]
        await QueueService(self.database, self.clock, ids, NoChance(), []).enqueue(jobs)
        return [job.id for job in jobs]

    async def is_done(self) -> None:
        """Wait until no job is left."""
        async with asyncio.timeout(PATIENCE):
            while await self.count("status IN ('collecting','waiting','running')"):  # noqa: ASYNC110 - rows set no event
                await asyncio.sleep(0.01)

    async def counts(self, wanted: int, where: str) -> bool:
        return await self.count(where) == wanted

    async def count(self, where: str) -> int:
        question = text(f"SELECT count(*) AS n FROM message_queue WHERE {where}")
        [row] = await self.database.read(lambda uow: uow.all(question), owner=None)
        return int(row["n"])


async def eventually(true: Callable[[], Awaitable[bool]]) -> None:
    """Wait for something that another task does."""
    async with asyncio.timeout(PATIENCE):
        while not await true():  # noqa: ASYNC110 - it is asked of a database
            await asyncio.sleep(0.01)


class GatedDelivery:
    """A delivery that gives no wake-up until it is opened."""

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery
        self.asked, self.open = asyncio.Event(), asyncio.Event()

    async def publish(self, wakeups: Sequence[WakeUp]) -> None:
        await self._delivery.publish(wakeups)

    async def receive(self, room: Room) -> AsyncGenerator[WakeUp, None]:
        self.asked.set()
        await self.open.wait()
        async for wakeup in self._delivery.receive(room):
            yield wakeup

    async def forgot(self) -> bool:
        return False

    async def state(self) -> BrokerState:
        return BrokerState("late", True)

    async def close(self) -> None:
        await self._delivery.close()


class DeliveryContract:
    """Workers over any delivery."""

    @pytest.fixture
    def source(self) -> DeliverySource:
        raise NotImplementedError

    @pytest.fixture
    def harness(self, database: Database, source: DeliverySource) -> WorkerHarness:
        return WorkerHarness(database, source)

    async def test_an_idle_worker_runs_a_new_job(self, harness: WorkerHarness) -> None:
        async with harness.working():
            await harness.stores("ana")
            await harness.is_done()

        assert [lane for lane, *_ in harness.handler.runs] == ["ana"]

    async def test_jobs_stored_while_no_worker_ran_are_run(self, harness: WorkerHarness) -> None:
        stored = await harness.stores(*(f"lane {n}" for n in range(30)))

        async with harness.working():
            await harness.is_done()

        assert sorted(job for _, job, *_ in harness.handler.runs) == sorted(stored)

    async def test_two_workers_run_every_job_once(self, harness: WorkerHarness) -> None:
        async with harness.working(workers=2):
            stored = []
            for start in range(0, 60, 10):
                stored += await harness.stores(*(f"lane {n}" for n in range(start, start + 10)))
            await harness.is_done()

        assert sorted(job for _, job, *_ in harness.handler.runs) == sorted(stored)

    async def test_a_lane_is_served_in_its_order_and_never_twice_at_once(self, harness: WorkerHarness) -> None:
        stored = await harness.stores(*["ana"] * 5, *["bia"] * 5)

        async with harness.working(workers=2):
            await harness.is_done()

        for lane, its in (("ana", stored[:5]), ("bia", stored[5:])):
            runs = [(job, begun, ended) for name, job, begun, ended in harness.handler.runs if name == lane]
            assert [job for job, *_ in runs] == its
            assert all(before[2] <= after[1] for before, after in itertools.pairwise(runs))

    async def test_a_job_runs_when_it_is_due_and_not_before(self, harness: WorkerHarness) -> None:
        async with harness.working():
            now = harness.clock.now()
            await harness.stores("ana", due_in=timedelta(seconds=0.4))
            await harness.is_done()

        [(_, _, begun, _)] = harness.handler.runs
        assert begun >= now + timedelta(seconds=0.4)

    async def test_a_retry_is_published_again(self, harness: WorkerHarness) -> None:
        harness.handler.script.append(RetryIn(timedelta(seconds=0.2), "not yet"))

        async with harness.working():
            await harness.stores("ana")
            await harness.is_done()

        assert len(harness.handler.runs) == 2

    async def test_a_full_worker_leaves_wake_ups_to_others(self, harness: WorkerHarness) -> None:
        harness.handler.held = asyncio.Event()
        idle = GatedDelivery(harness.source.delivery())
        async with harness.working(concurrency=1), harness.working(delivery=lambda: idle):
            await idle.asked.wait()
            await harness.stores("ana")
            await eventually(lambda: harness.counts(1, "status = 'running'"))
            await harness.stores("bia")
            await eventually(lambda: harness.counts(1, "status = 'waiting'"))
            idle.open.set()
            await eventually(lambda: harness.counts(2, "status = 'running'"))
            harness.handler.held.set()
            await harness.is_done()


class BrokerContract(DeliveryContract):
    """What a broker must do as well."""

    @pytest.fixture
    def source(self) -> BrokerSource:
        raise NotImplementedError

    async def test_every_published_wake_up_is_received(self, source: BrokerSource) -> None:
        wakeups = [WakeUp(UUID(int=n), lane_named(f"lane {n}"), 1) for n in range(1, 26)]
        speaker, listener = source.delivery(), source.delivery()

        await speaker.publish(wakeups)
        received = await self._receives(listener, {wakeup.job_id for wakeup in wakeups})

        assert {wakeup.dispatch for wakeup in received} == {1}
        await speaker.close()
        await listener.close()

    async def test_a_job_can_be_published_twice(self, source: BrokerSource) -> None:
        speaker, listener = source.delivery(), source.delivery()
        for dispatch in (1, 2):
            wakeup = WakeUp(UUID(int=1), lane_named("ana"), dispatch)
            await speaker.publish([wakeup])
            await self._receives(listener, {wakeup.key}, of=lambda each: each.key)  # The first may be repeated as well.
        await speaker.close()
        await listener.close()

    async def test_an_unreachable_broker_is_reported(self, source: BrokerSource) -> None:
        broker = source.nowhere()

        with pytest.raises(BrokerLost):
            await broker.publish([WakeUp(UUID(int=1), lane_named("ana"), 1)])

        state = await broker.state()
        assert not state.reachable
        assert "RECADO_" in state.warnings[0]
        await broker.close()

    async def test_it_reports_its_state(self, source: BrokerSource) -> None:
        broker = source.delivery()
        assert (await broker.state()).reachable
        await broker.close()

    async def test_without_the_broker_workers_poll_the_table(
        self, harness: WorkerHarness, source: BrokerSource
    ) -> None:
        stored = await harness.stores("ana", "bia")

        async with harness.working(delivery=source.nowhere):
            await harness.is_done()
            stored += await harness.stores("caio")
            await harness.is_done()

        assert sorted(job for _, job, *_ in harness.handler.runs) == sorted(stored)

    async def test_foreign_and_malformed_wake_ups_do_no_harm(
        self, harness: WorkerHarness, source: BrokerSource
    ) -> None:
        for body in ("{}", "não é JSON", "[]", '{"job": "no id", "dispatch": "often"}', f'{{"job": "{UUID(int=9)}"}}'):
            await source.publish_by_hand(body)

        async with harness.working():
            await harness.stores("ana")
            await harness.is_done()

        assert len(harness.handler.runs) == 1

    async def test_the_broker_learns_nothing_of_customers(self, harness: WorkerHarness, source: BrokerSource) -> None:
        await harness.stores(f"whatsapp:+14155238886|{PHONE}")
        speaker = source.delivery()
        dispatcher = Dispatcher(
            harness.database,
            speaker,
            database_wakeups_of(harness.database, harness.clock),
            harness.clock,
            system_chance(),
            limit=4,
        )

        assert await dispatcher.step() == 1

        held = await source.everything()
        assert held
        assert PHONE.strip("+") not in held
        await speaker.close()

    async def _receives(
        self,
        delivery: Delivery,
        wanted: Set[object],
        *,
        of: Callable[[WakeUp], object] = lambda wakeup: wakeup.job_id,
    ) -> list[WakeUp]:
        """Receive until each was received at least once."""
        received: list[WakeUp] = []
        wakeups = delivery.receive(lambda: 8)
        async with asyncio.timeout(PATIENCE):
            while not wanted <= {of(wakeup) for wakeup in received}:
                received.append(await anext(wakeups))
        await wakeups.aclose()
        return received
