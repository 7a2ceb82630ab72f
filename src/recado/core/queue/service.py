"""The queue as the rest of the product uses it: claim, finish, and what people ask of it.

`claim` never starts a job whose attempts are used up; it settles it, in one transaction of its own, so that a poison
message gets its apology and cannot stop the queue.
"""

import contextlib
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

import structlog

from recado.core.clock import Clock
from recado.core.database.engine import Database
from recado.core.database.pages import FIRST_ID, LAST_ID
from recado.core.database.unit_of_work import STEP, UnitOfWork
from recado.core.errors import Busy, StorageUnavailable
from recado.core.ids import Chance, Ids, IdSource, jittered
from recado.core.queue import handling
from recado.core.queue.job import (
    MAX_FAULTS,
    Claim,
    Discard,
    Done,
    Handler,
    JobResult,
    LeaseLost,
    NewJob,
    Replayed,
    ReplayRefused,
    RetryIn,
    StoredJob,
)
from recado.core.queue.lane import HeldLanes, Lane
from recado.core.queue.storage import clock_changes, dispatched, endings, enqueue, inspection, lanes, leases
from recado.core.queue.storage.claiming import LEEWAY, OwnerWalk, hold_heads
from recado.core.queue.transactions import Transactions, UnlockedTransaction

log = structlog.get_logger(__name__)


UNLIMITED_FOR = timedelta(hours=25)
"""How long a job without a limit of attempts may fail as its handler foresees. The handler gives it up earlier."""

