"""Bounded runs: claim and run jobs for a limited number of seconds, on hosts without a running worker.

A serverless host kills a process at its limit, which the queue sees as a crash that costs a lease. So a bounded run
ends before its limit: it claims nothing that could hardly finish, and gives running jobs back without an attempt used.
Any number of bounded runs may overlap, in one process or in many.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import structlog

from recado.core.errors import Busy, DomainError, StorageUnavailable
from recado.core.queue.job import Claim
from recado.core.queue.running.maintenance import INTERVAL_SECONDS, Maintenance, MaintenanceReport
from recado.core.queue.service import QueueService

log = structlog.get_logger(__name__)

MAX_JOBS: Final = 16
"""How many jobs a run has at a time: few enough to finish within its budget."""
LAST_CLAIM_SECONDS: Final = 3.0
"""Nothing is claimed so shortly before the stop: the outcome of a send that is cut off is unknown."""
MIN_SECONDS: Final = 1.0
MAX_SECONDS: Final = 300.0
"""The limits of the seconds that a caller may ask for."""
GIVE_BACK_SECONDS: Final = 2.0
"""The longest that giving jobs back may take."""


@dataclass(frozen=True, slots=True)
class Budget:
    """Times on the event loop's clock: the last claim, the stop of running jobs, the end of the run."""

    last_claim: float
    stop: float
    end: float

    @classmethod
    def of(cls, seconds: float, now: float) -> "Budget":
        """Return a budget that begins now. A short one keeps half of its time for work."""
        end = now + seconds
        stop = end - min(GIVE_BACK_SECONDS, seconds / 4)
        return cls(stop - min(LAST_CLAIM_SECONDS, seconds / 4), stop, end)


@dataclass(frozen=True, slots=True)
class BoundedRunReport:
    """What a bounded run did and what it leaves.

    Slots made into jobs, jobs of dead workers requeued, jobs run, jobs given back because the time was up, lanes with
    a due job now, and how long the oldest of them has waited.
    """

    slots_made: int
    leases_freed: int
    jobs: int
    given_back: int
    still_due: int
    oldest_due_seconds: float


Task: TypeAlias = "asyncio.Task[None]"


@dataclass(frozen=True, slots=True)
class WorkerControls:
    """The functions of a worker that a bounded run needs."""

    start: Callable[[Claim], Task]
    room: Callable[[], int]
    """How many more jobs it may run."""
    isolated_room: Callable[[], int]
    """How many of them may be isolated jobs."""
    background_room: Callable[[], int]
    """How many of them may be jobs for which no customer waits."""
    notify_newer_messages: Callable[[], Awaitable[None]]
    """Called once a second: notify runs of newer messages."""
    stopping: Callable[[], bool]


@dataclass(slots=True)
class _OwnJobs:
    """The jobs of one bounded run. Several runs may share a worker."""

    running: dict[Task, Claim] = field(default_factory=dict)
    begun: int = 0

    def forget_ended(self) -> None:
        self.running = {task: job for task, job in self.running.items() if not task.done()}


