"""The one kind of worker: claims what is due, runs it, and stores how it ended.

Its only loops are this one and the relay. Many jobs run at once because they wait on models and on Twilio; agents run
elsewhere (agents/runner.py), so nothing here may block.
"""

import asyncio
import contextlib
from collections.abc import Callable, Collection, Iterable
from datetime import timedelta

import structlog

from recado.core.clock import SystemClock
from recado.core.database.engine import Database
from recado.core.errors import Busy, DomainError, StorageUnavailable
from recado.core.metrics import Meters
from recado.core.queue.crash import CrashPoint, never
from recado.core.queue.job import ISOLATED_AT_ONCE, Done, Job, JobResult, RetryIn
from recado.core.queue.running.bounded import BoundedRunReport, BoundedRuns, WorkerControls
from recado.core.queue.running.heartbeat import Heartbeat
from recado.core.queue.running.instrumentation import JobInstrumentation
from recado.core.queue.running.isolation import IsolatedRunner
from recado.core.queue.running.maintenance import Maintenance
from recado.core.queue.running.retrying import retry_while_leased
from recado.core.queue.service import QueueService
from recado.core.queue.storage import enqueue
from recado.core.queue.wakeups.contract import Delivery

log = structlog.get_logger(__name__)


UNKNOWN_PAUSE = timedelta(minutes=1)
"""How long a job of a name that this release does not know waits for another's worker."""

GRACE_SECONDS = 10.0
"""How long what runs may go on when the worker was told to stop."""

CANCEL_RUN_SECONDS = 2.0
"""How long a run may take to end when it is cancelled, and again as long to be given back."""

CANCEL_HELPER_SECONDS = 0.5
"""How long a helper may take to end before it is cancelled again."""

STORAGE_PAUSE = 0.5
"""Seconds to wait when the database cannot be reached, before looking again."""


