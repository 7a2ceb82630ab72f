"""BullMQ over a real server that speaks Redis's protocol."""

import json
import signal
from uuid import UUID

import pytest
from bullmq import Queue, Worker

from recado.core.database.postgres.database import PostgresDatabase
from recado.core.queue.wakeups.bullmq import BullmqDelivery
from recado.core.queue.wakeups.contract import WakeUp
from tests.contracts.delivery import BrokerContract, WorkerHarness
from tests.support.lanes import lane_named
from tests.support.servers.brokers import RedisServer
from tests.support.servers.ports import reserved_port

NAME = "recado"


class RedisSource:
    """A queue of a test's own server."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server

    def delivery(self) -> BullmqDelivery:
        return BullmqDelivery(self._server.url, NAME)

    def nowhere(self) -> BullmqDelivery:
        return BullmqDelivery(f"redis://127.0.0.1:{reserved_port()}/0", NAME)

    async def publish_by_hand(self, body: str) -> None:
        queue = Queue(NAME, {"connection": self._server.url})
        try:
            data = json.loads(body)
        except ValueError:
            data = body
        await queue.add("by hand", data)
        await queue.close()

    async def everything(self) -> str:
        keys = self._server.command_line("KEYS", "*").decode().split("\r\n")
        shown = [key for key in keys if key.startswith("bull:")]
        return " ".join(
            self._server.command_line("DUMP" if "." in key else "HGETALL", key).decode(errors="replace")
            for key in shown
        )


class TestBullmq(BrokerContract):
    """What the contract says, and what is BullMQ's own."""

    @pytest.fixture
    def source(self, redis_server: RedisServer) -> RedisSource:
        redis_server.command_line("FLUSHALL")
        redis_server.command_line("CONFIG", "SET", "maxmemory-policy", "noeviction")
        return RedisSource(redis_server)

    async def test_nothing_is_left_in_redis_of_what_is_done(
        self, harness: WorkerHarness, redis_server: RedisServer
    ) -> None:
        async with harness.working():
            await harness.stores("ana", "bia", "caio")
            await harness.is_done()

        keys = redis_server.command_line("KEYS", f"bull:{NAME}:*-*").decode()
        assert keys == "*0\r\n"

    async def test_an_idle_worker_receives_after_redis_was_restarted(
        self, harness: WorkerHarness, redis_server: RedisServer
    ) -> None:
        async with harness.working():
            await harness.stores("ana")
            await harness.is_done()
            redis_server.crash()
            redis_server.start()
            await harness.stores("bia")
            await harness.is_done()

        assert [lane for lane, *_ in harness.handler.runs] == ["ana", "bia"]

    async def test_what_redis_forgot_is_noticed(self, source: RedisSource, redis_server: RedisServer) -> None:
        delivery = source.delivery()
        assert [await delivery.forgot(), await delivery.forgot()] == [True, False]

        redis_server.command_line("FLUSHALL")

        assert [await delivery.forgot(), await delivery.forgot()] == [True, False]
        await delivery.close()

    async def test_a_redis_without_memory_left_costs_no_job(
        self, harness: WorkerHarness, redis_server: RedisServer
    ) -> None:
        redis_server.command_line("CONFIG", "SET", "maxmemory", "1")
        try:
            async with harness.working():
                await harness.stores("ana")
                await harness.is_done()
        finally:
            redis_server.command_line("CONFIG", "SET", "maxmemory", "0")

        assert len(harness.handler.runs) == 1

    async def test_a_wake_up_that_died_with_its_worker_comes_back(
        self, source: RedisSource, redis_server: RedisServer
    ) -> None:
        """BullMQ returns it only after stalled jobs were moved twice."""
        wakeup = WakeUp(UUID(int=1), lane_named("ana"), 1)
        speaker = source.delivery()
        await speaker.publish([wakeup])
        dying = Worker(NAME, None, {"connection": redis_server.url, "autorun": False, "lockDuration": 50})
        assert (await dying.getNextJob("its token")).id == wakeup.key
        await dying.close(force=True)

        listener = BullmqDelivery(redis_server.url, NAME, block_seconds=0.1, stalled_seconds=0.1)
        [received] = await self._receives(listener, {wakeup.job_id})

        assert received.job_id == wakeup.job_id
        await speaker.close()

    async def test_it_warns_of_eviction_and_of_forgetting(self, source: RedisSource, redis_server: RedisServer) -> None:
        redis_server.command_line("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")

        state = await source.delivery().state()

        assert state.reachable
        assert [warning.split(":")[0] for warning in state.warnings] == [
            "Redis evicts keys (maxmemory-policy allkeys-lru)",
            "Redis keeps no append-only file",
        ]
        assert dict(state.detail) == {"maxmemory_policy": "allkeys-lru", "persistence": "none"}


class TestWithPostgres:
    """Rows in PostgreSQL, wake-ups in Redis."""

    @pytest.fixture
    def harness(self, postgres_database: PostgresDatabase, redis_server: RedisServer) -> WorkerHarness:
        redis_server.command_line("FLUSHALL")
        return WorkerHarness(postgres_database, RedisSource(redis_server))

    async def test_two_workers_run_every_job_once(self, harness: WorkerHarness) -> None:
        async with harness.working(workers=2):
            stored = await harness.stores(*(f"lane {n}" for n in range(30)))
            await harness.is_done()

        assert sorted(job for _, job, *_ in harness.handler.runs) == sorted(stored)

    async def test_a_frozen_redis_costs_no_job(self, harness: WorkerHarness, redis_server: RedisServer) -> None:
        async with harness.working():
            redis_server.signal(signal.SIGSTOP)
            try:
                await harness.stores("ana")
                await harness.is_done()
            finally:
                redis_server.signal(signal.SIGCONT)

        assert len(harness.handler.runs) == 1
