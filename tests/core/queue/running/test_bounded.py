"""Bounded runs over real databases and real time: they end in time and give back what they could not finish."""

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from recado.core.clock import FrozenClock
from recado.core.database.engine import Database
from recado.core.errors import Busy, StorageUnavailable
from recado.core.ids import UuidV7
from recado.core.queue.cron import Cron
from recado.core.queue.job import Claim, JobResult
from recado.core.queue.running.bounded import Budget
from recado.core.queue.running.maintenance import Maintenance, MaintenanceReport
from recado.core.queue.schedules import Schedule
from recado.core.queue.service import QueueService
from tests.contracts.queue import LEASE, NoChance, ScriptedHandler
from tests.core.queue.running.test_worker import GatedHandler, Workshop
from tests.support.patience import PATIENCE

pytestmark = pytest.mark.proof

ON_BOTH_DATABASES = True

SHORT = 3.0
"""The seconds of a run that is cut off. Half of them are for claiming, on a machine that may be busy."""


@dataclass(slots=True)
class StubbornHandler(ScriptedHandler):
    """Ignores cancellation, as an agent may."""

    gate: asyncio.Event = field(default_factory=asyncio.Event)
    ignored: int = 0

    async def run(self, claim: Claim) -> JobResult:
        while not self.gate.is_set() and self.ignored < 2:
            try:
                await self.gate.wait()
            except asyncio.CancelledError:
                self.ignored += 1
        return await ScriptedHandler.run(self, claim)


@pytest.fixture
def workshop(database: Database) -> Workshop:
    return Workshop(database)


class TestABudget:
    def test_keeps_time_for_giving_back_and_claims_nothing_shortly_before(self) -> None:
        assert Budget.of(20, 100.0) == Budget(last_claim=115.0, stop=118.0, end=120.0)

    def test_of_a_few_seconds_keeps_half_of_them_for_work(self) -> None:
        assert Budget.of(4, 100.0) == Budget(last_claim=102.0, stop=103.0, end=104.0)


class TestABoundedRun:
    async def test_runs_what_is_due_and_says_what_it_did(self, workshop: Workshop) -> None:
        handler = ScriptedHandler()
        await workshop.stores("ana", "ana", "bia")

        report = await workshop.worker(handler).run_bounded(PATIENCE)

        assert (report.jobs, report.given_back, report.still_due, report.oldest_due_seconds) == (3, 0, 0, 0.0)
        assert await workshop.jobs() == [("done",)] * 3

    async def test_gives_back_unharmed_what_does_not_end_in_its_time(self, workshop: Workshop) -> None:
        handler = GatedHandler()
        await workshop.stores("ana", "bia")

        async with asyncio.timeout(PATIENCE):
            report = await workshop.worker(handler).run_bounded(SHORT)

        assert (report.jobs, report.given_back, report.still_due) == (0, 2, 2)
        assert await workshop.jobs("status, attempts, crashes") == [("waiting", 0, 0)] * 2

    @pytest.mark.sqlite_only
    async def test_takes_the_job_from_a_run_that_ignores_being_stopped(self, workshop: Workshop) -> None:
        stubborn, other = StubbornHandler(), ScriptedHandler()
        await workshop.stores("ana")

        async with asyncio.timeout(PATIENCE):
            report = await workshop.worker(stubborn).run_bounded(SHORT)

        taken = await workshop.worker(other).run_bounded(PATIENCE)
        stubborn.gate.set()
        await left_behind_ends()
        assert (report.given_back, taken.jobs, len(other.ran)) == (1, 1, 1)
        assert await workshop.jobs("status, attempts, crashes") == [("done", 0, 0)]

    async def test_claims_what_falls_due_while_something_slow_runs(self, workshop: Workshop) -> None:
        slow = GatedHandler()
        await workshop.stores("ana")
        worker = workshop.worker(slow)
        ticking = asyncio.create_task(worker.run_bounded(PATIENCE))
        await slow.begun.wait()

        await workshop.stores("bia")
        slow.gate.set()

        assert (await ticking).jobs == 2

    async def test_that_lingers_works_as_things_fall_due(self, workshop: Workshop) -> None:
        handler = ScriptedHandler()
        lingering = asyncio.create_task(workshop.worker(handler).run_bounded(4, linger=True))
        await workshop.stores("ana")

        assert (await lingering).jobs == 1

    async def test_that_is_cancelled_gives_back_what_it_holds(self, workshop: Workshop) -> None:
        handler = GatedHandler()
        await workshop.stores("ana")
        ticking = asyncio.create_task(workshop.worker(handler).run_bounded(PATIENCE))
        await handler.begun.wait()

        ticking.cancel()

        with pytest.raises(asyncio.CancelledError):
            await ticking
        assert await workshop.jobs("status, attempts, crashes") == [("waiting", 0, 0)]

    async def test_shares_the_worker_s_room_with_others(self, workshop: Workshop) -> None:
        """Ten runs at once in one server run no more jobs than its worker may."""
        handler = GatedHandler()
        await workshop.stores(*[f"lane {n}" for n in range(40)])
        worker = workshop.worker(handler, concurrency=5)
        ticking = [asyncio.create_task(worker.run_bounded(PATIENCE)) for _ in range(10)]
        await handler.begun.wait()
        await asyncio.wait(ticking, timeout=0.3)  # Time for more than may run, on most machines.
        async with asyncio.timeout(PATIENCE):
            while len(running := [each for each in await workshop.jobs() if each == ("running",)]) < 5:
                """Poll again."""
        handler.gate.set()

        report = await asyncio.gather(*ticking)

        assert len(running) == 5
        assert sum(each.jobs for each in report) == len(handler.ran) == 40


