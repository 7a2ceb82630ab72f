"""The one kind of worker: claims due jobs, runs them, and stores their results.

Its only loops are claiming and maintenance. Many jobs run at once because they wait for models and providers. Agents
run elsewhere (agents/runner.py), so nothing here may block.
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
from recado.core.queue.job import ISOLATED_AT_ONCE, Claim, Done, JobResult, RetryIn
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
"""How long a job with a name unknown to this release waits for a worker of another release."""

GRACE_SECONDS = 10.0
"""How long running jobs may go on after the worker was told to stop."""

CANCEL_RUN_SECONDS = 2.0
"""How long a cancelled run may take to end, and again as long to be given back."""

CANCEL_HELPER_SECONDS = 0.5
"""How long a helper may take to end before it is cancelled again."""

STORAGE_PAUSE = 0.5
"""Seconds to wait before the next try when the database cannot be reached."""


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
        self._running: dict[asyncio.Task[None], Claim] = {}
        self._giving_back: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._claimed = asyncio.Event()
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._stopping = asyncio.Event()
        self._needs_recycling = needs_recycling
        controls = WorkerControls(
            self._start,
            self._free,
            self._isolated_room,
            self._background_room,
            self._notify_newer_messages,
            self._stopping.is_set,
        )
        self._bounded_runs = BoundedRuns(queue, maintenance, controls)

    @property
    def needs_recycling(self) -> bool:
        """Whether this process should be replaced, because an agent's run that cannot be stopped lives on in it."""
        return self._needs_recycling()

    @property
    def stopping(self) -> bool:
        """Whether it was told to stop (recycling does not count)."""
        return self._stopping.is_set()

    def stop(self) -> None:
        """Claim no more. Running jobs get the grace time, then they are given back without counting an attempt."""
        self._stopping.set()
        self._wake.set()

    async def run(self, *, drain: bool = False) -> None:
        """Work until `stop`, until nothing is left (`drain`), or until the process needs recycling."""
        # The last job may end in another worker, which sends no wake-up here: a drained queue is found by polling.
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

    async def run_one(self, claim: Claim) -> None:
        """Run one claimed job here (in a process for isolated jobs)."""
        await self._run_here(claim)

    async def cancel_runs(self, tasks: Iterable["asyncio.Task[None]"], seconds: float) -> None:
        """Cancel runs and give their jobs back. Cancel a second time those that wait for an agent that ignores it.

        Wait up to `seconds` each time. Jobs that are not back by then are left to the end of their lease.
        """
        left = set(tasks)
        for _ in range(2):
            for task in left - self._giving_back:
                task.cancel()
            if left:
                _, left = await asyncio.wait(left, timeout=seconds)

    async def run_bounded(self, seconds: float, *, linger: bool = False) -> BoundedRunReport:
        """Work for a limited time where no worker runs; see `BoundedRuns.run`."""
        return await self._bounded_runs.run(seconds, linger=linger)

    async def run_wakeup(self, seconds: float) -> bool:
        """Handle one wake-up where no worker runs; see `BoundedRuns.run_wakeup`."""
        return await self._bounded_runs.run_wakeup(seconds)

    async def _listen(self) -> None:
        """Claim once for each wake-up. Receive none while there is no room: it should go to an idle worker."""
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
        return max(0, ISOLATED_AT_ONCE - sum(claim.job.isolated for claim in self._running.values()))

    def _background_room(self) -> int:
        share = max(1, self._concurrency // 2)  # A worker of one job has no half to keep free.
        return max(0, share - sum(claim.job.in_background for claim in self._running.values()))

    async def _claim_what_fits(self) -> None:
        while (free := self._free()) > 0 and not self._stopping.is_set():
            try:
                claims = await self._queue.claim(
                    free, max_isolated=self._isolated_room(), max_background=self._background_room()
                )
            except (Busy, StorageUnavailable) as error:
                log.warning("queue.claim_failed", error=str(error))
                asyncio.get_running_loop().call_later(STORAGE_PAUSE, self._wake.set)
                return
            for claim in claims:
                self._crash("after_claim")
                self._start(claim)
            if len(claims) < free:
                break

    def _start(self, claim: Claim) -> "asyncio.Task[None]":
        task = asyncio.create_task(self._supervise(claim), name=f"job {claim.job.name} {claim.job.id}")
        self._running[task] = claim
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
        """Notify runs of newer messages of their lane. The fence of the commit finds those that are missed here."""
        waiting = {claim.job.lane: claim for claim in self._running.values() if not claim.has_newer_message}
        if not waiting:
            return
        lanes = await self._database.read(lambda uow: enqueue.open_windows(uow, sorted(waiting)), owner=None)
        for lane in lanes:
            waiting[lane].notify_newer_message()

    async def _supervise(self, claim: Claim) -> None:
        name = claim.job.name
        if not self._queue.knows(name):  # A newer release's job; one of its workers will take it.
            await self._store(claim, RetryIn(UNKNOWN_PAUSE, f"no handler knows jobs named {name!r}", counts=False))
            return
        with self._instrumentation.running(claim.job):
            await (self._run_isolated(claim) if claim.job.isolated else self._run_here(claim))

    async def _run_isolated(self, claim: Claim) -> None:
        try:
            await self._isolated_runner.run(claim, self._queue.handler(claim.job.name).time_limit)
        except asyncio.CancelledError:
            await self._give_back(claim)

    async def _run_here(self, claim: Claim) -> None:
        """Run a job and store its result. A cancelled job is given back without counting an attempt."""
        forget = self._heartbeat.keep(claim, self._queue.handler(claim.job.name).time_limit)
        try:
            with self._instrumentation.traced(claim) as (traced, span):
                result = await self._result(traced)
                self._instrumentation.ended(claim.job, result, span)
                if not (isinstance(result, Done) and result.recorded):
                    await self._store(traced, result)
        except asyncio.CancelledError:
            await self._give_back(claim)
        finally:
            forget()

    async def _result(self, claim: Claim) -> JobResult:
        try:
            return await self._queue.handler(claim.job.name).run(claim)
        except (Busy, StorageUnavailable) as error:
            log.warning("queue.storage_failed", job=str(claim.job.id), error=str(error))
            return RetryIn(timedelta(seconds=STORAGE_PAUSE), str(error), counts=False)
        except Exception as error:
            log.exception("queue.handler_failed", job=str(claim.job.id), name=claim.job.name)
            return self._queue.failure(claim.job, f"{type(error).__name__}: {error}"[:500])

    async def _store(self, claim: Claim, result: JobResult) -> None:
        """Store a result, and try again until the lease is lost; the next claim finds out by itself then."""
        with contextlib.suppress(Busy, StorageUnavailable):
            await retry_while_leased(claim, lambda: self._queue.finish(claim, result))

    async def _give_back(self, claim: Claim) -> None:
        """Give a cancelled job back. If the database refuses, its lease ends as that of a dead worker does."""
        this: asyncio.Task[None] | None = asyncio.current_task()
        assert this is not None  # noqa: S101 - narrows the type: a coroutine that runs has a task
        self._giving_back.add(this)
        try:
            await retry_while_leased(claim, lambda: self._queue.give_back(claim))
        except (Busy, StorageUnavailable) as error:
            log.warning("queue.not_given_back", job=str(claim.job.id), error=str(error))
        finally:
            self._giving_back.discard(this)

    async def _is_drained(self) -> bool:
        try:
            return await self._queue.unfinished() == 0
        except DomainError:
            return False

    async def _shut_down(self) -> None:
        """Let running jobs finish within the grace time, then give them back even if an agent goes on."""
        if self._running:
            await asyncio.wait(self._running, timeout=self._grace)
        await self.cancel_runs(self._running, CANCEL_RUN_SECONDS)


async def _cancel(helpers: Collection["asyncio.Task[None]"]) -> None:
    """Cancel tasks until they have ended: a broker's client may swallow a cancellation that comes with its answer."""
    left = set(helpers)
    while left:
        for helper in left:
            helper.cancel()
        _, left = await asyncio.wait(left, timeout=CANCEL_HELPER_SECONDS)