_MOST_STEPS = 20
"""Beyond so many steps every wait is as long as the cap, and `3.0**failures` soon is no number any more."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """The wait after each failure: `first`, then three times as long each time, at most `cap`."""

    first: timedelta = timedelta(seconds=2)
    cap: timedelta = timedelta(minutes=5)

    def after(self, failures: int, chance: Chance) -> timedelta:
        """Return the wait when this many failures came before, varied by a fifth."""
        grown = self.first.total_seconds() * 3.0 ** min(failures, _MOST_STEPS)
        seconds = min(grown, self.cap.total_seconds())
        return timedelta(seconds=jittered(seconds, chance))


@dataclass(frozen=True, slots=True)
class Finished:
    """The job has ended as its result says."""


@dataclass(frozen=True, slots=True)
class _Ending:
    """How a claim ends, with the time and the first of the ids that a unit of work may use for it."""

    claim: Claim
    result: JobResult
    now: datetime
    first_id: UUID


class BatchLeaseLost(Exception):
    """A lease in a batch is lost. The batch is rolled back and tried again in halves (see `Database.batched`)."""


class QueueService:
    """Claims and ends jobs; one per process.

    Jobs named in `uncounted_crashes` run only our own code, so the death of their worker is not counted against them.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        ids: Ids,
        chance: Chance,
        handlers: Sequence[Handler],
        *,
        lease: timedelta = timedelta(seconds=30),
        backoff: Backoff | None = None,
        uncounted_crashes: Collection[str] = (),
    ) -> None:
        self._uncounted_crashes = uncounted_crashes
        self._walk = OwnerWalk()
        self._future_leases: dict[tuple[UUID, datetime], float] = {}
        self._database = database
        self._transactions = Transactions(database, clock, ids)
        self._clock = clock
        self._ids = ids
        self._chance = chance
        self._handlers = handling.Handlers(handlers)
        self.lease = lease
        self._backoff = backoff or Backoff()
        self._enqueue = database.batched(self._enqueue_many)
        self._finish = database.batched(self._finish_many)

    @property
    def handlers(self) -> handling.Handlers:
        """The handlers of jobs."""
        return self._handlers

    def handler(self, name: str) -> Handler:
        """Return the handler of a job's name. Raises `NotFound` for a name that this release does not know."""
        return self._handlers.of(name)

    def knows(self, name: str) -> bool:
        """Return whether this release can run jobs of that name."""
        return self._handlers.know(name)

    async def enqueue(self, jobs: Sequence[NewJob]) -> None:
        """Store jobs in a transaction of their own. To store rows beside them, call `enqueue.add` in a unit of work."""
        await self._enqueue(jobs)

    async def claim(self, limit: int, *, max_isolated: int, max_background: int | None = None) -> list[Claim]:
        """Lease up to `limit` due jobs, at most `max_isolated` of them isolated. Used-up jobs are settled instead.

        No more than `max_background` are jobs for which no customer waits.
        """
        now, token = self._clock.now(), self._ids.new()

        def take(uow: UnitOfWork) -> list[Claim]:
            held, heads = hold_heads(uow, now, limit, max_isolated, self._walk, max_background)
            return leases.lease(held, heads, token, now, now + self.lease)

        claims = await self._database.write(take, owner=None, urgent=True)
        for claim in claims:
            if why := claim.job.give_up_reason:
                await self._give_up_safely(claim, why)
        return [claim for claim in claims if not claim.job.give_up_reason]

    async def _give_up_safely(self, claim: Claim, why: str) -> None:
        """Settle a used-up job, but let nothing that is wrong with one job stop the queue for all."""
        job = claim.job
        try:
            await self.give_up(claim, why)
        except (Busy, StorageUnavailable) as error:  # Its lease ends, and the next claim tries again.
            log.warning("queue.give_up_failed", job=str(job.id), error=str(error))
        except Exception:
            # A dead letter without its settlement is found by `recado verify`; a stopped queue is found by customers.
            log.exception("queue.give_up_failed", job=str(job.id))
            now = self._clock.now()
            with contextlib.suppress(Busy, StorageUnavailable):
                await self._database.write(
                    lambda uow: endings.dead_letter(lanes.hold(uow, [job.lane]), claim, now, why),
                    owner=None,
                    urgent=True,
                )

    async def find_claimed(self, job_id: UUID, token: UUID) -> Claim | None:
        """Return the claim that another process of ours has made for this one (which runs one job isolated)."""
        return await self._database.read(lambda uow: leases.find_claim(uow, job_id, token), owner=None)

    async def finish(self, claim: Claim, result: JobResult) -> Finished | LeaseLost:
        """Store how a job ended. A failure that was its last one settles it for good, in the same transaction."""
        return await self._finish(_Ending(claim, result, self._clock.now(), self._ids.new()))

    async def give_up(self, claim: Claim, error: str) -> bool:
        """Make a dead letter of a claimed job and settle what it was about. Return False when the lease is lost."""
        now, first_id = self._clock.now(), self._ids.new()

        def make_dead(uow: UnitOfWork) -> bool:
            return self._dead_letter(lanes.hold(uow, [claim.job.lane]), claim, error, now, IdSource(first_id))

        return await self._database.write(make_dead, owner=None, urgent=True)

    async def give_back(self, claim: Claim, *, after: timedelta = timedelta(), why: str | None = None) -> None:
        """Return a claimed job unharmed: a graceful stop burns no attempt."""
        now, lane = self._clock.now(), claim.job.lane
        await self._database.write(
            lambda uow: endings.requeue(lanes.hold(uow, [lane]), claim, now, after, error=why), owner=None, urgent=True
        )

    async def record_isolated_crash(self, claim: Claim, how: str) -> None:
        """Count the death of a process that ran nothing but this job; the last one makes it a dead letter."""
        job, now, first_id = claim.job, self._clock.now(), self._ids.new()
        crashes = job.crashes_alone + 1
        delay = self._backoff.after(job.crashes_alone, self._chance)

        def record(uow: UnitOfWork) -> None:
            held = lanes.hold(uow, [job.lane])
            if crashes >= job.max_crashes_alone:
                error = f"it killed its own process {crashes} times ({how})"
                self._dead_letter(held, claim, error, now, IdSource(first_id), crashes_alone=crashes)
            else:
                endings.requeue(held, claim, now, delay, error=how, crashes_alone=crashes)

        await self._database.write(record, owner=None, urgent=True)

    async def free_ended_leases(self) -> int:
        """Requeue the jobs of workers that died. Return their number."""
        now = self._clock.now()
        return await self._database.write(
            lambda uow: leases.free_ended_leases(uow, now, self._uncounted_crashes), owner=None
        )

    async def repair_times(self) -> int:
        """Repair due times of a clock that was ahead: each job waits as long as planned, from now on.

        Return the number of lanes concerned. Nothing is written where no clock has been set back.
        """
        if not await self._lanes_ahead_of_clock():
            return 0
        # Perhaps only this host's clock was set back. A shared clock is synchronized by each write.
        await self._database.write(lambda _: None, owner=None)
        found = 0
        while lanes := await self._lanes_ahead_of_clock():
            await self._database.write(
                partial(clock_changes.reset_times, names=lanes, now=self._clock.now()), owner=None
            )
            found += len(lanes)
            if len(lanes) < STEP:
                break
        return found

    async def _lanes_ahead_of_clock(self) -> list[Lane]:
        now = self._clock.now()
        return await self._database.read(lambda uow: clock_changes.lanes_ahead_of_clock(uow, now), owner=None)

    async def end_future_leases(self) -> int:
        """End leases that end later than any lease can and were not renewed for twice a lease. Return their number.

        A clock that was ahead made them, and their worker is dead: a living worker renews them by the clock of now.
        """
        now, seen_at = self._clock.now(), self._clock.monotonic()
        after = now + self.lease + LEEWAY
        far = await self._database.read(lambda uow: clock_changes.future_leases(uow, after), owner=None)
        self._future_leases = {lease: self._future_leases.get(lease, seen_at) for lease in far.items()}
        patience = 2 * self.lease.total_seconds()
        unrenewed = {job: until for (job, until), since in self._future_leases.items() if seen_at - since >= patience}
        if unrenewed:
            await self._database.write(lambda uow: clock_changes.end_leases(uow, unrenewed, now), owner=None)
        return len(unrenewed)

    def failure(self, job: StoredJob, error: str) -> RetryIn:
        """Return the result of an unexpected error: another try, later each time."""
        return RetryIn(self._backoff.after(job.attempts, self._chance), error, unexpected=True)

    # --- For people ---------------------------------------------------------------------------------------------------

    async def stats(self) -> inspection.QueueStats:
        now = self._clock.now()
        return await self._database.read(lambda uow: inspection.stats(uow, now), owner=None)

    async def due(self) -> inspection.Due:
        """Return how much could be claimed now."""
        now = self._clock.now()
        return await self._database.read(lambda uow: inspection.due(uow, now), owner=None)

    async def dead(self) -> list[StoredJob]:
        """Return every dead letter that was neither retried nor discarded, the oldest first."""
        return [job async for page in self.dead_pages() for job in page]

    async def dead_summary(self) -> inspection.DeadLetterSummary:
        return await self._database.read(inspection.dead_summary, owner=None)

    async def dead_pages(self, last: UUID = LAST_ID) -> AsyncIterator[list[StoredJob]]:
        """Yield the same in pages, up to the id `last`."""
        after = FIRST_ID
        while page := await self._database.read(partial(inspection.dead_letters, after=after, last=last), owner=None):
            yield page
            after = page[-1].id

    async def retry(self, job_id: UUID, *, force: bool = False) -> Replayed | ReplayRefused:
        """Start anybody's dead letter again. Raises `NotFound` and `Conflict` in words a person understands."""

        def start(tx: UnlockedTransaction) -> Replayed | ReplayRefused:
            return handling.retry(*handling.hold(tx, job_id), self._handlers, force=force)

        return await self._transactions.write(start, owner=None)

    async def discard(self, job_id: UUID) -> None:
        """Take anybody's dead letter off the list, or a waiting job out of the queue. Raises as `retry` does."""

        def drop(tx: UnlockedTransaction) -> bool:
            return handling.discard(*handling.hold(tx, job_id), self._handlers)

        await self._transactions.write(drop, owner=None)

    async def clear_dispatched(self) -> int:
        """Republish a wake-up for every waiting job that was dispatched before. Return their number."""
        cleared = 0
        while step := await self._database.write(dispatched.clear_dispatched, owner=None):
            cleared += step
        return cleared

    async def unfinished(self) -> int:
        now = self._clock.now()
        return await self._database.read(lambda uow: inspection.unfinished(uow, now), owner=None)

    # --- Inside units of work -----------------------------------------------------------------------------------------

    def _enqueue_many(self, uow: UnitOfWork, given: Sequence[Sequence[NewJob]]) -> list[None]:
        jobs = [job for each in given for job in each]
        enqueue.add(lanes.hold_for(uow, jobs), jobs)
        return [None for _ in given]

    def _finish_many(self, uow: UnitOfWork, given: Sequence[_Ending]) -> list[Finished | LeaseLost]:
        """End those that are done with one statement. A lost lease among them undoes that; then each ends by itself."""
        held = lanes.hold(uow, [ending.claim.job.lane for ending in given])
        done = [ending for ending in given if isinstance(ending.result, Done)]
        if len(given) > 1 and done:
            if not endings.complete_all(held, [ending.claim for ending in done], done[-1].now):
                raise BatchLeaseLost
            return [Finished() if isinstance(ending.result, Done) else self._end(held, ending) for ending in given]
        return [self._end(held, ending) for ending in given]

    def _end(self, held: HeldLanes, ending: _Ending) -> Finished | LeaseLost:
        claim, now = ending.claim, ending.now
        match ending.result:
            case Done():
                stored = endings.complete(held, claim, now)
            case Discard(reason):
                stored = endings.complete(held, claim, now, status="discarded", error=reason)
            case RetryIn() as retry:
                stored = self._retry(held, ending, retry)
        return Finished() if stored else LeaseLost()

    def _retry(self, held: HeldLanes, ending: _Ending, retry: RetryIn) -> bool:
        """Let the job wait again, or give it up if this failure was its last one."""
        claim, now = ending.claim, ending.now
        counted = {"attempts": claim.job.attempts + retry.counts, "faults": claim.job.faults + retry.unexpected}
        if retry.counts and _was_last(claim.job, **counted, now=now):
            return self._dead_letter(held, claim, retry.error, now, IdSource(ending.first_id), **counted)
        return endings.requeue(held, claim, now, retry.delay, error=retry.error or None, **counted)

    def _dead_letter(self, held: HeldLanes, claim: Claim, error: str, now: datetime, ids: Ids, **counted: int) -> bool:
        job = claim.job
        if not endings.dead_letter(held, claim, now, error, **counted):
            return False
        self.handler(job.name).exhausted(held, job, error, now, ids)
        log.warning("queue.dead_letter", job=str(job.id), name=job.name, error=error)
        return True


def _was_last(job: StoredJob, attempts: int, faults: int, now: datetime) -> bool:
    """Return whether a job must not be tried again after this many failures, and unexpected ones among them."""
    if job.max_attempts is None:
        return faults >= MAX_FAULTS or now - job.created_at >= UNLIMITED_FOR
    return attempts >= job.max_attempts
