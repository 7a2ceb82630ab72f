"""The queue against a plain Python model of it: any order of jobs, claims, endings, crashes and clock jumps.

Three services stand for three processes over one database. Wake-ups are not part of it, for a claim without one and a
claim after two must be the same. The rules of the ledger decide whether a claim is right, not how the product finds it:
the model goes through every job there ever was.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from recado.core.clock import FrozenClock
from recado.core.errors import Conflict
from recado.core.ids import Ids, UuidV7
from recado.core.queue.job import (
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
from recado.core.queue.lane import HeldLanes, Lane, job_lane
from recado.core.queue.service import Finished, QueueService
from recado.core.queue.storage import enqueue
from recado.core.queue.storage.lanes import hold_for
from tests.chaos.models.inline import InlineDatabase
from tests.support.lanes import lane_named

T = TypeVar("T")

NOON = datetime(2026, 3, 14, 12, 0, tzinfo=UTC)
LEASE = timedelta(seconds=30)
QUIET, MOST = timedelta(seconds=1.5), timedelta(seconds=8)
OWNERS = (UUID(int=1), UUID(int=2), UUID(int=3))
LANES = tuple(lane_named(name) for name in ("ana", "bia", "caio", "davi"))
UNFINISHED = ("collecting", "waiting", "running")


class PastClock(FrozenClock):
    """One that can also go back, as hosts' clocks do."""

    def jumps_back(self, by: timedelta) -> None:
        self._now -= by


@dataclass(slots=True)
class Expected:
    """What a job should be."""

    id: UUID
    lane: Lane
    owner: UUID
    priority: int
    due: datetime
    window_end: datetime | None
    status: str
    max_attempts: int
    attempts: int = 0
    crashes: int = 0
    crashes_alone: int = 0
    settled: int = 0
    replayed: bool = False
    off_the_list: bool = False

    @property
    def give_up_reason(self) -> bool:
        return (
            self.attempts >= self.max_attempts or self.crashes_alone >= self.max_attempts or self.crashes >= MAX_CRASHES
        )


@dataclass(slots=True)
class Handling:
    """The one kind of job there is here: it settles what is given up, and starts it again when asked."""

    settled: Counter[UUID] = field(default_factory=Counter)
    born: list[tuple[UUID, StoredJob]] = field(default_factory=list)
    name: str = "work"
    time_limit: timedelta = timedelta(seconds=60)

    async def run(self, claim: Claim) -> JobResult:
        raise NotImplementedError("the model runs nothing")

    def exhausted(self, held: HeldLanes, job: StoredJob, error: str, now: datetime, ids: Ids) -> None:  # noqa: ARG002
        self.settled[job.id] += 1

    def replay(
        self, held: HeldLanes, job: StoredJob, *, force: bool, now: datetime, ids: Ids
    ) -> Replayed | ReplayRefused:
        if not force:
            return ReplayRefused(job.id, "only by force")
        if job.has_own_lane:
            new = NewJob(ids.new(), self.name, job.owner_id, now, now)
            enqueue.add_alone(held, [new])
        else:
            new = NewJob(ids.new(), self.name, job.owner_id, now, now, lane=job.lane, kind="reply")
            enqueue.add(held, [new])
        self.born.append((new.id, job))
        return Replayed(job.id, new.id)

    def discarded(self, held: HeldLanes, job: StoredJob, now: datetime, ids: Ids) -> str | None:  # noqa: ARG002
        return None


