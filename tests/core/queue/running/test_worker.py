"""The worker over real databases and real time: it drains, stops, is recycled, and isolates poison jobs."""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from recado.bootstrap import Container, database_wakeups_of, metadata
from recado.core.clock import SystemClock
from recado.core.database.engine import Database
from recado.core.ids import UuidV7
from recado.core.queue.cron import Cron
from recado.core.queue.job import BACKGROUND_PRIORITY, Claim, JobResult, NewJob, RetryIn
from recado.core.queue.running.heartbeat import Heartbeat
from recado.core.queue.running.isolation import Command, IsolatedRunner
from recado.core.queue.running.maintenance import Maintenance
from recado.core.queue.running.worker import Worker
from recado.core.queue.service import QueueService
from recado.entrypoints.shutdown import ShutdownSignals
from recado.entrypoints.worker import WorkerEnding, run_worker
from recado.migrations.runner import migrate_sqlite
from recado.settings import Settings
from tests.contracts.queue import PADARIA, NoChance, ScriptedHandler
from tests.support.lanes import lane_named
from tests.support.patience import PATIENCE

ON_BOTH_DATABASES = True


@dataclass(slots=True)
class GatedHandler(ScriptedHandler):
    """Its runs wait at a gate."""

    gate: asyncio.Event = field(default_factory=asyncio.Event)
    begun: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, claim: Claim) -> JobResult:
        self.begun.set()
        await self.gate.wait()
        return await ScriptedHandler.run(self, claim)


def _no_isolation() -> Sequence[str]:
    raise AssertionError("no job is suspected here")


@dataclass(slots=True)
class Workshop:
    """Workers and jobs on one database."""

    database: Database
    clock: SystemClock = field(default_factory=SystemClock)
    needs_recycling: bool = False

    @property
    def ids(self) -> UuidV7:
        return UuidV7(self.clock)

    def worker(
        self,
        handler: ScriptedHandler,
        *,
        command: Command = _no_isolation,
        lease: timedelta = timedelta(seconds=30),
        grace: float = PATIENCE,
        concurrency: int = 64,
    ) -> Worker:
        queue = QueueService(self.database, self.clock, self.ids, NoChance(), [handler], lease=lease)
        heartbeat = Heartbeat(self.database, self.clock, lease)
        maintenance = Maintenance(queue, Cron(self.database, self.clock, self.ids, []), self.clock)
        return Worker(
            queue,
            database_wakeups_of(self.database, self.clock),
            maintenance,
            heartbeat,
            IsolatedRunner(queue, heartbeat, command),
            self.database,
            concurrency=concurrency,
            grace_seconds=grace,
            needs_recycling=lambda: self.needs_recycling,
        )

    async def stores(self, *lanes: str, name: str = "reply", attempts: int = 3, priority: int = 5) -> None:
        now = self.clock.now()
        jobs = [
            NewJob(self.ids.new(), name, PADARIA, now, now, lane_named(lane), max_attempts=attempts, priority=priority)
            for lane in lanes
        ]
        queue = QueueService(self.database, self.clock, self.ids, NoChance(), [])
        await queue.enqueue(jobs)

    async def breaks(self, sql: str) -> None:
        """Change rows directly."""
        await self.database.write(lambda uow: uow.execute(text(sql)).close(), owner=None)

    async def jobs(self, columns: str = "status") -> list[tuple[object, ...]]:
        question = text(f"SELECT {columns} FROM message_queue ORDER BY id")
        rows = await self.database.read(lambda uow: uow.all(question), owner=None)
        return [tuple(row.values()) for row in rows]


@pytest.fixture
def workshop(database: Database) -> Workshop:
    return Workshop(database)


async def ends(running: "asyncio.Task[None]") -> None:
    async with asyncio.timeout(PATIENCE):
        await running


