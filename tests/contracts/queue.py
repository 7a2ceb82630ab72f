"""What every database must make of the queue: sections 1, 2 and 5 of the ledger, as far as the rows decide.

    class TestOverSqlite(QueueContract): ...      # its fixture `database` says which one

The clock stands still, so that a lease runs out, a backoff passes or a window closes exactly when a test says so.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import select, text
from sqlalchemy.engine import RowMapping

from recado.core.clock import FrozenClock
from recado.core.database.engine import Database
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.errors import Conflict, NotFound
from recado.core.ids import Ids
from recado.core.queue.cron import Cron
from recado.core.queue.job import (
    CRASH_CAP,
    Discard,
    Done,
    Job,
    JobResult,
    LeaseLost,
    NewJob,
    Replayed,
    ReplayRefused,
    RetryIn,
)
from recado.core.queue.running.heartbeat import GRACE, Heartbeat
from recado.core.queue.running.maintenance import PASS_SECONDS, Relay
from recado.core.queue.service import Finished, QueueService
from recado.core.queue.storage import endings, enqueue, inspection, lanes
from recado.core.queue.storage.claiming import PAGE, STEPS
from recado.core.queue.storage.tables import message_queue, queue_owners
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
    """Runs as its script says, and remembers what was asked of it."""

    name: str = "reply"
    time_limit: timedelta = timedelta(seconds=60)
    script: deque[JobResult | Exception] = field(default_factory=deque)
    ran: list[UUID] = field(default_factory=list)
    settled: list[tuple[UUID, str]] = field(default_factory=list)
    refusal: str | None = None
    refused_lanes: set[str] = field(default_factory=set)
    on_replay: Callable[[], object] = lambda: None
    successor: UUID = SUCCESSOR

    async def run(self, job: Job) -> JobResult:
        self.ran.append(job.id)
        result = self.script.popleft() if self.script else Done()
        if isinstance(result, Exception):
            raise result
        return result

    def exhausted(self, uow: UnitOfWork, job: Job, error: str) -> None:
        uow.after_commit(lambda: self.settled.append((job.id, error)))

    def replay(self, uow: UnitOfWork, job: Job, *, force: bool) -> Replayed | ReplayRefused:
        if self.refusal is not None and not force:
            return ReplayRefused(job.id, self.refusal)
        if job.lane in self.refused_lanes:
            return ReplayRefused(job.id, "not this one")
        uow.first(text("SELECT 1"))
        self.on_replay()
        return Replayed(job.id, self.successor)

    def discarded(self, uow: UnitOfWork, job: Job) -> str | None:  # noqa: ARG002 - the port's names
        return self.refusal


@dataclass(slots=True)
class Line:
    """The queue with what a test needs around it."""

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
        return NewJob(self.ids.new(), "reply", owner, now, now + due_in, lane, priority=priority, max_attempts=attempts)

    async def stores(self, *lanes: str, owner: UUID = PADARIA, priority: int = 5, attempts: int = 3) -> list[UUID]:
        """Jobs that are due, one a microsecond after the other: no database orders those that are due at once."""
        jobs = [
            self.job(
                lane, due_in=timedelta(microseconds=n - len(lanes)), owner=owner, priority=priority, attempts=attempts
            )
            for n, lane in enumerate(lanes, start=1)
        ]
        await self.queue.enqueue(jobs)
        return [job.id for job in jobs]

    async def message_comes(self, lane: str, *, hurried: bool = False) -> UUID:
        """What accept does for a customer's message."""
        now = self.clock.now()
        new = NewJob(
            id=self.ids.new(),
            name="reply",
            owner_id=PADARIA,
            created_at=now,
            due_at=now + QUIET,
            lane=lane,
            window_ends_at=now + MOST,
            collecting=True,
        )
        at_once = frozenset({lane}) if hurried else frozenset[str]()
        await self.database.write(lambda uow: enqueue.collect(uow, [new], due_at_once=at_once), owner=None)
        return new.id

    async def claims(self, limit: int = 100, *, suspects: int = 4) -> list[Job]:
        return await self.queue.claim(limit, suspects=suspects)

    async def claims_one(self) -> Job:
        [job] = await self.claims()
        return job

    async def claimed_lanes(self, limit: int = 100, *, suspects: int = 4) -> list[str]:
        return [job.lane for job in await self.claims(limit, suspects=suspects)]

    async def crashes(self) -> None:
        """Whoever holds leases dies, and the relay finds out."""
        self.clock.advance(LEASE + SECOND)
        await self.queue.free_ended_leases()

    async def gives_up(self, *names: str) -> list[UUID]:
        """Dead letters, one for each lane."""
        ids = await self.stores(*names)
        ended = text("UPDATE message_queue SET status = 'dead' WHERE status = 'waiting'")
        await self.database.write(lambda uow: uow.execute(ended).close(), owner=None)
        await self.database.write(lambda uow: lanes.refresh_lanes(uow, names), owner=None)
        return ids

    async def row(self, job_id: UUID) -> RowMapping:
        row = await self.database.read(
            lambda uow: uow.first(select(message_queue).where(message_queue.c.id == job_id)), owner=None
        )
        assert row is not None
        return row

    async def statuses(self, ids: Sequence[UUID]) -> list[str]:
        return [(await self.row(job_id))["status"] for job_id in ids]

    def relay(self) -> Relay:
        """One with no schedules, so that only leases keep it busy."""
        return Relay(self.queue, Cron(self.database, self.clock, self.ids, []), self.clock)

    async def given_cap(self, owner: UUID, most: int) -> None:
        row = {"owner_id": owner, "served_at": self.clock.now(), "max_running": most}
        await self.database.write(lambda uow: uow.execute(queue_owners.insert(), row).close(), owner=None)