class Queue(RuleBasedStateMachine):
    """What may happen to a queue."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock = PastClock(NOON)
        self.database = InlineDatabase()
        self.ids = UuidV7(self.clock, random.Random(3).getrandbits)  # noqa: S311
        self.handling = Handling()
        chance = random.Random(5)  # noqa: S311
        self.services = [
            QueueService(self.database, self.clock, self.ids, chance, [self.handling], lease=LEASE) for _ in range(3)
        ]
        self.jobs: dict[UUID, Expected] = {}
        self.held: list[Claim] = []
        """What workers believe they hold; some of it was lost long ago."""
        self.tokens: dict[UUID, tuple[UUID, datetime]] = {}
        """Who really holds what, and until when."""

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    @property
    def queue(self) -> QueueService:
        """Whichever process it is this time."""
        return self.services[len(self.jobs) % 3]

    # --- Jobs come ----------------------------------------------------------------------------------------------------

    @rule(
        lane=st.sampled_from([*LANES, None]),
        owner=st.sampled_from(OWNERS),
        priority=st.sampled_from([1, 5, 9]),
        wait=st.sampled_from([0, 0, 1, 20]),
        tries=st.integers(1, 3),
    )
    def is_enqueued(self, lane: Lane | None, owner: UUID, priority: int, wait: int, tries: int) -> None:
        now = self.clock.now()
        due = now + timedelta(seconds=wait)
        owner = OWNERS[LANES.index(lane) % 3] if lane else owner
        job = NewJob(
            self.ids.new(),
            "work",
            owner,
            now,
            due,
            lane,
            "reply" if lane else "job",
            priority=priority,
            max_attempts=tries,
        )
        self.run(self.queue.enqueue([job]))
        self.expects(job, "waiting")

    def expects(self, job: NewJob, status: str) -> None:
        self.jobs[job.id] = Expected(
            job.id,
            job.in_lane,
            job.owner_id,
            job.priority,
            job.due_at,
            job.window_ends_at,
            status,
            job.max_attempts or 0,
        )

    @rule(lanes=st.sets(st.sampled_from(LANES), min_size=1), due_now=st.booleans())
    def messages_are_collected(self, lanes: set[Lane], due_now: bool) -> None:
        """One message each for some lanes, in one commit; a tapped button closes the window at once."""
        now = self.clock.now()
        new = [
            NewJob(
                self.ids.new(), "work", OWNERS[LANES.index(lane) % 3], now, now if due_now else now + QUIET, lane,
                kind="reply",
                window_ends_at=now if due_now else now + MOST, collecting=True,
            )
            for lane in sorted(lanes)
        ]  # fmt: skip
        at_once = frozenset(lanes) if due_now else frozenset[Lane]()
        self.run(
            self.database.write(lambda uow: enqueue.collect(hold_for(uow, new), new, due_at_once=at_once), owner=None)
        )
        for job in new:
            window = next((j for j in self.jobs.values() if j.lane == job.in_lane and j.status == "collecting"), None)
            if window is None:
                self.expects(job, "collecting")
            elif due_now:
                window.due = window.window_end = now
            else:
                assert window.window_end is not None
                window.due = min(job.due_at, window.window_end)
                # Its end is set once, and comes nearer when a clock was set back.
                window.window_end = min(window.window_end, now + MOST)

    # --- Workers ------------------------------------------------------------------------------------------------------

    @rule(limit=st.integers(1, 6), max_isolated=st.integers(0, 4), service=st.integers(0, 2))
    def is_claimed(self, limit: int, max_isolated: int, service: int) -> None:
        """With or without a wake-up, and from any process."""
        heads = self.claimable()
        claimed = self.run(self.services[service].claim(limit, max_isolated=max_isolated))
        given_up = [job for job in heads if self.status_of(job.id) == "dead"]
        taken = [self.jobs[claim.job.id] for claim in claimed] + given_up
        self.judge(heads, taken, [self.jobs[claim.job.id] for claim in claimed], limit, max_isolated)
        for expected in given_up:
            assert expected.give_up_reason
            expected.status, expected.settled = "dead", 1
        for claim in claimed:
            self.jobs[claim.job.id].status = "running"
            self.held.append(claim)
            self.tokens[claim.job.id] = (claim.token, self.clock.now() + LEASE)

    def claimable(self) -> list[Expected]:
        """The oldest unfinished job of each lane, if it is due and nothing of the lane runs."""
        heads: dict[Lane, Expected] = {}
        for job in sorted(self.jobs.values(), key=lambda job: job.id):
            if job.status in UNFINISHED:
                heads.setdefault(job.lane, job)
        busy = {job.lane for job in self.jobs.values() if job.status == "running"}
        return [job for job in heads.values() if job.due <= self.clock.now() and job.lane not in busy]

    def judge(
        self, heads: list[Expected], taken: list[Expected], order: list[Expected], limit: int, max_isolated: int
    ) -> None:
        assert all(job in heads for job in taken), "only heads of lanes that are due"
        assert not any(job.give_up_reason for job in order), "a used-up job is never started"
        wild = [job for job in heads if job.crashes]
        assert sum(job.crashes > 0 for job in taken) <= max_isolated, "more isolated jobs than asked for"
        possible = len(heads) - max(0, len(wild) - max_isolated)
        assert len(taken) == min(limit, possible), "what is due and fits is taken"
        assert [job.priority for job in order] == sorted(job.priority for job in order)
        left = [job.priority for job in heads if job not in taken and not job.crashes]
        if left and taken:
            assert min(left) >= max(job.priority for job in taken), "priority first"

    @precondition(lambda self: self.held)
    @rule(number=st.integers(0, 9), result=st.sampled_from(["done", "retry", "later", "discard"]))
    def a_worker_finishes(self, number: int, result: str) -> None:
        claim = self.held.pop(number % len(self.held))
        results: dict[str, JobResult] = {
            "done": Done(),
            "retry": RetryIn(timedelta(seconds=2), "it failed"),
            "later": RetryIn(timedelta(seconds=5), "not yet", counts=False),
            "discard": Discard("nobody wants it"),
        }
        mine = self.mine(claim)
        ended = self.run(self.queue.finish(claim, results[result]))
        assert ended == (Finished() if mine else LeaseLost())
        if mine:
            self.ends(self.jobs[claim.job.id], result)

    def ends(self, job: Expected, result: str) -> None:
        del self.tokens[job.id]
        if result in ("done", "discard"):
            job.status = {"done": "done", "discard": "discarded"}[result]
            return
        job.attempts += result == "retry"
        if result == "retry" and job.attempts >= job.max_attempts:
            job.status, job.settled = "dead", 1
        else:
            job.status = "waiting"
            job.due = self.clock.now() + timedelta(seconds=2 if result == "retry" else 5)

    def mine(self, claim: Claim) -> bool:
        return self.tokens.get(claim.job.id, (None,))[0] == claim.token

    @precondition(lambda self: self.held)
    @rule(number=st.integers(0, 9))
    def a_worker_gives_back(self, number: int) -> None:
        claim = self.held.pop(number % len(self.held))
        mine, job_id = self.mine(claim), claim.job.id
        self.run(self.queue.give_back(claim))
        if mine:
            del self.tokens[job_id]
            self.jobs[job_id].status, self.jobs[job_id].due = "waiting", self.clock.now()

    @precondition(lambda self: any(claim.job.isolated for claim in self.held))
    @rule()
    def an_isolated_job_kills_its_own_process(self) -> None:
        claim = next(claim for claim in self.held if claim.job.isolated)
        self.held.remove(claim)
        mine, before, job_id = self.mine(claim), self.clock.now(), claim.job.id
        self.run(self.queue.record_isolated_crash(claim, "signal 9"))
        if not mine:
            return
        del self.tokens[job_id]
        expected = self.jobs[job_id]
        expected.crashes_alone += 1
        if expected.crashes_alone >= expected.max_attempts:
            expected.status, expected.settled = "dead", 1
        else:
            expected.status, expected.due = "waiting", self.due_of(job_id)
            assert timedelta(seconds=1.6) <= expected.due - before <= timedelta(minutes=6)

    @rule(passes=st.integers(1, 2))
    def leases_end(self, passes: int) -> None:
        """Maintenance by any process; a second run finds nothing new."""
        now = self.clock.now()
        ended = [id_ for id_, (_, until) in self.tokens.items() if until < now]
        assert [self.run(self.queue.free_ended_leases()) for _ in range(passes)] == [len(ended), 0][:passes]
        for id_ in ended:
            _, until = self.tokens.pop(id_)
            job = self.jobs[id_]
            job.status, job.due, job.crashes = "waiting", until, job.crashes + 1

    @precondition(lambda self: self.claimable())
    @rule(times=st.integers(1, MAX_CRASHES))
    def everything_crashes_again_and_again(self, times: int) -> None:
        for _ in range(times):
            self.is_claimed(6, 4, 0)
            self.clock.advance(LEASE + timedelta(seconds=1))
            self.leases_end(1)

    # --- People -------------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.jobs)
    @rule(number=st.integers(0, 99))
    def a_person_discards(self, number: int) -> None:
        job = list(self.jobs.values())[number % len(self.jobs)]
        if job.status in ("running", "done", "discarded") or job.replayed:
            with pytest.raises(Conflict):
                self.run(self.queue.discard(job.id))
            return
        self.run(self.queue.discard(job.id))
        job.off_the_list = True
        job.status = "dead" if job.status == "dead" else "discarded"

    @precondition(lambda self: any(job.status == "dead" for job in self.jobs.values()))
    @rule(number=st.integers(0, 99), force=st.booleans())
    def a_person_retries(self, number: int, force: bool) -> None:
        dead = [job for job in self.jobs.values() if job.status == "dead"]
        job = dead[number % len(dead)]
        result = self.run(self.queue.retry(job.id, force=force))
        assert isinstance(result, Replayed) == (force and not job.replayed and not job.off_the_list)
        if isinstance(result, Replayed):
            job.replayed = True
            now = self.clock.now()
            lane = None if job.lane == job_lane(job.id) else job.lane
            self.expects(NewJob(result.by, "work", job.owner, now, now, lane), "waiting")

    @precondition(lambda self: any(job.status == "dead" for job in self.jobs.values()))
    @rule()
    def a_person_retries_all(self) -> None:
        for number in range(sum(job.status == "dead" for job in self.jobs.values())):
            self.a_person_retries(number, force=True)

    @rule(result=st.sampled_from(["done", "retry", "discard"]))
    def a_job_of_its_own_dies_and_is_retried(self, result: str) -> None:
        """Chance alone seldom gets that far: its retry ends too, unless others come first."""
        self.is_enqueued(None, OWNERS[0], 1, 0, 1)
        for ending in ("retry", result):
            newest = list(self.jobs)[-1]
            self.is_claimed(6, 4, 0)
            for number, claim in enumerate(self.held):
                if claim.job.id == newest and self.mine(claim):
                    self.a_worker_finishes(number, ending)
                    break
            if ending == "retry" and self.jobs[newest].status == "dead":
                self.a_person_retries_all()

    # --- Time ---------------------------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.5, 1.5, 2.5, 8, 31, 400]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(timedelta(seconds=seconds))

    @rule(seconds=st.sampled_from([0.001, 0.7, 3]))
    def the_clock_jumps_back(self, seconds: float) -> None:
        self.clock.jumps_back(timedelta(seconds=seconds))

    # --- What always holds --------------------------------------------------------------------------------------------

    @invariant()
    def the_rows_are_what_the_model_says(self) -> None:
        """Nothing is lost, nothing is doubled, nothing is changed by anything but its rule."""
        rows = self.database.rows(
            "SELECT id, status, attempts, crashes, crashes_alone, due_at, lease_token IS NOT NULL FROM message_queue"
        )
        found = {UUID(bytes=row[0]): row[1:] for row in rows}
        assert found == {
            job.id: (job.status, job.attempts, job.crashes, job.crashes_alone, micros(job.due), held(job))
            for job in self.jobs.values()
        }

    @invariant()
    def one_runs_and_one_collects_in_a_lane_at_most(self) -> None:
        for status in ("running", "collecting"):
            counted = Counter(job.lane for job in self.jobs.values() if job.status == status)
            assert max(counted.values(), default=0) <= 1

    @invariant()
    def what_was_given_up_was_settled_once(self) -> None:
        assert self.handling.settled == Counter({job.id: 1 for job in self.jobs.values() if job.settled})

    @invariant()
    def every_lane_points_at_its_head(self) -> None:
        """While a job of it runs, a lane has nothing due, whatever its head."""
        stored = self.database.rows("SELECT lane, head_job, next_due_at, next_priority, isolated FROM lanes")
        rows = [(Lane(UUID(bytes=lane)), *head) for lane, *head in stored]
        running = {job.lane for job in self.jobs.values() if job.status == "running"}
        assert [row for row in rows if row[0] in running and row[2] is not None] == []
        expected: dict[Lane, tuple[bytes, int, int, int]] = {}
        for job in sorted(self.jobs.values(), key=lambda job: job.id, reverse=True):
            if job.status in ("collecting", "waiting") and job.lane not in running:
                expected[job.lane] = (job.id.bytes, micros(job.due), job.priority, int(job.crashes > 0))
        assert {row[0]: row[1:] for row in rows if row[0] not in running and row[1] is not None} == expected
        kinds = self.database.rows("SELECT lane FROM lanes WHERE kind = 'job'")
        single = {Lane(UUID(bytes=lane)) for (lane,) in kinds}
        alive = {job.lane for job in self.jobs.values() if job.status in UNFINISHED and job.lane not in LANES}
        assert single == alive, "a lane made for one job goes with it"

    @invariant()
    def the_stats_are_right(self) -> None:
        stats = self.run(self.queue.stats())
        by_status = Counter(job.status for job in self.jobs.values())
        listed = [job for job in self.jobs.values() if job.status == "dead" and not job.replayed]
        listed = [job for job in listed if not job.off_the_list]
        assert (stats.waiting, stats.running) == (by_status["waiting"] + by_status["collecting"], by_status["running"])
        assert stats.dead == len(listed)
        assert {job.id for job in self.run(self.queue.dead())} == {job.id for job in listed}
        assert self.run(self.queue.unfinished()) == sum(by_status[status] for status in UNFINISHED)
        due = [job.due for job in self.claimable()]
        late = max(((self.clock.now() - each).total_seconds() for each in due), default=0.0)
        assert stats.oldest_due_seconds == pytest.approx(late)

    def teardown(self) -> None:
        self.run(self.database.close())
        self.runner.close()

    # --- Looking ------------------------------------------------------------------------------------------------------

    def status_of(self, id_: UUID) -> str:
        [(status,)] = self.database.rows("SELECT status FROM message_queue WHERE id = ?", id_.bytes)
        return str(status)

    def due_of(self, id_: UUID) -> datetime:
        [(due,)] = self.database.rows("SELECT due_at FROM message_queue WHERE id = ?", id_.bytes)
        return NOON + timedelta(microseconds=due - micros(NOON))


def micros(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def held(job: Expected) -> int:
    return int(job.status == "running")


QUICK = settings(
    max_examples=15,
    stateful_step_count=25,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)


def test_no_order_of_events_loses_doubles_or_overtakes_a_job() -> None:
    run_state_machine_as_test(Queue, settings=QUICK)


@pytest.mark.slow
def test_nor_do_two_thousand_longer_ones() -> None:
    run_state_machine_as_test(Queue, settings=settings(QUICK, max_examples=2_000, stateful_step_count=60))