class TestDraining:
    async def test_ends_when_nothing_is_left(self, workshop: Workshop) -> None:
        handler = ScriptedHandler()
        await workshop.stores("ana", "ana", "bia")

        await ends(asyncio.create_task(workshop.worker(handler).run(drain=True)))

        assert len(handler.ran) == 3
        assert await workshop.jobs() == [("done",)] * 3

    async def test_ends_at_once_when_nothing_was_there(self, workshop: Workshop) -> None:
        for _ in range(3):
            await ends(asyncio.create_task(workshop.worker(ScriptedHandler()).run(drain=True)))

    async def test_ends_when_another_worker_has_done_the_last_job(self, workshop: Workshop) -> None:
        """A job that ends in another worker sends no wake-up here, so a draining worker must poll."""
        slow = GatedHandler()
        await workshop.stores("ana")
        other = workshop.worker(slow)
        elsewhere = asyncio.create_task(other.run())
        await slow.begun.wait()

        draining = asyncio.create_task(workshop.worker(ScriptedHandler()).run(drain=True))
        slow.gate.set()

        await ends(draining)
        other.stop()
        await ends(elsewhere)
        assert slow.ran

    async def test_a_worker_of_one_job_runs_those_in_the_background_too(self, workshop: Workshop) -> None:
        """Half of one is none: events would never be delivered, and draining would never end."""
        handler = ScriptedHandler()
        await workshop.stores("ana", "bia", priority=BACKGROUND_PRIORITY)

        await ends(asyncio.create_task(workshop.worker(handler, concurrency=1).run(drain=True)))

        assert len(handler.ran) == 2


class TestStopping:
    async def test_lets_what_runs_come_to_its_end(self, workshop: Workshop) -> None:
        handler = GatedHandler()
        await workshop.stores("ana")
        worker = workshop.worker(handler)
        running = asyncio.create_task(worker.run())
        await handler.begun.wait()

        worker.stop()
        await workshop.stores("bia")
        handler.gate.set()

        await ends(running)
        assert await workshop.jobs() == [("done",), ("waiting",)]

    async def test_gives_back_unharmed_what_does_not_end_in_time(self, workshop: Workshop) -> None:
        handler = GatedHandler()
        await workshop.stores("ana")
        worker = workshop.worker(handler, grace=0.01)
        running = asyncio.create_task(worker.run())
        await handler.begun.wait()

        worker.stop()

        await ends(running)
        assert await workshop.jobs("status, attempts, crashes") == [("waiting", 0, 0)]

    async def test_is_what_a_process_that_needs_recycling_does_by_itself(self, workshop: Workshop) -> None:
        workshop.needs_recycling = True
        await workshop.stores("ana")

        await ends(asyncio.create_task(workshop.worker(ScriptedHandler()).run()))

        assert await workshop.jobs() == [("waiting",)]

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    async def test_is_what_a_signal_asks_for(self, tmp_path: Path, number: signal.Signals) -> None:
        url = f"sqlite:///{tmp_path}/recado.db"
        migrate_sqlite(url, metadata)
        settings = Settings(database_url=url, public_url="http://127.0.0.1:1", secret_key=bytes(32))
        with ShutdownSignals() as signals:
            working = asyncio.create_task(run_worker(Container(settings=settings), signals))
            asyncio.get_running_loop().call_soon(os.kill, os.getpid(), number)

            async with asyncio.timeout(PATIENCE):
                assert await working is WorkerEnding.STOPPED


class TestAHandler:
    async def test_that_raises_is_tried_again_later(self, workshop: Workshop) -> None:
        handler = ScriptedHandler()
        handler.script.append(RuntimeError("a bug"))
        await workshop.stores("ana")
        worker = workshop.worker(handler)
        running = asyncio.create_task(worker.run())
        await _until_jobs(workshop, "status, attempts, last_error", [("waiting", 1, "RuntimeError: a bug")])

        worker.stop()
        await ends(running)

    async def test_that_always_raises_is_settled(self, workshop: Workshop) -> None:
        handler = ScriptedHandler()
        handler.script.append(RuntimeError("a bug"))
        await workshop.stores("ana", attempts=1)

        await ends(asyncio.create_task(workshop.worker(handler).run(drain=True)))

        assert [error for _, error in handler.settled] == ["RuntimeError: a bug"]
        assert await workshop.jobs() == [("dead",)]

    async def test_that_waits_is_asked_again_when_it_is_due(self, workshop: Workshop) -> None:
        handler = ScriptedHandler()
        handler.script.append(RetryIn(timedelta(milliseconds=50), counts=False))
        await workshop.stores("ana")

        await ends(asyncio.create_task(workshop.worker(handler).run(drain=True)))

        assert len(handler.ran) == 2

    async def test_of_another_release_is_left_to_it(self, workshop: Workshop) -> None:
        """A job with a name unknown to this release must neither stop the queue nor be lost."""
        handler = ScriptedHandler()
        await workshop.stores("new", name="of.tomorrow")
        await workshop.stores("ana")
        worker = workshop.worker(handler)
        running = asyncio.create_task(worker.run())
        await _until_jobs(workshop, "name, status, attempts", [("of.tomorrow", "waiting", 0), ("reply", "done", 0)])

        worker.stop()
        await ends(running)