class QueueContract:
    """Not collected itself, for its file is not named test_*."""

    @pytest.fixture
    def line(self, database: Database, clock: FrozenClock, ids: Ids) -> Line:
        return Line(database, clock, ids)

    # --- The burst window ---------------------------------------------------------------------------------------------

    async def test_a_burst_is_one_job_that_is_due_when_it_is_quiet(self, line: Line, clock: FrozenClock) -> None:
        first = await line.message_comes("ana")
        clock.advance(SECOND)
        await line.message_comes("ana")
        clock.advance(QUIET - SECOND)
        assert await line.claims() == []

        clock.advance(SECOND)

        assert [job.id for job in await line.claims()] == [first]

    async def test_a_burst_that_never_ends_is_answered_all_the_same(self, line: Line, clock: FrozenClock) -> None:
        start = clock.now()
        for _ in range(8):
            job = await line.message_comes("ana")
            clock.advance(SECOND)

        row = await line.database.read(lambda uow: enqueue.collecting_in(uow, "ana"), owner=None)
        assert row is not None
        assert row[1] == start + MOST
        assert row[0] != job
        assert [job.id for job in await line.claims()] == [row[0]]

    async def test_a_tapped_button_is_due_at_once_and_stays_so(self, line: Line) -> None:
        first = await line.message_comes("ana")
        await line.message_comes("ana", hurried=True)
        await line.message_comes("ana")

        assert [job.id for job in await line.claims()] == [first]

    async def test_a_message_during_a_run_opens_a_window_of_its_own(self, line: Line, clock: FrozenClock) -> None:
        await line.message_comes("ana")
        clock.advance(QUIET)
        running = await line.claims_one()

        newer = await line.message_comes("ana")

        assert (await line.row(newer))["status"] == "collecting"
        assert await line.database.read(lambda uow: enqueue.newcomers(uow, ["ana", "bia"]), owner=None) == {"ana"}
        await line.queue.finish(running, Done())
        clock.advance(QUIET)
        assert (await line.claims_one()).id == newer

    # --- Lanes --------------------------------------------------------------------------------------------------------

    async def test_one_job_of_a_lane_runs_at_a_time_and_in_order(self, line: Line) -> None:
        first, second = await line.stores("ana", "ana")

        job = await line.claims_one()
        assert (job.id, await line.claims()) == (first, [])
        await line.queue.finish(job, Done())

        assert (await line.claims_one()).id == second

    async def test_two_workers_never_share_a_lane(self, line: Line) -> None:
        other = Line(line.database, line.clock, line.ids)
        await line.stores(*[f"lane {n}" for n in range(20)])

        shares = await asyncio.gather(*[each.claims(7) for each in (line, other, line, other)])

        lanes = [job.lane for share in shares for job in share]
        assert sorted(lanes) == sorted(f"lane {n}" for n in range(20))

    async def test_a_newer_job_never_overtakes_one_that_waits(self, line: Line, clock: FrozenClock) -> None:
        [older] = await line.stores("ana")
        await line.queue.finish(await line.claims_one(), RetryIn(timedelta(seconds=10), "busy"))
        await line.stores("ana")
        clock.advance(timedelta(seconds=9))
        assert await line.claims() == []

        clock.advance(SECOND)

        assert (await line.claims_one()).id == older

    async def test_a_job_without_a_lane_waits_for_nobody(self, line: Line) -> None:
        jobs = [NewJob(line.ids.new(), "reply", PADARIA, line.clock.now(), line.clock.now()) for _ in range(2)]
        await line.queue.enqueue(jobs)

        claimed = await line.claims()

        assert {job.id for job in claimed} == {job.id for job in jobs}
        for job in claimed:
            await line.queue.finish(job, Done())
        lanes = await line.database.read(lambda uow: uow.all(text("SELECT lane FROM lanes")), owner=None)
        assert lanes == []

    # --- Order among lanes --------------------------------------------------------------------------------------------

    async def test_priority_comes_first(self, line: Line, clock: FrozenClock) -> None:
        await line.stores("old")
        clock.advance(SECOND)
        await line.stores("urgent", priority=1)

        assert await line.claimed_lanes(1) == ["urgent"]

    async def test_then_the_owner_who_was_served_longest_ago(self, line: Line, clock: FrozenClock) -> None:
        await line.stores("p1", "p2", "p3")
        assert await line.claimed_lanes(1) == ["p1"]
        clock.advance(SECOND)
        await line.stores("f1", "f2", owner=FLORES)

        order = []
        for _ in range(4):
            order += await line.claimed_lanes(1)
            clock.advance(SECOND)

        assert order == ["f1", "p2", "f2", "p3"]

    async def test_then_the_oldest_due(self, line: Line, clock: FrozenClock) -> None:
        later, sooner = line.job("later", due_in=3 * SECOND), line.job("sooner", due_in=SECOND)
        await line.queue.enqueue([later, sooner])
        clock.advance(3 * SECOND)

        assert await line.claimed_lanes() == ["sooner", "later"]

    async def test_a_full_share_is_dealt_in_turns(self, line: Line) -> None:
        await line.stores(*[f"p{n}" for n in range(10)])
        await line.stores("f0", "f1", owner=FLORES)

        assert sorted(await line.claimed_lanes(4)) == ["f0", "f1", "p0", "p1"]

    async def test_an_owner_never_gets_more_than_its_cap(self, line: Line) -> None:
        await line.given_cap(PADARIA, 2)
        await line.stores("p1", "p2", "p3", "p4")
        await line.stores("f1", owner=FLORES)

        first = await line.claims()
        assert sorted(job.lane for job in first) == ["f1", "p1", "p2"]
        assert await line.claims() == []
        await line.queue.finish(next(job for job in first if job.lane == "p1"), Done())

        assert await line.claimed_lanes() == ["p3"]

    async def test_a_cap_holds_over_all_priorities(self, line: Line) -> None:
        await line.given_cap(PADARIA, 1)
        await line.stores("urgent", priority=1)
        await line.stores("usual")

        assert await line.claimed_lanes() == ["urgent"]

    async def test_one_owners_backlog_hides_nobody(self, line: Line, clock: FrozenClock) -> None:
        await line.stores(*[f"p{n:03}" for n in range(PAGE + 10)])
        clock.advance(SECOND)
        await line.stores("f", owner=FLORES)

        assert sorted(await line.claimed_lanes(2)) == ["f", "p000"]

    async def test_in_a_backlog_every_owner_has_its_turn(self, line: Line) -> None:
        """More owners than a page and a walk see at once, and more to do for each than anybody takes at once."""
        owners = [UUID(int=n) for n in range(1, PAGE + STEPS)]
        await line.queue.enqueue([line.job(f"{owner} {n}", owner=owner) for owner in owners for n in range(3)])

        served = {job.owner_id for share in [await line.claims(128) for _ in range(6)] for job in share}

        assert served == set(owners)

    # --- Endings ------------------------------------------------------------------------------------------------------

    async def test_a_job_that_is_done_is_done(self, line: Line) -> None:
        [job_id] = await line.stores("ana")

        assert await line.queue.finish(await line.claims_one(), Done()) == Finished()

        assert await line.statuses([job_id]) == ["done"]
        assert await line.queue.unfinished() == 0

    async def test_a_job_nobody_wants_any_more_makes_no_dead_letter(self, line: Line) -> None:
        [job_id] = await line.stores("ana")

        await line.queue.finish(await line.claims_one(), Discard("the customer is gone"))

        row = await line.row(job_id)
        assert (row["status"], row["last_error"]) == ("discarded", "the customer is gone")
        assert await line.queue.dead() == []

    async def test_a_retry_keeps_row_turn_and_place(self, line: Line, clock: FrozenClock) -> None:
        [job_id] = await line.stores("ana")
        job = await line.claims_one()
        await line.database.write(lambda uow: endings.set_turn(uow, job, UUID(int=5)), owner=None)
        await line.queue.finish(job, RetryIn(5 * SECOND, "a hiccup"))
        await line.message_comes("ana")

        row = await line.row(job_id)
        assert (row["status"], row["attempts"], row["due_at"]) == ("waiting", 1, clock.now() + 5 * SECOND)
        clock.advance(5 * SECOND)
        again = await line.claims_one()

        assert (again.id, again.turn_id, again.attempts, again.last_error) == (job_id, UUID(int=5), 1, "a hiccup")

    async def test_waiting_uses_up_no_attempt(self, line: Line, clock: FrozenClock) -> None:
        await line.stores("ana", attempts=1)
        for _ in range(5):
            await line.queue.finish(await line.claims_one(), RetryIn(SECOND, "not yet", counts=False))
            clock.advance(SECOND)

        assert (await line.claims_one()).attempts == 0

    async def test_the_last_failure_settles_it_in_the_same_transaction(self, line: Line, clock: FrozenClock) -> None:
        [job_id] = await line.stores("ana", attempts=2)
        await line.queue.finish(await line.claims_one(), RetryIn(SECOND, "once"))
        clock.advance(SECOND)

        await line.queue.finish(await line.claims_one(), RetryIn(SECOND, "twice"))

        assert line.handler.settled == [(job_id, "twice")]
        assert [(job.id, job.last_error) for job in await line.queue.dead()] == [(job_id, "twice")]

    async def test_a_settlement_that_fails_leaves_the_job_as_it_was(self, line: Line) -> None:
        """Never a dead letter whose customer was told nothing."""
        [job_id] = await line.stores("ana", attempts=1)
        job = await line.claims_one()

        class Unsettling(ScriptedHandler):
            def exhausted(self, uow: UnitOfWork, job: Job, error: str) -> None:  # noqa: ARG002 - the port's names
                raise RuntimeError(error)

        broken = Line(line.database, line.clock, line.ids, Unsettling())
        with pytest.raises(RuntimeError):
            await broken.queue.finish(job, RetryIn(SECOND, "the last one"))

        assert await line.statuses([job_id]) == ["running"]

    async def test_the_wait_grows_threefold(self, line: Line) -> None:
        await line.stores("ana")
        job = await line.claims_one()

        waits = []
        for job.attempts in (0, 1, 2, 9):
            waits.append(line.queue.failure(job, "again").delay.total_seconds())

        assert waits == [2, 6, 18, 300]

    # --- Leases -------------------------------------------------------------------------------------------------------

    async def test_a_lease_that_ran_out_frees_the_job_with_a_crash_to_its_name(
        self, line: Line, clock: FrozenClock
    ) -> None:
        [job_id] = await line.stores("ana")
        first = await line.claims_one()
        clock.advance(LEASE)
        assert await line.queue.free_ended_leases() == 0
        clock.advance(SECOND)
        assert await line.queue.free_ended_leases() == 1

        again = await line.claims_one()

        assert (again.id, again.crashes, again.attempts, again.suspect) == (job_id, 1, 0, True)
        assert again.lease_token != first.lease_token

    async def test_whoever_lost_the_lease_can_change_nothing(self, line: Line) -> None:
        await line.stores("ana")
        late = await line.claims_one()
        await line.crashes()
        held = await line.claims_one()

        for result in (Done(), RetryIn(SECOND, "late"), Discard("late")):
            assert await line.queue.finish(late, result) == LeaseLost()
        assert not await line.queue.give_up(late, "late")
        await line.queue.give_back(late)
        await line.queue.died_alone(late, "late")

        assert line.handler.settled == []
        assert (await line.row(held.id))["lease_token"] == held.lease_token
        assert await line.queue.finish(held, Done()) == Finished()

    async def test_a_job_that_was_ended_cannot_be_ended_again(self, line: Line) -> None:
        await line.stores("ana")
        job = await line.claims_one()

        assert await line.queue.finish(job, Done()) == Finished()
        assert await line.queue.finish(job, Done()) == LeaseLost()

    async def test_a_job_given_back_is_unharmed(self, line: Line) -> None:
        await line.stores("ana")

        await line.queue.give_back(await line.claims_one())

        again = await line.claims_one()
        assert (again.attempts, again.crashes, again.suspect) == (0, 0, False)

    async def test_a_heartbeat_extends_a_lease_until_the_runs_limit(self, line: Line, clock: FrozenClock) -> None:
        await line.stores("ana")
        job, start = await line.claims_one(), clock.now()
        heartbeat = Heartbeat(line.database, clock, LEASE)
        forget = heartbeat.keep(job, timedelta(seconds=60))

        clock.advance(timedelta(seconds=20))
        await asyncio.to_thread(heartbeat.beat)
        assert (await line.row(job.id))["leased_until"] == job.leased_until == start + timedelta(seconds=50)
        clock.advance(timedelta(seconds=30))
        await asyncio.to_thread(heartbeat.beat)
        assert (await line.row(job.id))["leased_until"] == start + timedelta(seconds=60) + GRACE

        forget()
        heartbeat.close()

    async def test_a_heartbeat_tells_the_run_that_its_lease_is_lost(self, line: Line, clock: FrozenClock) -> None:
        await line.stores("ana", "bia")
        lost, kept = await line.claims()
        heartbeat = Heartbeat(line.database, clock, LEASE)
        for job in (lost, kept):
            heartbeat.keep(job, timedelta(seconds=60))
        await line.queue.give_back(lost)

        await asyncio.to_thread(heartbeat.beat)
        await asyncio.wait_for(lost.lost.wait(), PATIENCE)

        assert not kept.lost.is_set()
        heartbeat.close()

    # --- Crashes ------------------------------------------------------------------------------------------------------

    async def test_suspects_go_a_few_at_a_time_and_never_hide_the_healthy(self, line: Line) -> None:
        await line.stores(*[f"suspect {n}" for n in range(6)])
        await line.claims()
        await line.crashes()
        await line.stores("healthy")

        assert await line.claimed_lanes(3, suspects=0) == ["healthy"]
        assert len(await line.claimed_lanes(10, suspects=4)) == 4
        assert len(await line.claimed_lanes(10, suspects=4)) == 2

    async def test_only_a_death_alone_counts_against_a_job(self, line: Line, clock: FrozenClock) -> None:
        """Its neighbours' crashes cost it nothing but time; its own third death settles it."""
        [job_id] = await line.stores("ana")
        for _ in range(5):
            await line.claims_one()
            await line.crashes()

        for died in range(3):
            assert line.handler.settled == []
            await line.queue.died_alone(await line.claims_one(), "signal 9")
            assert (await line.row(job_id))["crashes_alone"] in (died + 1, 2)
            clock.advance(timedelta(minutes=5))

        assert line.handler.settled == [(job_id, "it killed its own process 3 times (signal 9)")]
        assert await line.claims() == []

    async def test_a_suspect_waits_longer_after_each_death(self, line: Line, clock: FrozenClock) -> None:
        [job_id] = await line.stores("ana")
        for seconds in (2, 6):
            await line.queue.died_alone(await line.claims_one(), "signal 9")
            assert (await line.row(job_id))["due_at"] == clock.now() + timedelta(seconds=seconds)
            clock.advance(timedelta(seconds=seconds))

    async def test_a_used_up_job_is_settled_by_the_claim_and_never_started(self, line: Line) -> None:
        [job_id] = await line.stores("ana")
        for _ in range(CRASH_CAP):
            await line.claims_one()
            await line.crashes()

        assert await line.claims() == []

        assert line.handler.settled == [(job_id, f"its lease ran out {CRASH_CAP} times")]
        assert await line.statuses([job_id]) == ["dead"]

    async def test_the_next_job_of_the_lane_goes_on_after_a_dead_letter(self, line: Line) -> None:
        first, second = await line.stores("ana", "ana", attempts=1)
        await line.queue.finish(await line.claims_one(), RetryIn(SECOND, "poison"))

        assert (await line.claims_one()).id == second
        assert await line.statuses([first, second]) == ["dead", "running"]

    # --- The relay ----------------------------------------------------------------------------------------------------

    async def test_the_relay_frees_what_dead_workers_held(self, line: Line, clock: FrozenClock) -> None:
        await line.stores("ana")
        await line.claims_one()
        relay = line.relay()
        for _ in range(30):
            assert await relay.step() == 0
            clock.advance(SECOND)
        assert await relay.step() == 0

        clock.advance(SECOND)

        assert await relay.step() == 1

    async def test_the_relay_is_patient_after_an_outage(self, line: Line, clock: FrozenClock) -> None:
        """Nobody could renew a lease while nothing could be written: those who live get one lease's time for it."""
        await line.stores("ana", "bia")
        living, _ = await line.claims()
        relay = line.relay()
        await relay.step()
        clock.advance(LEASE + timedelta(seconds=PASS_SECONDS) + SECOND)

        assert await relay.step() == 0
        heartbeat = Heartbeat(line.database, clock, LEASE)
        heartbeat.keep(living, timedelta(minutes=5))
        await asyncio.to_thread(heartbeat.beat)
        clock.advance(LEASE - SECOND)
        assert await relay.step() == 0
        clock.advance(SECOND)

        assert await relay.step() == 1, "only the dead worker's job"
        assert (await line.row(living.id))["crashes"] == 0
        heartbeat.close()

    # --- A clock that is set back -------------------------------------------------------------------------------------

    async def test_what_was_timed_by_a_clock_an_hour_ahead_waits_as_long_as_it_should(
        self, line: Line, clock: FrozenClock
    ) -> None:
        """A burst window, a backoff, and what waits behind them in their lanes."""
        clock.jump(HOUR)
        window = await line.message_comes("ana")
        [retried] = await line.stores("bia")
        behind = await line.message_comes("bia")
        [job] = await line.claims(1)
        await line.queue.finish(job, RetryIn(20 * SECOND, "a hiccup"))
        clock.jump(-HOUR)

        await line.relay().step()

        rows = {job_id: await line.row(job_id) for job_id in (window, retried, behind)}
        now = clock.now()
        assert {job_id: row["due_at"] - now for job_id, row in rows.items()} == {
            window: QUIET,
            retried: 20 * SECOND,
            behind: QUIET,
        }
        assert rows[window]["window_ends_at"] == now + MOST
        clock.advance(QUIET)
        assert await line.claimed_lanes() == ["ana"]

    async def test_what_waits_behind_a_running_job_is_timed_anew_too(self, line: Line, clock: FrozenClock) -> None:
        [_] = await line.stores("ana")
        running = await line.claims_one()
        clock.jump(HOUR)
        await line.message_comes("ana")
        clock.jump(-HOUR)

        await line.relay().step()

        await line.queue.finish(running, Done())
        clock.advance(QUIET)
        assert await line.claimed_lanes() == ["ana"]

    async def test_a_long_wait_by_a_right_clock_stays_as_it_is(self, line: Line, clock: FrozenClock) -> None:
        job = line.job("ana", due_in=6 * HOUR)
        await line.queue.enqueue([job])
        clock.jump(-SECOND)

        assert await line.queue.set_times_right() == 0
        assert (await line.row(job.id))["due_at"] == job.due_at

    async def test_a_window_of_a_clock_that_was_ahead_closes_all_the_same(self, line: Line, clock: FrozenClock) -> None:
        clock.jump(HOUR)
        job = await line.message_comes("ana")
        clock.jump(-HOUR)
        start = clock.now()
        for _ in range(10):
            await line.message_comes("ana")
            clock.advance(SECOND)

        assert (await line.row(job))["due_at"] == start + MOST

    async def test_a_dead_workers_lease_of_a_clock_that_was_ahead_ends_within_two_leases(
        self, line: Line, clock: FrozenClock
    ) -> None:
        await line.stores("dead", "alive")
        clock.jump(HOUR)
        dead, alive = sorted(await line.claims(), key=lambda job: job.lane, reverse=True)
        heartbeat = Heartbeat(line.database, clock, LEASE)
        heartbeat.keep(alive, HOUR)
        clock.jump(-HOUR)
        relay, freed = line.relay(), 0
        for _ in range(8):
            await asyncio.to_thread(heartbeat.beat)
            freed += await relay.step()
            clock.advance(LEASE / 3)

        assert (freed, await line.statuses([dead.id, alive.id])) == (1, ["waiting", "running"])
        heartbeat.close()

    async def test_a_clock_that_is_set_ahead_takes_no_lease_from_those_who_live(
        self, line: Line, clock: FrozenClock
    ) -> None:
        await line.stores("dead", "alive")
        dead, alive = sorted(await line.claims(), key=lambda job: job.lane, reverse=True)
        heartbeat = Heartbeat(line.database, clock, LEASE)
        heartbeat.keep(alive, HOUR)
        relay = line.relay()
        await relay.step()
        clock.jump(HOUR)

        freed = [await relay.step()]
        await asyncio.to_thread(heartbeat.beat)
        clock.advance(LEASE)
        await asyncio.to_thread(heartbeat.beat)
        freed.append(await relay.step())

        assert (freed, await line.statuses([dead.id, alive.id])) == ([0, 1], ["waiting", "running"])
        heartbeat.close()

    async def test_a_clock_that_is_set_back_gives_no_run_more_time(self, line: Line, clock: FrozenClock) -> None:
        await line.stores("ana")
        job = await line.claims_one()
        heartbeat = Heartbeat(line.database, clock, LEASE)
        heartbeat.keep(job, timedelta(seconds=60))
        clock.jump(-HOUR)
        clock.advance(timedelta(seconds=50))

        await asyncio.to_thread(heartbeat.beat)

        assert (await line.row(job.id))["leased_until"] == clock.now() + timedelta(seconds=10) + GRACE
        heartbeat.close()

    async def test_an_owner_served_by_a_clock_that_was_ahead_is_not_the_last_of_all(
        self, line: Line, clock: FrozenClock
    ) -> None:
        clock.jump(HOUR)
        await line.stores("served ahead")
        await line.claims()
        clock.jump(-HOUR)
        await line.stores("f1", "f2", owner=FLORES)
        await line.claims(1)
        await line.stores("p")

        assert await line.claimed_lanes(1) == ["p"]

    # --- What people do -----------------------------------------------------------------------------------------------

    async def test_a_dead_letter_can_be_retried_once(self, line: Line) -> None:
        [job_id] = await line.stores("ana", attempts=1)
        await line.queue.finish(await line.claims_one(), RetryIn(SECOND, "dead"))

        assert await line.queue.retry(job_id) == Replayed(job_id, line.handler.successor)

        row = await line.row(job_id)
        assert (row["status"], row["replayed_by"]) == ("dead", line.handler.successor)
        assert await line.queue.dead() == []

    async def test_a_refused_retry_changes_nothing(self, line: Line) -> None:
        [job_id] = await line.stores("ana", attempts=1)
        await line.queue.finish(await line.claims_one(), RetryIn(SECOND, "dead"))
        line.handler.refusal = "too late"

        assert await line.queue.retry(job_id) == ReplayRefused(job_id, "too late")
        assert [job.id for job in await line.queue.dead()] == [job_id]
        assert isinstance(await line.queue.retry(job_id, force=True), Replayed)

    async def test_all_are_retried_though_pages_of_them_are_refused(self, line: Line) -> None:
        lanes = [f"{n:04}" for n in range(inspection.PAGE + 20)]
        letters = await line.gives_up(*lanes)
        line.handler.refused_lanes = set(lanes[: inspection.PAGE + 3])

        results = [result async for result in line.queue.retry_all()]

        assert [result.job_id for result in results] == letters
        assert [isinstance(result, Replayed) for result in results] == [False] * (inspection.PAGE + 3) + [True] * 17
        assert [job.id for job in await line.queue.dead()] == letters[: inspection.PAGE + 3]

    async def test_what_is_given_up_while_all_are_retried_is_left(self, line: Line) -> None:
        """A replay that fails at once would come round for ever."""
        first = await line.gives_up("ana", "bia")
        results = []
        async for result in line.queue.retry_all():
            results.append(result.job_id)
            newer = await line.gives_up(f"newer {len(results)}")

        assert results == first
        assert newer[0] in [job.id for job in await line.queue.dead()]

    async def test_one_that_nobody_can_retry_stops_none_behind_it(self, line: Line) -> None:
        strange, fine = await line.gives_up("strange", "fine")
        renamed = text("UPDATE message_queue SET name = 'of an older release' WHERE lane = 'strange'")
        await line.database.write(lambda uow: uow.execute(renamed).close(), owner=None)

        refused, retried = [result async for result in line.queue.retry_all()]

        assert isinstance(refused, ReplayRefused)
        assert (refused.job_id, "no handler" in refused.why) == (strange, True)
        assert retried == Replayed(fine, SUCCESSOR)

    async def test_only_dead_letters_can_be_retried(self, line: Line) -> None:
        [job_id] = await line.stores("ana")

        with pytest.raises(Conflict, match="waiting"):
            await line.queue.retry(job_id)
        with pytest.raises(NotFound, match="queue dead"):
            await line.queue.retry(UUID(int=404))

    async def test_a_discarded_dead_letter_stays_dead_and_leaves_the_list(self, line: Line) -> None:
        [job_id] = await line.stores("ana", attempts=1)
        await line.queue.finish(await line.claims_one(), RetryIn(SECOND, "dead"))

        await line.queue.discard(job_id)

        row = await line.row(job_id)
        assert (row["status"], row["discarded_at"]) == ("dead", line.clock.now())
        assert await line.queue.dead() == []

    async def test_a_waiting_job_can_be_discarded_unless_its_handler_objects(self, line: Line) -> None:
        first, second = await line.stores("ana", "ana")
        line.handler.refusal = "it may have been sent"
        with pytest.raises(Conflict, match="may have been sent"):
            await line.queue.discard(first)
        line.handler.refusal = None

        await line.queue.discard(first)

        assert await line.statuses([first, second]) == ["discarded", "waiting"]
        assert (await line.claims_one()).id == second

    async def test_a_running_job_cannot_be_discarded(self, line: Line) -> None:
        await line.stores("ana")
        job = await line.claims_one()

        with pytest.raises(Conflict, match="running"):
            await line.queue.discard(job.id)
        with pytest.raises(NotFound):
            await line.queue.discard(UUID(int=404))

    async def test_the_figures_tell_how_the_line_looks(self, line: Line, clock: FrozenClock) -> None:
        await line.stores("dead", attempts=1)
        await line.queue.finish(await line.claims_one(), RetryIn(SECOND, "dead"))
        await line.stores("running")
        await line.claims_one()
        await line.stores("waiting")
        await line.message_comes("collecting")
        clock.advance(timedelta(seconds=5))

        assert await line.queue.stats() == inspection.QueueStats(waiting=2, running=1, dead=1, oldest_due_seconds=5)
