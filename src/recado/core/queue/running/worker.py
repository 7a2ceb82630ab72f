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
from recado.core.queue.job import SUSPECTS_AT_ONCE, Done, Job, JobResult, RetryIn
from recado.core.queue.running.bounded import Hands, Rounds, Ticked
from recado.core.queue.running.heartbeat import Heartbeat
from recado.core.queue.running.instrumentation import JobWatch
from recado.core.queue.running.isolation import SuspectRunner
from recado.core.queue.running.maintenance import Relay
from recado.core.queue.running.retrying import insist
from recado.core.queue.service import QueueService
from recado.core.queue.storage import enqueue
from recado.core.queue.wakeups.contract import Delivery

log = structlog.get_logger(__name__)


UNKNOWN_PAUSE = timedelta(minutes=1)
"""How long a job of a name that this release does not know waits for another's worker."""

GRACE_SECONDS = 10.0
"""How long what runs may go on when the worker was told to stop."""

LET_GO_SECONDS = 2.0
"""How long a run may take to end when it is cancelled, and again as long to be given back."""

CANCEL_SECONDS = 0.5
"""How long a helper may take to end before it is cancelled again."""

STORAGE_PAUSE = 0.5
"""Seconds to wait when the database cannot be reached, before looking again."""


class Worker:
    """Runs jobs until told to stop, or with `drain` until none is left."""

    def __init__(
        self,
        queue: QueueService,
        delivery: Delivery,
        relay: Relay,
        heartbeat: Heartbeat,
        suspects: SuspectRunner,
        database: Database,
        *,
        concurrency: int = 64,
        grace_seconds: float = GRACE_SECONDS,
        worn_out: Callable[[], bool] = lambda: False,
        crash: CrashPoint = never,
        watch: JobWatch | None = None,
    ) -> None:
        self._queue = queue
        self._delivery = delivery
        self._relay = relay
        self._heartbeat = heartbeat
        self._suspects = suspects
        self._database = database
        self._concurrency = concurrency
        self._grace = grace_seconds
        self._crash = crash
        self._watch = watch or JobWatch(SystemClock(), Meters())
        self._running: dict[asyncio.Task[None], Job] = {}
        self._giving_back: set[asyncio.Task[None]] = set()
        self._bell = asyncio.Event()
        self._looked = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._stopping = asyncio.Event()
        self._worn_out = worn_out
        hands = Hands(self._start, self._free, self._suspects_free, self._tell_of_newcomers, self._stopping.is_set)
        self._rounds = Rounds(queue, relay, hands)

    @property
    def worn_out(self) -> bool:
        """This process should be replaced: an agent's run that cannot be stopped lives on in it."""
        return self._worn_out()

    @property
    def stopping(self) -> bool:
        """It was told to stop, which is more than being worn out."""
        return self._stopping.is_set()

    def stop(self) -> None:
        """Claim no more; what runs gets its grace, then goes back unharmed."""
        self._stopping.set()
        self._bell.set()

    async def run(self, *, drain: bool = False) -> None:
        """Work until `stop`, or until nothing is left when draining, or until the process is worn out."""
        # The last job may end in another worker, which rings no bell here: a drained line is noticed by looking.
        each_pass = self._look_around if drain else self._tell_of_newcomers
        helpers = [asyncio.create_task(self._listen()), asyncio.create_task(self._relay.run(each_pass, self._bell.set))]
        for helper in helpers:
            helper.add_done_callback(lambda _: self._bell.set())
        self._bell.set()
        try:
            while not self._stopping.is_set() and not self._worn_out():
                self._bell.clear()
                await self._claim_what_fits()
                self._looked.set()
                if drain and not self._running and await self._is_drained():
                    break
                for helper in helpers:
                    if helper.done():
                        helper.result()
                await self._bell.wait()
        finally:
            await _ended(helpers)
            await self._wind_down()

    async def run_one(self, job: Job) -> None:
        """Run one claimed job here (the life of a suspect's own process)."""
        await self._attempt(job)

    async def let_go(self, tasks: Iterable["asyncio.Task[None]"], seconds: float) -> None:
        """Cancel runs, and a second time what waits for an agent that ignores that; each time it waits so long.

        Their jobs go back. What is not back by then is left to its lease.
        """
        left = set(tasks)
        for _ in range(2):
            for task in left - self._giving_back:
                task.cancel()
            if left:
                _, left = await asyncio.wait(left, timeout=seconds)

    async def tick(self, seconds: float, *, linger: bool = False) -> Ticked:
        """One round for those who have no running worker; see `Rounds.tick`."""
        return await self._rounds.tick(seconds, linger=linger)

    async def wake(self, seconds: float) -> bool:
        """What one wake-up asks for, for those who have no running worker; see `Rounds.wake`."""
        return await self._rounds.wake(seconds)

    async def _listen(self) -> None:
        """Look once for each wake-up, and take none while there is no room: an idle worker shall have it."""
        async with contextlib.aclosing(self._delivery.receive(self._free)) as wakeups:
            async for wakeup in wakeups:
                in_vain = self._free() <= 0 or self._stopping.is_set()
                self._looked.clear()
                self._bell.set()
                if in_vain:
                    await self._relay.ring_again(wakeup)
                await self._looked.wait()
                await self._room.wait()

    def _free(self) -> int:
        return self._concurrency - len(self._running)

    def _suspects_free(self) -> int:
        return max(0, SUSPECTS_AT_ONCE - sum(job.suspect for job in self._running.values()))

    async def _claim_what_fits(self) -> None:
        while (free := self._free()) > 0 and not self._stopping.is_set():
            try:
                jobs = await self._queue.claim(free, suspects=self._suspects_free())
            except (Busy, StorageUnavailable) as error:
                log.warning("queue.claim_failed", error=str(error))
                asyncio.get_running_loop().call_later(STORAGE_PAUSE, self._bell.set)
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
            self._room.clear()
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._running.pop(task, None)
        self._room.set()
        self._bell.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("queue.job_crashed", error=repr(error))

    async def _look_around(self) -> None:
        self._bell.set()
        await self._tell_of_newcomers()

    async def _tell_of_newcomers(self) -> None:
        """A newer message cancels a run early; one that is missed here is seen by the fence when the run commits."""
        waiting = {job.lane: job for job in self._running.values() if not job.newcomer.is_set()}
        if not waiting:
            return
        lanes = await self._database.read(lambda uow: enqueue.newcomers(uow, sorted(waiting)), owner=None)
        for lane in lanes:
            waiting[lane].newcomer.set()

    async def _supervise(self, job: Job) -> None:
        if not self._queue.knows(job.name):  # A newer release's job; one of its workers will take it.
            await self._store(job, RetryIn(UNKNOWN_PAUSE, f"no handler knows jobs named {job.name!r}", counts=False))
            return
        with self._watch.running(job):
            await (self._alone(job) if job.suspect else self._attempt(job))

    async def _alone(self, job: Job) -> None:
        try:
            await self._suspects.run(job, self._queue.handler(job.name).time_limit)
        except asyncio.CancelledError:
            await self._give_back(job)

    async def _attempt(self, job: Job) -> None:
        """Run a job and store its ending; a cancelled one goes back unharmed."""
        forget = self._heartbeat.keep(job, self._queue.handler(job.name).time_limit)
        try:
            with self._watch.traced(job) as span:
                result = await self._result(job)
                self._watch.ended(job, result, span)
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
            await insist(job, lambda: self._queue.finish(job, result))

    async def _give_back(self, job: Job) -> None:
        """Return a cancelled job unharmed; where the database takes nothing its lease ends, as a dead worker's does."""
        this: asyncio.Task[None] | None = asyncio.current_task()
        assert this is not None  # noqa: S101 - narrows the type: a coroutine that runs has a task
        self._giving_back.add(this)
        try:
            await insist(job, lambda: self._queue.give_back(job))
        except (Busy, StorageUnavailable) as error:
            log.warning("queue.not_given_back", job=str(job.id), error=str(error))
        finally:
            self._giving_back.discard(this)

    async def _is_drained(self) -> bool:
        try:
            return await self._queue.unfinished() == 0
        except DomainError:
            return False

    async def _wind_down(self) -> None:
        """Let what runs finish within the grace, then give it back, whether the agent ends or not."""
        if self._running:
            await asyncio.wait(self._running, timeout=self._grace)
        await self.let_go(self._running, LET_GO_SECONDS)


async def _ended(helpers: Collection["asyncio.Task[None]"]) -> None:
    """Cancel until they have ended: a broker's client may swallow a cancellation that comes with its answer."""
    left = set(helpers)
    while left:
        for helper in left:
            helper.cancel()
        _, left = await asyncio.wait(left, timeout=CANCEL_SECONDS)