class TestAnIsolatedJob:
    """The processes are tiny programs here; tests/chaos/crash runs the real ones."""

    @pytest.fixture
    async def isolating(self, workshop: Workshop) -> Workshop:
        await workshop.stores("ana", attempts=1)
        await workshop.breaks("UPDATE message_queue SET crashes = 1")
        await workshop.breaks("UPDATE lanes SET isolated = (1 = 1)")
        return workshop

    async def test_that_kills_its_process_is_settled_and_its_worker_lives(self, isolating: Workshop) -> None:
        handler = ScriptedHandler()
        await isolating.stores("bia")
        program = f"{_BEGINS}; os.kill(os.getpid(), signal.SIGKILL)"
        worker = isolating.worker(handler, command=lambda: (sys.executable, "-S", "-c", program))

        await ends(asyncio.create_task(worker.run(drain=True)))

        assert [error for _, error in handler.settled] == ["it killed its own process 1 times (signal 9)"]
        assert await isolating.jobs() == [("dead",), ("done",)]
        assert len(handler.ran) == 1

    async def test_gets_a_process_that_inherits_no_file_of_the_database(
        self, isolating: Workshop, tmp_path: Path
    ) -> None:
        seen = tmp_path / "descriptors"
        listed = "','.join(sorted(os.listdir('/dev/fd')))"
        program = f"{_BEGINS}; open({str(seen)!r}, 'w').write({listed}); os.abort()"
        worker = isolating.worker(ScriptedHandler(), command=lambda: (sys.executable, "-S", "-c", program))

        await ends(asyncio.create_task(worker.run(drain=True)))

        # Standard input, output and error, the file just opened, and the directory that was being listed.
        assert seen.read_text() == "0,1,2,3,4"

    @pytest.mark.parametrize("command", [(sys.executable, "-S", "-c", "raise SystemExit(2)"), ("/no/such/program",)])
    async def test_is_not_accused_by_a_process_that_could_not_be_started(
        self, isolating: Workshop, command: Sequence[str]
    ) -> None:
        """As when a release is replaced while a worker runs: customers must get no apology for that."""
        handler = ScriptedHandler()
        worker = isolating.worker(handler, command=lambda: command)
        running = asyncio.create_task(worker.run())
        columns = "status, attempts, crashes, crashes_alone, due_at > created_at"
        await _until_jobs(isolating, columns, [("waiting", 0, 1, 0, True)])

        worker.stop()

        await ends(running)
        assert handler.settled == []

    async def test_goes_back_unharmed_when_its_worker_is_stopped(self, isolating: Workshop, tmp_path: Path) -> None:
        begun = tmp_path / "begun"
        program = f"import pathlib, signal; pathlib.Path({str(begun)!r}).touch(); signal.pause()"
        command = (sys.executable, "-S", "-c", program)
        worker = isolating.worker(ScriptedHandler(), command=lambda: command, grace=0.01)
        running = asyncio.create_task(worker.run())
        async with asyncio.timeout(PATIENCE):
            while not begun.exists():
                await asyncio.to_thread(os.stat, tmp_path)

        worker.stop()

        await ends(running)
        assert await isolating.jobs("status, attempts, crashes_alone") == [("waiting", 0, 0)]


_BEGINS = "import os, signal; os.read(0, 4096); os.write(1, b'begun\\n')"
"""A program that takes its job as the parent expects it."""


async def _until_jobs(workshop: Workshop, columns: str, expected: list[tuple[object, ...]]) -> None:
    async with asyncio.timeout(PATIENCE):
        while await workshop.jobs(columns) != expected:
            """Poll again."""