class TestAWakeUp:
    async def test_runs_the_best_due_job_and_those_after_it(self, workshop: Workshop) -> None:
        handler = ScriptedHandler()
        await workshop.stores("ana", "bia")
        assert await workshop.worker(handler).run_wakeup(PATIENCE) is True
        assert len(handler.ran) == 2

    async def test_is_well_when_nothing_is_due(self, workshop: Workshop) -> None:
        assert await workshop.worker(ScriptedHandler()).run_wakeup(PATIENCE) is True

    @pytest.mark.sqlite_only
    async def test_fails_when_its_job_does_not_end_in_time(self, workshop: Workshop) -> None:
        await workshop.stores("ana")
        assert await workshop.worker(GatedHandler()).run_wakeup(SHORT) is False
        assert await workshop.jobs("status, attempts, crashes") == [("waiting", 0, 0)]

    async def test_fails_without_a_claim_when_there_is_no_time(self, workshop: Workshop) -> None:
        await workshop.stores("ana")
        handler = ScriptedHandler()
        assert await workshop.worker(handler).run_wakeup(0) is False
        assert handler.ran == []

    async def test_says_when_the_database_is_gone(self, workshop: Workshop) -> None:
        worker = workshop.worker(ScriptedHandler())
        await workshop.database.close()
        with pytest.raises(StorageUnavailable):
            await worker.run_wakeup(PATIENCE)


class TestAMaintenanceRunOnAServerlessHost:
    async def test_frees_the_leases_of_the_dead(self, database: Database, clock: FrozenClock) -> None:
        """Maintenance in a worker would take a minute without a step for an outage and spare the leases."""
        ids, handler = UuidV7(clock), ScriptedHandler()
        queue = QueueService(database, clock, ids, NoChance(), [handler], lease=LEASE)
        maintenance = Maintenance(queue, Cron(database, clock, ids, [Schedule("sweep", timedelta(minutes=1))]), clock)
        assert await maintenance.run_once() == MaintenanceReport(slots_made=1, leases_freed=0)
        await queue.claim(1, max_isolated=0)
        clock.advance(timedelta(minutes=1))

        assert await maintenance.run_once() == MaintenanceReport(slots_made=1, leases_freed=1)


class TooMuchToSetRight(QueueService):
    """A queue whose repair of due times takes the database too long."""

    async def repair_times(self) -> int:
        raise Busy("the database took too long over it; try again")


async def test_leases_and_schedules_do_not_wait_for_times_to_be_set_right(
    database: Database, clock: FrozenClock
) -> None:
    ids = UuidV7(clock)
    queue = TooMuchToSetRight(database, clock, ids, NoChance(), [ScriptedHandler()], lease=LEASE)
    maintenance = Maintenance(queue, Cron(database, clock, ids, [Schedule("sweep", timedelta(minutes=1))]), clock)
    assert await maintenance.run_once() == MaintenanceReport(slots_made=1, leases_freed=0)


async def left_behind_ends() -> None:
    """Wait for the runs that could not be stopped."""
    async with asyncio.timeout(PATIENCE):
        while left := {task for task in asyncio.all_tasks() if task.get_name().startswith("job ")}:
            await asyncio.wait(left)