class Worker:
    """Runs jobs until told to stop, or with `drain` until none is left."""

    def __init__(
        self,
        queue: QueueService,
        delivery: Delivery,
        maintenance: Maintenance,
        heartbeat: Heartbeat,
        isolated_runner: IsolatedRunner,
        database: Database,
        *,
        concurrency: int = 64,
        grace_seconds: float = GRACE_SECONDS,
        needs_recycling: Callable[[], bool] = lambda: False,
        crash: CrashPoint = never,
        instrumentation: JobInstrumentation | None = None,
    ) -> None:
        self._queue = queue
        self._delivery = delivery
        self._maintenance = maintenance
        self._heartbeat = heartbeat
        self._isolated_runner = isolated_runner
        self._database = database
        self._concurrency = concurrency
        self._grace = grace_seconds
        self._crash = crash
        self._instrumentation = instrumentation or JobInstrumentation(SystemClock(), Meters())
        self._running: dict[asyncio.Task[None], Job] = {}
        self._giving_back: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._claimed = asyncio.Event()
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._stopping = asyncio.Event()
        self._needs_recycling = needs_recycling
        controls = WorkerControls(
            self._start, self._free, self._isolated_room, self._notify_newer_messages, self._stopping.is_set
        )
        self._bounded_runs = BoundedRuns(queue, maintenance, controls)

    @property
    def needs_recycling(self) -> bool:
        """This process should be replaced: an agent's run that cannot be stopped lives on in it."""
        return self._needs_recycling()

    @property
    def stopping(self) -> bool:
        """It was told to stop, which is more than being worn out."""
        return self._stopping.is_set()

    def stop(self) -> None:
        """Claim no more; what runs gets its grace, then goes back unharmed."""
        self._stopping.set()
        self._wake.set()

    async def run(self, *, drain: bool = False) -> None:
        """Work until `stop`, or until nothing is left when draining, or until the process is worn out."""
        # The last job may end in another worker, which rings no bell here: a drained line is noticed by looking.
        after_step = self._wake_and_notify if drain else self._notify_newer_messages
        helpers = [
            asyncio.create_task(self._listen()),
            asyncio.create_task(self._maintenance.run(after_step, self._wake.set)),
        ]
        for helper in helpers:
            helper.add_done_callback(lambda _: self._wake.set())
        self._wake.set()
        try:
            while not self._stopping.is_set() and not self._needs_recycling():
                self._wake.clear()
                await self._claim_what_fits()
                self._claimed.set()
                if drain and not self._running and await self._is_drained():
                    break
                for helper in helpers:
                    if helper.done():
                        helper.result()
                await self._wake.wait()
        finally:
            await _cancel(helpers)
            await self._shut_down()

    async def run_one(self, job: Job) -> None:
        """Run one claimed job here (the life of a suspect's own process)."""
        await self._run_here(job)

    async def cancel_runs(self, tasks: Iterable["asyncio.Task[None]"], seconds: float) -> None:
        """Cancel runs, and a second time what waits for an agent that ignores that; each time it waits so long.

        Their jobs go back. What is not back by then is left to its lease.
        """
        left = set(tasks)
        for _ in range(2):
            for task in left - self._giving_back:
                task.cancel()
            if left:
                _, left = await asyncio.wait(left, timeout=seconds)

    async def run_bounded(self, seconds: float, *, linger: bool = False) -> BoundedRunReport:
        """One round for those who have no running worker; see `BoundedRuns.run`."""
        return await self._bounded_runs.run(seconds, linger=linger)

    async def run_wakeup(self, seconds: float) -> bool:
        """What one wake-up asks for, for those who have no running worker; see `BoundedRuns.run_wakeup`."""
        return await self._bounded_runs.run_wakeup(seconds)

    async def _listen(self) -> None:
        """Look once for each wake-up, and take none while there is no room: an idle worker shall have it."""
        async with contextlib.aclosing(self._delivery.receive(self._free)) as wakeups:
            async for wakeup in wakeups:
                too_busy = self._free() <= 0 or self._stopping.is_set()
                self._claimed.clear()
                self._wake.set()
                if too_busy:
                    await self._maintenance.republish(wakeup)
                await self._claimed.wait()
                await self._has_room.wait()

    def _free(self) -> int:
        return self._concurrency - len(self._running)

    def _isolated_room(self) -> int:
        return max(0, ISOLATED_AT_ONCE - sum(job.isolated for job in self._running.values()))

    async def _claim_what_fits(self) -> None:
        while (free := self._free()) > 0 and not self._stopping.is_set():
            try:
                jobs = await self._queue.claim(free, max_isolated=self._isolated_room())
            except (Busy, StorageUnavailable) as error:
                log.warning("queue.claim_failed", error=str(error))
                asyncio.get_running_loop().call_later(STORAGE_PAUSE, self._wake.set)
                return
            for job in jobs:
                self._crash("after_claim")
                self._start(job)
            if len(jobs) < free:
                break

    def _start(self, job: Job) -> "asyncio.Task[None]":
        task = asyncio.create_task(self._supervise(job), name=f"job {job.name} {job.id}")
        self._running[task] = job
        if self._free() <= 0:
            self._has_room.clear()
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._running.pop(task, None)
        self._has_room.set()
        self._wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("queue.job_crashed", error=repr(error))

    async def _wake_and_notify(self) -> None:
        self._wake.set()
        await self._notify_newer_messages()

    async def _notify_newer_messages(self) -> None:
        """A newer message cancels a run early; one that is missed here is seen by the fence when the run commits."""
        waiting = {job.lane: job for job in self._running.values() if not job.newer_message.is_set()}
        if not waiting:
            return
        lanes = await self._database.read(lambda uow: enqueue.open_windows(uow, sorted(waiting)), owner=None)
        for lane in lanes:
            waiting[lane].newer_message.set()

    async def _supervise(self, job: Job) -> None:
        if not self._queue.knows(job.name):  # A newer release's job; one of its workers will take it.
            await self._store(job, RetryIn(UNKNOWN_PAUSE, f"no handler knows jobs named {job.name!r}", counts=False))
            return
        with self._instrumentation.running(job):
            await (self._run_isolated(job) if job.isolated else self._run_here(job))

    async def _run_isolated(self, job: Job) -> None:
        try:
            await self._isolated_runner.run(job, self._queue.handler(job.name).time_limit)
        except asyncio.CancelledError:
            await self._give_back(job)

    async def _run_here(self, job: Job) -> None:
        """Run a job and store its ending; a cancelled one goes back unharmed."""
        forget = self._heartbeat.keep(job, self._queue.handler(job.name).time_limit)
        try:
            with self._instrumentation.traced(job) as span:
                result = await self._result(job)
                self._instrumentation.ended(job, result, span)
                if not (isinstance(result, Done) and result.recorded):
                    await self._store(job, result)
        except asyncio.CancelledError:
            await self._give_back(job)
        finally:
            forget()

    async def _result(self, job: Job) -> JobResult:
        try:
            return await self._queue.handler(job.name).run(job)
        except (Busy, StorageUnavailable) as error:
            log.warning("queue.storage_failed", job=str(job.id), error=str(error))
            return RetryIn(timedelta(seconds=STORAGE_PAUSE), str(error), counts=False)
        except Exception as error:
            log.exception("queue.handler_failed", job=str(job.id), name=job.name)
            return self._queue.failure(job, f"{type(error).__name__}: {error}"[:500])

    async def _store(self, job: Job, result: JobResult) -> None:
        """A result that cannot be stored is tried until the lease is gone: then the next claim finds out by itself."""
        with contextlib.suppress(Busy, StorageUnavailable):
            await retry_while_leased(job, lambda: self._queue.finish(job, result))

    async def _give_back(self, job: Job) -> None:
        """Return a cancelled job unharmed; where the database takes nothing its lease ends, as a dead worker's does."""
        this: asyncio.Task[None] | None = asyncio.current_task()
        assert this is not None  # noqa: S101 - narrows the type: a coroutine that runs has a task
        self._giving_back.add(this)
        try:
            await retry_while_leased(job, lambda: self._queue.give_back(job))
        except (Busy, StorageUnavailable) as error:
            log.warning("queue.not_given_back", job=str(job.id), error=str(error))
        finally:
            self._giving_back.discard(this)

    async def _is_drained(self) -> bool:
        try:
            return await self._queue.unfinished() == 0
        except DomainError:
            return False

    async def _shut_down(self) -> None:
        """Let what runs finish within the grace, then give it back, whether the agent ends or not."""
        if self._running:
            await asyncio.wait(self._running, timeout=self._grace)
        await self.cancel_runs(self._running, CANCEL_RUN_SECONDS)


async def _cancel(helpers: Collection["asyncio.Task[None]"]) -> None:
    """Cancel until they have ended: a broker's client may swallow a cancellation that comes with its answer."""
    left = set(helpers)
    while left:
        for helper in left:
            helper.cancel()
        _, left = await asyncio.wait(left, timeout=CANCEL_HELPER_SECONDS)
