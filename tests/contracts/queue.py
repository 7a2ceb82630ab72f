"""The suite of the queue over every database: jobs, lanes, claims, leases, maintenance, dead letters.

    class TestOverSqlite(QueueContract): ...      # its fixture `database` says which one

The clock stands still, so that a lease runs out, a backoff passes or a window closes exactly when a test says so.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import select, text
from sqlalchemy.engine import RowMapping

from recado.core.clock import FrozenClock
from recado.core.database.engine import Database
from recado.core.errors import Conflict, NotFound
from recado.core.ids import Ids
from recado.core.queue.cron import Cron
from recado.core.queue.job import (
    BACKGROUND_PRIORITY,
    MAX_CRASHES,
    Claim,
    Discard,
    Done,
    JobResult,
    LeaseLost,
    NewJob,
    Replayed,
    ReplayRefused,
    RetryIn,
    StoredJob,
)
from recado.core.queue.lane import HeldLanes, Lane
from recado.core.queue.running.heartbeat import GRACE, Heartbeat
from recado.core.queue.running.maintenance import INTERVAL_SECONDS, Maintenance
from recado.core.queue.service import UNLIMITED_FOR, Finished, QueueService
from recado.core.queue.storage import endings, enqueue, inspection, lanes
from recado.core.queue.storage.claiming import PAGE, STEPS
from recado.core.queue.storage.tables import message_queue, queue_owners
from tests.support.lanes import lane_named, name_of
from tests.support.patience import PATIENCE

LEASE = timedelta(seconds=30)
SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)
QUIET, MOST = timedelta(seconds=2), timedelta(seconds=8)
PADARIA, FLORES = UUID(int=1), UUID(int=2)
SUCCESSOR = UUID(int=99)
"""The job that a replay makes."""


class NoChance:
    """Jitter that changes nothing."""

    def random(self) -> float:
        return 0.5


@dataclass(slots=True)
class ScriptedHandler:
    """Runs as its script says and records its calls."""

    name: str = "reply"
    time_limit: timedelta = timedelta(seconds=60)
    script: deque[JobResult | Exception] = field(default_factory=deque)
    ran: list[UUID] = field(default_factory=list)
    settled: list[tuple[UUID, str]] = field(default_factory=list)
    refusal: str | None = None
    refused_lanes: set[str] = field(default_factory=set)
    on_replay: Callable[[], object] = lambda: None
    successor: UUID = SUCCESSOR

    async def run(self, claim: Claim) -> JobResult:
        self.ran.append(claim.job.id)
        result = self.script.popleft() if self.script else Done()
        if isinstance(result, Exception):
            raise result
        return result

    def exhausted(self, held: HeldLanes, job: StoredJob, error: str, now: datetime, ids: Ids) -> None:  # noqa: ARG002
        held.uow.after_commit(lambda: self.settled.append((job.id, error)))

    def replay(
        self,
        held: HeldLanes,
        job: StoredJob,
        *,
        force: bool,
        now: datetime,  # noqa: ARG002 - the port's names
        ids: Ids,  # noqa: ARG002
    ) -> Replayed | ReplayRefused:
        if self.refusal is not None and not force:
            return ReplayRefused(job.id, self.refusal)
        if name_of(job.lane) in self.refused_lanes:
            return ReplayRefused(job.id, "not this one")
        held.uow.first(text("SELECT 1"))
        self.on_replay()
        return Replayed(job.id, self.successor)

    def discarded(self, held: HeldLanes, job: StoredJob, now: datetime, ids: Ids) -> str | None:  # noqa: ARG002
        return self.refusal


@dataclass(slots=True)
class QueueHarness:
    """The queue and what a test needs beside it."""

    database: Database
    clock: FrozenClock
    ids: Ids
    handler: ScriptedHandler = field(default_factory=ScriptedHandler)
    queue: QueueService = field(init=False)

    def __post_init__(self) -> None:
        self.queue = QueueService(self.database, self.clock, self.ids, NoChance(), [self.handler], lease=LEASE)

    def job(
        self, lane: str, *, due_in: timedelta = timedelta(), owner: UUID = PADARIA, priority: int = 5, attempts: int = 3
    ) -> NewJob:
        now = self.clock.now()
        return NewJob(
            self.ids.new(),
            "reply",
            owner,
            now,
            now + due_in,
            lane_named(lane),
            kind="reply",
            priority=priority,
            max_attempts=attempts,
        )

    async def stores(self, *lanes: str, owner: UUID = PADARIA, priority: int = 5, attempts: int = 3) -> list[UUID]:
        """Store due jobs, a microsecond apart: jobs with the same due time have no order."""
        jobs = [
            self.job(
                lane, due_in=timedelta(microseconds=n - len(lanes)), owner=owner, priority=priority, attempts=attempts
            )
            for n, lane in enumerate(lanes, start=1)
        ]
        await self.queue.enqueue(jobs)
        return [job.id for job in jobs]

    async def message_comes(self, lane: str, *, due_at_once: bool = False, message: str = "") -> UUID:
        """Do what accept does for a customer's message."""
        now = self.clock.now()
        new = NewJob(
            id=self.ids.new(),
            name="reply",
            owner_id=PADARIA,
            created_at=now,
            due_at=now + QUIET,
            lane=lane_named(lane),
            kind="reply",
            payload={"message_id": message} if message else {},
            window_ends_at=now + MOST,
            collecting=True,
        )
        at_once = frozenset({lane_named(lane)}) if due_at_once else frozenset[Lane]()
        await self.database.write(
            lambda uow: enqueue.collect(lanes.hold_for(uow, [new]), [new], due_at_once=at_once), owner=None
        )
        return new.id

    async def claims(self, limit: int = 100, *, max_isolated: int = 4) -> list[Claim]:
        return await self.queue.claim(limit, max_isolated=max_isolated)

    async def claims_one(self) -> Claim:
        [claim] = await self.claims()
        return claim

    async def claimed_lanes(self, limit: int = 100, *, max_isolated: int = 4) -> list[str]:
        return [name_of(claim.job.lane) for claim in await self.claims(limit, max_isolated=max_isolated)]

    async def crashes(self) -> None:
        """Let every worker die, and maintenance requeue its jobs."""
        self.clock.advance(LEASE + SECOND)
        await self.queue.free_ended_leases()

    async def gives_up(self, *names: str) -> list[UUID]:
        """Make dead letters, one for each lane."""
        ids = await self.stores(*names)
        ended = text("UPDATE message_queue SET status = 'dead' WHERE status = 'waiting'")
        await self.database.write(lambda uow: uow.execute(ended).close(), owner=None)
        held = [lane_named(name) for name in names]
        await self.database.write(lambda uow: lanes.refresh(lanes.hold(uow, held), held), owner=None)
        return ids

    async def row(self, job_id: UUID) -> RowMapping:
        row = await self.database.read(
            lambda uow: uow.first(select(message_queue).where(message_queue.c.id == job_id)), owner=None
        )
        assert row is not None
        return row

    async def statuses(self, ids: Sequence[UUID]) -> list[str]:
        return [(await self.row(job_id))["status"] for job_id in ids]

    def maintenance(self) -> Maintenance:
        """Return maintenance without schedules, so that only leases concern it."""
        return Maintenance(self.queue, Cron(self.database, self.clock, self.ids, []), self.clock)

    async def given_cap(self, owner: UUID, most: int) -> None:
        row = {"owner_id": owner, "served_at": self.clock.now(), "max_running": most}
        await self.database.write(lambda uow: uow.execute(queue_owners.insert(), row).close(), owner=None)