class BoundedRuns:
    """Runs due jobs for as long as the caller has time."""

    def __init__(self, queue: QueueService, maintenance: Maintenance, controls: WorkerControls) -> None:
        self._queue = queue
        self._maintenance = maintenance
        self._controls = controls
        self._claiming = asyncio.Lock()  # Otherwise overlapping runs would count the same room twice.

    async def run(self, seconds: float, *, linger: bool = False) -> BoundedRunReport:
        """Run maintenance, then due jobs. With `linger`, keep working until the time is up.

        Raises `Busy` and `StorageUnavailable` when the database fails; claimed jobs are given back even then, if the
        database accepts it.
        """
        loop = asyncio.get_running_loop()
        budget, own = Budget.of(seconds, loop.time()), _OwnJobs()
        maintained = await self._maintenance.run_once()
        try:
            while loop.time() < budget.stop and not self._controls.stopping():
                await self._claim(own, budget)
                if own.running:
                    await self._wait(own, budget)
                elif linger and loop.time() + INTERVAL_SECONDS < budget.last_claim:
                    await asyncio.sleep(INTERVAL_SECONDS)
                    maintained += await self._maintenance.run_once()
                else:
                    break
        finally:
            given_back = await self._give_back(own.running, budget)
        return await self._report(maintained, own.begun - given_back, given_back)

    async def run_wakeup(self, seconds: float) -> bool:
        """Handle a wake-up: claim the best due job, and go on until nothing is due.

        Return False when that job could not be claimed or did not end in time. The jobs after it have wake-ups of their
        own.
        """
        loop = asyncio.get_running_loop()
        budget, served = Budget.of(seconds, loop.time()), False
        while loop.time() < budget.last_claim and not self._controls.stopping():
            claims = await self._claim_up_to(1)
            if not claims:
                return True
            task = self._controls.start(claims[0])
            try:
                await asyncio.wait({task}, timeout=budget.stop - loop.time())
            finally:
                cut_off = await self._give_back({} if task.done() else {task: claims[0]}, budget)
            if cut_off:
                return served
            served = True
        return served

    async def _claim_up_to(self, limit: int) -> list[Claim]:
        return await self._queue.claim(
            limit,
            max_isolated=self._controls.isolated_room(),
            max_background=self._controls.background_room(),
        )

    async def _claim(self, own: _OwnJobs, budget: Budget) -> None:
        async with self._claiming:
            room = min(MAX_JOBS - len(own.running), self._controls.room())
            if room <= 0 or asyncio.get_running_loop().time() >= budget.last_claim:
                return
            try:
                claims = await self._claim_up_to(room)
            except (Busy, StorageUnavailable) as error:
                if not own.running:
                    raise
                log.warning("queue.claim_failed", error=str(error))
                return
            own.running |= {self._controls.start(claim): claim for claim in claims}
            own.begun += len(claims)
        if len(claims) == room:  # There may be more than one run can do.
            await self._dispatch()

    async def _wait(self, own: _OwnJobs, budget: Budget) -> None:
        """Wait until a job ends or a second has passed, because other jobs may have become due."""
        patience = min(INTERVAL_SECONDS, budget.stop - asyncio.get_running_loop().time())
        ended, _ = await asyncio.wait(own.running, timeout=max(0.0, patience), return_when=asyncio.FIRST_COMPLETED)
        own.forget_ended()
        if not ended:
            with contextlib.suppress(DomainError):  # The fence of the commit checks for newer messages too.
                await self._controls.notify_newer_messages()

    async def _give_back(self, running: Mapping[Task, Claim], budget: Budget) -> int:
        """Cancel the running jobs and requeue them. Return their number."""
        if not running:
            return 0
        for task in running:
            task.cancel()
        left = max(0.0, min(GIVE_BACK_SECONDS, budget.end - asyncio.get_running_loop().time()))
        _, late = await asyncio.wait(running, timeout=left / 2)
        try:
            # An agent that ignores cancellation keeps its thread but not its job: the fence refuses its result.
            async with asyncio.timeout(left / 2):
                for task in late:
                    await self._queue.give_back(running[task])
        except (TimeoutError, Busy, StorageUnavailable) as error:  # Their leases end by themselves then.
            log.warning("queue.not_given_back", jobs=len(late), error=str(error))
        return len(running)

    async def _report(self, maintained: MaintenanceReport, jobs: int, given_back: int) -> BoundedRunReport:
        due = await self._queue.due()
        if due.lanes:
            await self._dispatch()
        return BoundedRunReport(
            maintained.slots_made, maintained.leases_freed, jobs, given_back, due.lanes, due.oldest_seconds
        )

    async def _dispatch(self) -> None:
        with contextlib.suppress(DomainError):  # Without a broker the next run finds what is due.
            await self._maintenance.dispatch()