class QueueContract:
    """Subclasses choose the database. It is not collected itself, because its file is not named test_*."""

    @pytest.fixture
    def harness(self, database: Database, clock: FrozenClock, ids: Ids) -> QueueHarness:
        return QueueHarness(database, clock, ids)

    # --- The burst window ---------------------------------------------------------------------------------------------

    async def test_a_burst_is_one_job_that_is_due_when_it_is_quiet(
        self, harness: QueueHarness, clock: FrozenClock
    ) -> None:
        first = await harness.message_comes("ana")
        clock.advance(SECOND)
        await harness.message_comes("ana")
        clock.advance(QUIET - SECOND)
        assert await harness.claims() == []

        clock.advance(SECOND)

        assert [claim.job.id for claim in await harness.claims()] == [first]

    async def test_a_burst_that_never_ends_is_answered_all_the_same(
        self, harness: QueueHarness, clock: FrozenClock
    ) -> None:
        start = clock.now()
        for _ in range(8):
            job = await harness.message_comes("ana")
            clock.advance(SECOND)

        row = await harness.database.read(lambda uow: enqueue.collecting_in(uow, lane_named("ana")), owner=None)
        assert row is not None
        assert row[1] == start + MOST
        assert row[0] != job
        assert [claim.job.id for claim in await harness.claims()] == [row[0]]

    async def test_a_burst_names_its_newest_message(self, harness: QueueHarness) -> None:
        job_id = await harness.message_comes("ana", message="first")
        await harness.message_comes("ana", message="second")
        assert (await harness.row(job_id))["payload"] == {"message_id": "second"}

    async def test_a_tapped_button_is_due_at_once_and_stays_so(self, harness: QueueHarness) -> None:
        first = await harness.message_comes("ana")
        await harness.message_comes("ana", due_at_once=True)
        await harness.message_comes("ana")

        assert [claim.job.id for claim in await harness.claims()] == [first]

    async def test_a_message_during_a_run_opens_a_window_of_its_own(
        self, harness: QueueHarness, clock: FrozenClock
    ) -> None:
        await harness.message_comes("ana")
        clock.advance(QUIET)
        running = await harness.claims_one()

        newer = await harness.message_comes("ana")

        assert (await harness.row(newer))["status"] == "collecting"
        both = [lane_named("ana"), lane_named("bia")]
        assert await harness.database.read(lambda uow: enqueue.open_windows(uow, both), owner=None) == {both[0]}
        await harness.queue.finish(running, Done())
        clock.advance(QUIET)
        assert (await harness.claims_one()).job.id == newer

    # --- Lanes --------------------------------------------------------------------------------------------------------

    async def test_one_job_of_a_lane_runs_at_a_time_and_in_order(self, harness: QueueHarness) -> None:
        first, second = await harness.stores("ana", "ana")

        claim = await harness.claims_one()
        assert (claim.job.id, await harness.claims()) == (first, [])
        await harness.queue.finish(claim, Done())

        assert (await harness.claims_one()).job.id == second

    async def test_two_workers_never_share_a_lane(self, harness: QueueHarness) -> None:
        other = QueueHarness(harness.database, harness.clock, harness.ids)
        await harness.stores(*[f"lane {n}" for n in range(20)])

        shares = await asyncio.gather(*[each.claims(7) for each in (harness, other, harness, other)])

        lanes = [name_of(claim.job.lane) for share in shares for claim in share]
        assert sorted(lanes) == sorted(f"lane {n}" for n in range(20))

    async def test_a_newer_job_never_overtakes_one_that_waits(self, harness: QueueHarness, clock: FrozenClock) -> None:
        [older] = await harness.stores("ana")
        await harness.queue.finish(await harness.claims_one(), RetryIn(timedelta(seconds=10), "busy"))
        await harness.stores("ana")
        clock.advance(timedelta(seconds=9))
        assert await harness.claims() == []

        clock.advance(SECOND)

        assert (await harness.claims_one()).job.id == older

    async def test_a_job_without_a_lane_waits_for_no_other_job(self, harness: QueueHarness) -> None:
        jobs = [NewJob(harness.ids.new(), "reply", PADARIA, harness.clock.now(), harness.clock.now()) for _ in range(2)]
        await harness.queue.enqueue(jobs)

        claimed = await harness.claims()

        assert {claim.job.id for claim in claimed} == {job.id for job in jobs}
        for job in claimed:
            await harness.queue.finish(job, Done())
        lanes = await harness.database.read(lambda uow: uow.all(text("SELECT lane FROM lanes")), owner=None)
        assert lanes == []

    # --- Order among lanes --------------------------------------------------------------------------------------------

    async def test_priority_comes_first(self, harness: QueueHarness, clock: FrozenClock) -> None:
        await harness.stores("old")
        clock.advance(SECOND)
        await harness.stores("urgent", priority=1)

        assert await harness.claimed_lanes(1) == ["urgent"]

    async def test_then_the_owner_who_was_served_longest_ago(self, harness: QueueHarness, clock: FrozenClock) -> None:
        await harness.stores("p1", "p2", "p3")
        assert await harness.claimed_lanes(1) == ["p1"]
        clock.advance(SECOND)
        await harness.stores("f1", "f2", owner=FLORES)

        order = []
        for _ in range(4):
            order += await harness.claimed_lanes(1)
            clock.advance(SECOND)

        assert order == ["f1", "p2", "f2", "p3"]

    async def test_then_the_oldest_due(self, harness: QueueHarness, clock: FrozenClock) -> None:
        later, sooner = harness.job("later", due_in=3 * SECOND), harness.job("sooner", due_in=SECOND)
        await harness.queue.enqueue([later, sooner])
        clock.advance(3 * SECOND)

        assert await harness.claimed_lanes() == ["sooner", "later"]

    async def test_a_full_share_is_dealt_in_turns(self, harness: QueueHarness) -> None:
        await harness.stores(*[f"p{n}" for n in range(10)])
        await harness.stores("f0", "f1", owner=FLORES)

        assert sorted(await harness.claimed_lanes(4)) == ["f0", "f1", "p0", "p1"]

    async def test_an_owner_never_gets_more_than_its_cap(self, harness: QueueHarness) -> None:
        await harness.given_cap(PADARIA, 2)
        await harness.stores("p1", "p2", "p3", "p4")
        await harness.stores("f1", owner=FLORES)

        first = await harness.claims()
        assert sorted(name_of(claim.job.lane) for claim in first) == ["f1", "p1", "p2"]
        assert await harness.claims() == []
        await harness.queue.finish(next(claim for claim in first if name_of(claim.job.lane) == "p1"), Done())

        assert await harness.claimed_lanes() == ["p3"]

    async def test_a_cap_holds_over_all_priorities(self, harness: QueueHarness) -> None:
        await harness.given_cap(PADARIA, 1)
        await harness.stores("urgent", priority=1)
        await harness.stores("usual")

        assert await harness.claimed_lanes() == ["urgent"]

    async def test_one_owners_backlog_hides_nobody(self, harness: QueueHarness, clock: FrozenClock) -> None:
        await harness.stores(*[f"p{n:03}" for n in range(PAGE + 10)])
        clock.advance(SECOND)
        await harness.stores("f", owner=FLORES)

        assert sorted(await harness.claimed_lanes(2)) == ["f", "p000"]

    async def test_in_a_backlog_every_owner_has_its_turn(self, harness: QueueHarness) -> None:
        """More owners than a page and a walk reach, and more jobs of each than one claim takes."""
        owners = [UUID(int=n) for n in range(1, PAGE + STEPS)]
        await harness.queue.enqueue([harness.job(f"{owner} {n}", owner=owner) for owner in owners for n in range(3)])

        served = {claim.job.owner_id for share in [await harness.claims(128) for _ in range(6)] for claim in share}

        assert served == set(owners)

    # --- Endings ------------------------------------------------------------------------------------------------------

    async def test_a_job_that_is_done_is_done(self, harness: QueueHarness) -> None:
        [job_id] = await harness.stores("ana")

        assert await harness.queue.finish(await harness.claims_one(), Done()) == Finished()

        assert await harness.statuses([job_id]) == ["done"]
        assert await harness.queue.unfinished() == 0

    async def test_a_discarded_job_makes_no_dead_letter(self, harness: QueueHarness) -> None:
        [job_id] = await harness.stores("ana")

        await harness.queue.finish(await harness.claims_one(), Discard("the customer is gone"))

        row = await harness.row(job_id)
        assert (row["status"], row["last_error"]) == ("discarded", "the customer is gone")
        assert await harness.queue.dead() == []

    async def test_a_retry_keeps_row_turn_and_place(self, harness: QueueHarness, clock: FrozenClock) -> None:
        [job_id] = await harness.stores("ana")
        job = await harness.claims_one()
        await harness.database.write(
            lambda uow: endings.set_turn(
                lanes.hold(uow, [lane_named("ana")]), job.job, UUID(int=5), {"turn_id": str(UUID(int=5))}
            ),
            owner=None,
        )
        await harness.queue.finish(job, RetryIn(5 * SECOND, "a hiccup"))
        await harness.message_comes("ana")

        row = await harness.row(job_id)
        assert (row["status"], row["attempts"], row["due_at"]) == ("waiting", 1, clock.now() + 5 * SECOND)
        clock.advance(5 * SECOND)
        again = (await harness.claims_one()).job

        assert (again.id, again.turn_id, again.attempts, again.last_error) == (job_id, UUID(int=5), 1, "a hiccup")
        assert again.payload == {"turn_id": str(UUID(int=5))}

    async def test_a_job_without_a_limit_of_attempts_counts_its_failures_and_dies_of_old_age(
        self, harness: QueueHarness, clock: FrozenClock
    ) -> None:
        job = replace(harness.job("ana"), max_attempts=None)
        await harness.queue.enqueue([job])
        for _ in range(5):
            await harness.queue.finish(await harness.claims_one(), RetryIn(SECOND, "not yet"))
            clock.advance(SECOND)
        assert (await harness.row(job.id))["attempts"] == 5

        clock.advance(UNLIMITED_FOR)
        await harness.queue.finish(await harness.claims_one(), RetryIn(SECOND, "a fault"))

        assert harness.handler.settled == [(job.id, "a fault")]

    async def test_a_job_without_a_limit_of_attempts_dies_of_its_third_unexpected_error(
        self, harness: QueueHarness, clock: FrozenClock
    ) -> None:
        """Also when others came between, which are limited by time only."""
        job = replace(harness.job("ana"), max_attempts=None)
        await harness.queue.enqueue([job])
        for expected in range(5):
            claim = await harness.claims_one()
            result = harness.queue.failure(claim.job, "a fault") if expected % 2 == 0 else RetryIn(SECOND, "not yet")
            await harness.queue.finish(claim, result)
            clock.advance(result.delay)

        assert harness.handler.settled == [(job.id, "a fault")]
        row = await harness.row(job.id)
        assert (row["status"], row["attempts"], row["faults"]) == ("dead", 5, 3)

    async def test_waiting_uses_up_no_attempt(self, harness: QueueHarness, clock: FrozenClock) -> None:
        await harness.stores("ana", attempts=1)
        for _ in range(5):
            await harness.queue.finish(await harness.claims_one(), RetryIn(SECOND, "not yet", counts=False))
            clock.advance(SECOND)

        assert (await harness.claims_one()).job.attempts == 0

    async def test_the_last_failure_settles_it_in_the_same_transaction(
        self, harness: QueueHarness, clock: FrozenClock
    ) -> None:
        [job_id] = await harness.stores("ana", attempts=2)
        await harness.queue.finish(await harness.claims_one(), RetryIn(SECOND, "once"))
        clock.advance(SECOND)

        await harness.queue.finish(await harness.claims_one(), RetryIn(SECOND, "twice"))

        assert harness.handler.settled == [(job_id, "twice")]
        assert [(job.id, job.last_error) for job in await harness.queue.dead()] == [(job_id, "twice")]

    async def test_a_settlement_that_fails_leaves_the_job_as_it_was(self, harness: QueueHarness) -> None:
        """There is no dead letter without its settlement."""
        [job_id] = await harness.stores("ana", attempts=1)
        job = await harness.claims_one()

        class Unsettling(ScriptedHandler):
            def exhausted(self, held: HeldLanes, job: StoredJob, error: str, now: datetime, ids: Ids) -> None:  # noqa: ARG002
                raise RuntimeError(error)

        broken = QueueHarness(harness.database, harness.clock, harness.ids, Unsettling())
        with pytest.raises(RuntimeError):
            await broken.queue.finish(job, RetryIn(SECOND, "the last one"))

        assert await harness.statuses([job_id]) == ["running"]

    async def test_the_wait_grows_threefold(self, harness: QueueHarness) -> None:
        await harness.stores("ana")
        job = await harness.claims_one()

        waits = [
            harness.queue.failure(replace(job.job, attempts=attempts), "again").delay.total_seconds()
            for attempts in (0, 1, 2, 9, 100_000)
        ]

        assert waits == [2, 6, 18, 300, 300]

    # --- Leases -------------------------------------------------------------------------------------------------------

    async def test_a_lease_that_ran_out_frees_the_job_with_a_crash_to_its_name(
        self, harness: QueueHarness, clock: FrozenClock
    ) -> None:
        [job_id] = await harness.stores("ana")
        first = await harness.claims_one()
        clock.advance(LEASE)
        assert await harness.queue.free_ended_leases() == 0
        clock.advance(SECOND)
        assert await harness.queue.free_ended_leases() == 1

        again = await harness.claims_one()

        job = again.job
        assert (job.id, job.crashes, job.attempts, job.isolated) == (job_id, 1, 0, True)
        assert again.token != first.token

    async def test_a_worker_that_lost_its_lease_can_change_nothing(self, harness: QueueHarness) -> None:
        await harness.stores("ana")
        late = await harness.claims_one()
        await harness.crashes()
        held = await harness.claims_one()

        for result in (Done(), RetryIn(SECOND, "late"), Discard("late")):
            assert await harness.queue.finish(late, result) == LeaseLost()
        assert not await harness.queue.give_up(late, "late")
        await harness.queue.give_back(late)
        await harness.queue.record_isolated_crash(late, "late")

        assert harness.handler.settled == []
        assert (await harness.row(held.job.id))["lease_token"] == held.token
        assert await harness.queue.finish(held, Done()) == Finished()

    async def test_a_job_that_was_ended_cannot_be_ended_again(self, harness: QueueHarness) -> None:
        await harness.stores("ana")
        job = await harness.claims_one()

        assert await harness.queue.finish(job, Done()) == Finished()
        assert await harness.queue.finish(job, Done()) == LeaseLost()

    async def test_a_job_given_back_is_unharmed(self, harness: QueueHarness) -> None:
        await harness.stores("ana")

        await harness.queue.give_back(await harness.claims_one())

        again = (await harness.claims_one()).job
        assert (again.attempts, again.crashes, again.isolated) == (0, 0, False)

    async def test_a_heartbeat_extends_a_lease_until_the_runs_limit(
        self, harness: QueueHarness, clock: FrozenClock
    ) -> None:
        await harness.stores("ana")
        job, start = await harness.claims_one(), clock.now()
        heartbeat = Heartbeat(harness.database, clock, LEASE)
        forget = heartbeat.keep(job, timedelta(seconds=60))

        clock.advance(timedelta(seconds=20))
        await asyncio.to_thread(heartbeat.beat)
        assert (await harness.row(job.job.id))["leased_until"] == job.leased_until == start + timedelta(seconds=50)
        clock.advance(timedelta(seconds=30))
        await asyncio.to_thread(heartbeat.beat)
        assert (await harness.row(job.job.id))["leased_until"] == start + timedelta(seconds=60) + GRACE

        forget()
        heartbeat.close()

    async def test_a_heartbeat_reports_a_lost_lease_to_the_run(self, harness: QueueHarness, clock: FrozenClock) -> None:
        await harness.stores("ana", "bia")
        lost, kept = await harness.claims()
        heartbeat = Heartbeat(harness.database, clock, LEASE)
        for job in (lost, kept):
            heartbeat.keep(job, timedelta(seconds=60))
        await harness.queue.give_back(lost)

        await asyncio.to_thread(heartbeat.beat)
        await asyncio.wait_for(lost.until_lost(), PATIENCE)

        assert not kept.is_lost
        heartbeat.close()

    # --- Crashes ------------------------------------------------------------------------------------------------------

    async def test_isolated_jobs_go_a_few_at_a_time_and_never_hide_the_healthy(self, harness: QueueHarness) -> None:
        await harness.stores(*[f"isolated {n}" for n in range(6)])
        await harness.claims()
        await harness.crashes()
        await harness.stores("healthy")

        assert await harness.claimed_lanes(3, max_isolated=0) == ["healthy"]
        assert len(await harness.claimed_lanes(10, max_isolated=4)) == 4
        assert len(await harness.claimed_lanes(10, max_isolated=4)) == 2

    async def test_only_a_death_alone_counts_against_a_job(self, harness: QueueHarness, clock: FrozenClock) -> None:
        """Crashes of its neighbours only delay it; its own third death settles it."""
        [job_id] = await harness.stores("ana")
        for _ in range(5):
            await harness.claims_one()
            await harness.crashes()

        for died in range(3):
            assert harness.handler.settled == []
            await harness.queue.record_isolated_crash(await harness.claims_one(), "signal 9")
            assert (await harness.row(job_id))["crashes_alone"] in (died + 1, 2)
            clock.advance(timedelta(minutes=5))

        assert harness.handler.settled == [(job_id, "it killed its own process 3 times (signal 9)")]
        assert await harness.claims() == []

    async def test_an_isolated_job_waits_longer_after_each_death(
        self, harness: QueueHarness, clock: FrozenClock
    ) -> None:
        [job_id] = await harness.stores("ana")
        for seconds in (2, 6):
            await harness.queue.record_isolated_crash(await harness.claims_one(), "signal 9")
            assert (await harness.row(job_id))["due_at"] == clock.now() + timedelta(seconds=seconds)
            clock.advance(timedelta(seconds=seconds))

    async def test_a_used_up_job_is_settled_by_the_claim_and_never_started(self, harness: QueueHarness) -> None:
        [job_id] = await harness.stores("ana")
        for _ in range(MAX_CRASHES):
            await harness.claims_one()
            await harness.crashes()

        assert await harness.claims() == []

        assert harness.handler.settled == [(job_id, f"its lease ran out {MAX_CRASHES} times")]
        assert await harness.statuses([job_id]) == ["dead"]

    async def test_the_next_job_of_the_lane_goes_on_after_a_dead_letter(self, harness: QueueHarness) -> None:
        first, second = await harness.stores("ana", "ana", attempts=1)
        await harness.queue.finish(await harness.claims_one(), RetryIn(SECOND, "poison"))

        assert (await harness.claims_one()).job.id == second
        assert await harness.statuses([first, second]) == ["dead", "running"]

    # --- Maintenance --------------------------------------------------------------------------------------------------

    async def test_maintenance_frees_what_dead_workers_held(self, harness: QueueHarness, clock: FrozenClock) -> None:
        await harness.stores("ana")
        await harness.claims_one()
        maintenance = harness.maintenance()
        for _ in range(30):
            assert await maintenance.step() == 0
            clock.advance(SECOND)
        assert await maintenance.step() == 0

        clock.advance(SECOND)

        assert await maintenance.step() == 1

    async def test_maintenance_spares_leases_after_an_outage(self, harness: QueueHarness, clock: FrozenClock) -> None:
        """No lease could be renewed during the outage, so living workers get the time of one lease for it."""
        await harness.stores("ana", "bia")
        living, _ = await harness.claims()
        maintenance = harness.maintenance()
        await maintenance.step()
        clock.advance(LEASE + timedelta(seconds=INTERVAL_SECONDS) + SECOND)

        assert await maintenance.step() == 0
        heartbeat = Heartbeat(harness.database, clock, LEASE)
        heartbeat.keep(living, timedelta(minutes=5))
        await asyncio.to_thread(heartbeat.beat)
        clock.advance(LEASE - SECOND)
        assert await maintenance.step() == 0
        clock.advance(SECOND)

        assert await maintenance.step() == 1, "only the dead worker's job"
        assert (await harness.row(living.job.id))["crashes"] == 0
        heartbeat.close()

    # --- A clock that is set back -------------------------------------------------------------------------------------

    async def test_what_was_timed_by_a_clock_an_hour_ahead_waits_as_long_as_it_should(
        self, harness: QueueHarness, clock: FrozenClock
    ) -> None:
        """A burst window, a backoff, and what waits behind them in their lanes."""
        clock.jump(HOUR)
        window = await harness.message_comes("ana")
        [retried] = await harness.stores("bia")
        behind = await harness.message_comes("bia")
        [job] = await harness.claims(1)
        await harness.queue.finish(job, RetryIn(20 * SECOND, "a hiccup"))
        clock.jump(-HOUR)

        await harness.maintenance().step()

        rows = {job_id: await harness.row(job_id) for job_id in (window, retried, behind)}
        now = clock.now()
        assert {job_id: row["due_at"] - now for job_id, row in rows.items()} == {
            window: QUIET,
            retried: 20 * SECOND,
            behind: QUIET,
        }
        assert rows[window]["window_ends_at"] == now + MOST
        clock.advance(QUIET)
        assert await harness.claimed_lanes() == ["ana"]

    async def test_times_behind_a_running_job_are_reset_too(self, harness: QueueHarness, clock: FrozenClock) -> None:
        [_] = await harness.stores("ana")
        running = await harness.claims_one()
        clock.jump(HOUR)
        await harness.message_comes("ana")
        clock.jump(-HOUR)

        await harness.maintenance().step()

        await harness.queue.finish(running, Done())
        clock.advance(QUIET)
        assert await harness.claimed_lanes() == ["ana"]

    async def test_a_long_wait_by_a_right_clock_stays_as_it_is(self, harness: QueueHarness, clock: FrozenClock) -> None:
        job = harness.job("ana", due_in=6 * HOUR)
        await harness.queue.enqueue([job])
        clock.jump(-SECOND)

        assert await harness.queue.repair_times() == 0
        assert (await harness.row(job.id))["due_at"] == job.due_at

    async def test_a_window_of_a_clock_that_was_ahead_closes_all_the_same(
        self, harness: QueueHarness, clock: FrozenClock
    ) -> None:
        clock.jump(HOUR)
        job = await harness.message_comes("ana")
        clock.jump(-HOUR)
        start = clock.now()
        for _ in range(10):
            await harness.message_comes("ana")
            clock.advance(SECOND)

        assert (await harness.row(job))["due_at"] == start + MOST

    async def test_a_dead_workers_lease_of_a_clock_that_was_ahead_ends_within_two_leases(
        self, harness: QueueHarness, clock: FrozenClock
    ) -> None:
        await harness.stores("dead", "alive")
        clock.jump(HOUR)
        dead, alive = sorted(await harness.claims(), key=lambda claim: name_of(claim.job.lane), reverse=True)
        heartbeat = Heartbeat(harness.database, clock, LEASE)
        heartbeat.keep(alive, HOUR)
        clock.jump(-HOUR)
        maintenance, freed = harness.maintenance(), 0
        for _ in range(8):
            await asyncio.to_thread(heartbeat.beat)
            freed += await maintenance.step()
            clock.advance(LEASE / 3)

        assert (freed, await harness.statuses([dead.job.id, alive.job.id])) == (1, ["waiting", "running"])
        heartbeat.close()

    async def test_a_clock_that_is_set_ahead_takes_no_lease_from_those_who_live(
        self, harness: QueueHarness, clock: FrozenClock
    ) -> None:
        await harness.stores("dead", "alive")
        dead, alive = sorted(await harness.claims(), key=lambda claim: name_of(claim.job.lane), reverse=True)
        heartbeat = Heartbeat(harness.database, clock, LEASE)
        heartbeat.keep(alive, HOUR)
        maintenance = harness.maintenance()
        await maintenance.step()
        clock.jump(HOUR)

        freed = [await maintenance.step()]
        await asyncio.to_thread(heartbeat.beat)
        clock.advance(LEASE)
        await asyncio.to_thread(heartbeat.beat)
        freed.append(await maintenance.step())

        assert (freed, await harness.statuses([dead.job.id, alive.job.id])) == ([0, 1], ["waiting", "running"])
        heartbeat.close()

    async def test_a_clock_that_is_set_back_gives_no_run_more_time(
        self, harness: QueueHarness, clock: FrozenClock
    ) -> None:
        await harness.stores("ana")
        job = await harness.claims_one()
        heartbeat = Heartbeat(harness.database, clock, LEASE)
        heartbeat.keep(job, timedelta(seconds=60))
        clock.jump(-HOUR)
        clock.advance(timedelta(seconds=50))

        await asyncio.to_thread(heartbeat.beat)

        assert (await harness.row(job.job.id))["leased_until"] == clock.now() + timedelta(seconds=10) + GRACE
        heartbeat.close()

    async def test_an_owner_served_by_a_clock_that_was_ahead_is_not_the_last_of_all(
        self, harness: QueueHarness, clock: FrozenClock
    ) -> None:
        clock.jump(HOUR)
        await harness.stores("served ahead")
        await harness.claims()
        clock.jump(-HOUR)
        await harness.stores("f1", "f2", owner=FLORES)
        await harness.claims(1)
        await harness.stores("p")

        assert await harness.claimed_lanes(1) == ["p"]

    # --- What people do -----------------------------------------------------------------------------------------------

    async def test_a_dead_letter_can_be_retried_once(self, harness: QueueHarness) -> None:
        [job_id] = await harness.stores("ana", attempts=1)
        await harness.queue.finish(await harness.claims_one(), RetryIn(SECOND, "dead"))

        assert await harness.queue.retry(job_id) == Replayed(job_id, harness.handler.successor)

        row = await harness.row(job_id)
        assert (row["status"], row["replayed_by"]) == ("dead", harness.handler.successor)
        assert await harness.queue.dead() == []

    async def test_a_refused_retry_changes_nothing(self, harness: QueueHarness) -> None:
        [job_id] = await harness.stores("ana", attempts=1)
        await harness.queue.finish(await harness.claims_one(), RetryIn(SECOND, "dead"))
        harness.handler.refusal = "too late"

        assert await harness.queue.retry(job_id) == ReplayRefused(job_id, "too late")
        assert [job.id for job in await harness.queue.dead()] == [job_id]
        assert isinstance(await harness.queue.retry(job_id, force=True), Replayed)

    async def test_only_dead_letters_can_be_retried(self, harness: QueueHarness) -> None:
        [job_id] = await harness.stores("ana")

        with pytest.raises(Conflict, match="waiting"):
            await harness.queue.retry(job_id)
        with pytest.raises(NotFound, match="queue dead"):
            await harness.queue.retry(UUID(int=404))

    async def test_a_discarded_dead_letter_stays_dead_and_leaves_the_list(self, harness: QueueHarness) -> None:
        [job_id] = await harness.stores("ana", attempts=1)
        await harness.queue.finish(await harness.claims_one(), RetryIn(SECOND, "dead"))

        await harness.queue.discard(job_id)

        row = await harness.row(job_id)
        assert (row["status"], row["discarded_at"]) == ("dead", harness.clock.now())
        assert await harness.queue.dead() == []

    async def test_a_waiting_job_can_be_discarded_unless_its_handler_objects(self, harness: QueueHarness) -> None:
        first, second = await harness.stores("ana", "ana")
        harness.handler.refusal = "it may have been sent"
        with pytest.raises(Conflict, match="may have been sent"):
            await harness.queue.discard(first)
        harness.handler.refusal = None

        await harness.queue.discard(first)

        assert await harness.statuses([first, second]) == ["discarded", "waiting"]
        assert (await harness.claims_one()).job.id == second

    async def test_a_running_job_cannot_be_discarded(self, harness: QueueHarness) -> None:
        await harness.stores("ana")
        job = await harness.claims_one()

        with pytest.raises(Conflict, match="running"):
            await harness.queue.discard(job.job.id)
        with pytest.raises(NotFound):
            await harness.queue.discard(UUID(int=404))

    async def test_the_figures_describe_the_queue(self, harness: QueueHarness, clock: FrozenClock) -> None:
        await harness.stores("dead", attempts=1)
        await harness.queue.finish(await harness.claims_one(), RetryIn(SECOND, "dead"))
        await harness.stores("running")
        await harness.claims_one()
        await harness.stores("waiting")
        await harness.message_comes("collecting")
        clock.advance(timedelta(seconds=5))

        assert await harness.queue.stats() == inspection.QueueStats(waiting=2, running=1, dead=1, oldest_due_seconds=5)

    async def test_what_is_late_is_what_a_customer_waits_for(self, harness: QueueHarness, clock: FrozenClock) -> None:
        """Events wait for their share of the slots while servers that were not reached use it up."""
        await harness.stores("event", priority=BACKGROUND_PRIORITY)
        clock.advance(timedelta(seconds=60))
        assert (await harness.queue.stats()).oldest_due_seconds == 0
        await harness.stores("message")
        clock.advance(timedelta(seconds=5))
        assert (await harness.queue.stats()).oldest_due_seconds == pytest.approx(5)
