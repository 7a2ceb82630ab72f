"""Turns past their deadline get their one apology, and work without a job gets a new one."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TypeVar
from uuid import UUID

import pytest

from recado.conversation.errors import AgentFailed
from recado.conversation.ports import AgentResult, NotProcessed, Reply, TurnContext, Unknown
from recado.conversation.sending.splitting import split
from recado.conversation.upkeep.repository import STEP
from recado.conversation.upkeep.rescue import Rescue, RescueReport
from recado.core.clock import FrozenClock
from recado.core.database.postgres.database import PostgresDatabase
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.ids import UuidV7
from recado.core.queue.job import Claim, Done, Replayed
from tests.support.commits import all_listeners_called
from tests.world import ANA, BRUNO, DEADLINE, World

ON_BOTH_DATABASES = True

T = TypeVar("T")

FAILS = AgentFailed("no model")
APOLOGY = "Desculpe, estou indisponível no momento"
TOO_LATE = DEADLINE.total_seconds() + 1
WHY = "no answer before the deadline"


@pytest.fixture
def rescue(world: World) -> Rescue:
    return a_rescue(world)


def a_rescue(world: World) -> Rescue:
    return Rescue(world.database, world.clock, world.ids, split, 3)


async def clean(world: World) -> bool:
    return (await world.verify()).violations == []


async def reply_jobs(world: World) -> list[tuple[str, str | None, bool]]:
    """Return each reply job's status and error, and whether it is leased."""
    sql = "SELECT status, last_error, lease_token FROM message_queue WHERE name = 'conversation.reply' ORDER BY id"
    rows = await world.rows(sql)
    return [(row["status"], row["last_error"], row["lease_token"] is not None) for row in rows]


async def claimed(world: World) -> Claim:
    """Claim the one due job for a worker that does nothing yet."""
    [job] = await world.queue.claim(1, max_isolated=4)
    return job


class TestATurnPastItsDeadline:
    async def test_between_two_runs_gets_its_apology(self, world: World, rescue: Rescue) -> None:
        world.agents.will(FAILS)
        sid = await world.says("oi")
        world.advance(TOO_LATE)
        assert await rescue.run() == RescueReport(overdue_turns=1)
        assert await reply_jobs(world) == [("dead", WHY, False)]
        await world.work()
        assert (world.sent_texts(), await world.outcome_of(sid), await clean(world)) == ([APOLOGY], "apologised", True)

    @pytest.mark.sqlite_only
    async def test_is_found_behind_a_page_of_those_that_are_to_be_left_alone(
        self, world: World, rescue: Rescue
    ) -> None:
        """Jobs that wait to be isolated come first in every run, and must not hide the others."""
        people = [type(ANA)(f"whatsapp:+5511987{n:06}") for n in range(STEP + 1)]
        world.agents.will(*[FAILS] * len(people))
        for who in people:
            await world.receives("oi", who)
        world.advance(2)
        await world.work()
        await world.breaks("UPDATE message_queue SET crashes = 1 WHERE status = 'waiting'")
        world.agents.will(FAILS)
        await world.receives("oi", BRUNO)
        world.advance(1.7)
        await world.works_once()
        world.advance(TOO_LATE)

        assert await rescue.run() == RescueReport(overdue_turns=1)

    async def test_is_settled_in_one_transaction(self, world: World, rescue: Rescue) -> None:
        """Dead letter, fence, apology, its part and its send job: one commit."""
        world.agents.will(FAILS)
        await world.says("oi")
        world.advance(TOO_LATE)
        await all_listeners_called(world.database)
        commits: list[int] = []
        world.database.on_commit(lambda: commits.append(1))
        await rescue.run()
        await all_listeners_called(world.database)
        [counted] = await world.rows(
            """SELECT (SELECT count(*) FROM message_queue WHERE status = 'dead') AS dead,
                (SELECT count(*) FROM answers WHERE author = 'apology') AS apologies,
                (SELECT count(*) FROM answer_parts) AS parts,
                (SELECT count(*) FROM message_queue WHERE name = 'answer.send') AS sends"""
        )
        assert (len(commits), dict(counted)) == (1, {"dead": 1, "apologies": 1, "parts": 1, "sends": 1})

    async def test_that_still_runs_is_fenced_and_its_late_result_is_a_draft(self, world: World, rescue: Rescue) -> None:
        async def slow(turn: TurnContext) -> AgentResult:  # noqa: ARG001 - the port's name
            world.advance(TOO_LATE)
            assert await rescue.run() == RescueReport(overdue_turns=1)
            assert await reply_jobs(world) == [("dead", WHY, False)]
            return Reply("at last")

        world.agents.will(slow)
        sid = await world.says("oi")
        assert (world.sent_texts(), await world.outcome_of(sid)) == ([APOLOGY], "apologised")
        drafts = await world.rows("SELECT text, why FROM drafts")
        assert [tuple(row.values()) for row in drafts] == [("at last", "its worker had lost the lease")]
        assert await reply_jobs(world) == [("dead", WHY, False)]
        assert await clean(world)

    async def test_whose_late_run_fails_changes_nothing(self, world: World, rescue: Rescue) -> None:
        async def slow(turn: TurnContext) -> AgentResult:  # noqa: ARG001 - the port's name
            world.advance(TOO_LATE)
            await rescue.run()
            raise AgentFailed("too slow")

        world.agents.will(slow)
        sid = await world.says("oi")
        assert (world.sent_texts(), await world.outcome_of(sid)) == ([APOLOGY], "apologised")
        assert (await reply_jobs(world), await clean(world)) == ([("dead", WHY, False)], True)

    async def test_is_settled_once_however_often_it_runs(self, world: World, rescue: Rescue) -> None:
        world.agents.will(FAILS)
        await world.says("oi")
        world.advance(TOO_LATE)
        assert [await rescue.run() for _ in range(3)] == [RescueReport(overdue_turns=1), RescueReport(), RescueReport()]
        await world.passes(60)
        assert await rescue.run() == RescueReport()
        assert (world.sent_texts(), len(await world.dead())) == ([APOLOGY], 1)

    async def test_one_second_before_it_is_left_alone(self, world: World, rescue: Rescue) -> None:
        world.agents.will(FAILS)
        await world.receives("oi")
        world.advance(1.5)
        await world.works_once()
        world.advance(TOO_LATE - 1)
        assert await rescue.run() == RescueReport()
        await world.works_once()
        assert await reply_jobs(world) == [("dead", WHY, False)], "the claim sees the deadline by itself"

    async def test_gives_its_dead_letter_exactly_its_messages(self, world: World, rescue: Rescue) -> None:
        world.agents.will(FAILS)
        first = [await world.receives("oi"), await world.receives("alô")]
        await world.passes(1.6)
        later = await world.receives("ainda aí?")
        world.advance(TOO_LATE)
        await rescue.run()
        [letter] = await world.dead()
        listed = letter.payload["message_ids"]
        assert listed == [str((await world.message(sid)).id) for sid in first]
        await world.passes(2)
        assert await world.outcomes_of(*first, later) == ["apologised", "apologised", "answered"]
        assert await clean(world)

    async def test_that_a_person_holds_is_the_persons(self, world: World, rescue: Rescue) -> None:
        world.agents.will(FAILS)
        sid = await world.says("oi")
        await world.take()
        world.advance(TOO_LATE)
        await rescue.run()
        await world.passes(10)
        assert (world.sent_texts(), await world.outcome_of(sid)) == ([], "handed_off")
        assert await clean(world)

    async def test_is_the_only_one_that_is_touched(self, world: World, rescue: Rescue) -> None:
        world.agents.will(FAILS)
        late = await world.says("oi", ANA)
        world.advance(TOO_LATE - 60)
        world.agents.will(FAILS)
        young = await world.receives("olá", BRUNO)
        world.advance(1.5)
        [job] = [
            claim for claim in await world.queue.claim(2, max_isolated=4) if claim.job.lane == world.lane_of(BRUNO)
        ]
        await world.queue.finish(job, await world.replies.run(job))
        world.advance(60)
        assert await rescue.run() == RescueReport(overdue_turns=1)
        await world.lease_runs_out()
        await world.passes(10)
        assert await world.outcomes_of(late, young) == ["apologised", "answered"]


class TestTurnsThatAreLeftAlone:
    async def test_an_isolated_job_that_waits_is_left_alone(self, world: World, rescue: Rescue) -> None:
        """Its worker died, perhaps of another job: waiting for a process of its own costs it no time."""
        world.dies_at = "after_agent"
        sid = await world.says("oi")
        await world.lease_runs_out()
        world.advance(10 * TOO_LATE)
        assert await rescue.run() == RescueReport()
        await world.works_once()
        await world.work()
        assert (world.sent_texts(), await world.outcome_of(sid)) == (["echo: oi"], "answered")
        assert await clean(world)

    async def test_an_isolated_job_that_runs_keeps_its_own_limits(self, world: World, rescue: Rescue) -> None:
        """Its time is reckoned when its own process opens the turn, which may be seconds after the claim."""
        world.dies_at = "after_agent"
        sid = await world.says("oi")
        await world.lease_runs_out()

        async def slow(turn: TurnContext) -> AgentResult:  # noqa: ARG001 - the port's name
            world.advance(TOO_LATE)
            assert await rescue.run() == RescueReport()
            return Reply("at last")

        world.agents.will(slow)
        await world.work()
        assert (world.sent_texts(), await world.outcome_of(sid)) == (["at last"], "answered")

    async def test_a_turn_that_no_worker_has_claimed_is_no_turn_yet(self, world: World, rescue: Rescue) -> None:
        sid = await world.receives("oi")
        world.advance(TOO_LATE)
        assert await rescue.run() == RescueReport()
        await world.work()
        assert await world.outcome_of(sid) == "answered"

    async def test_a_replay_that_no_worker_has_claimed_keeps_its_time(self, world: World, rescue: Rescue) -> None:
        world.agents.will(FAILS, FAILS, FAILS)
        sid = await world.receives("oi")
        await world.passes(30)
        assert isinstance(await world.queue.retry((await world.dead())[0].id), Replayed)
        world.advance(TOO_LATE)
        assert await rescue.run() == RescueReport()
        await world.work()
        assert (world.sent_texts(), await world.outcome_of(sid)) == ([APOLOGY, "echo: oi"], "answered")

    async def test_a_release_that_no_worker_has_claimed_keeps_its_time(self, world: World, rescue: Rescue) -> None:
        await world.says("oi")
        conversation = await world.take()
        sid = await world.says("tem alguém?")
        await world.handoff.release(world.rita, conversation.id)
        world.advance(TOO_LATE)
        assert await rescue.run() == RescueReport()
        await world.work()
        assert await world.outcome_of(sid) == "answered"
        assert APOLOGY not in world.sent_texts()


class TestWorkWithoutAJob:
    async def test_a_message_gets_a_new_one(self, world: World, rescue: Rescue) -> None:
        sid = await world.receives("oi")
        await world.breaks("DELETE FROM message_queue")
        world.advance(61)
        assert await rescue.run() == RescueReport(lanes_without_job=1)
        assert await rescue.run() == RescueReport()
        await world.work()
        assert (world.sent_texts(), await world.outcome_of(sid)) == (["echo: oi"], "answered")
        assert await clean(world)

    async def test_a_turn_gets_a_new_one(self, world: World, rescue: Rescue) -> None:
        world.agents.will(FAILS)
        sid = await world.says("oi")
        await world.breaks("DELETE FROM message_queue")
        world.advance(61)
        assert await rescue.run() == RescueReport(lanes_without_job=1)
        await world.work()
        assert (world.sent_texts(), await world.outcome_of(sid), await clean(world)) == (
            ["echo: oi"],
            "answered",
            True,
        )

    async def test_a_turn_past_its_deadline_gets_one_that_apologises(self, world: World, rescue: Rescue) -> None:
        world.agents.will(FAILS)
        sid = await world.says("oi")
        await world.breaks("DELETE FROM message_queue")
        world.advance(TOO_LATE)
        assert await rescue.run() == RescueReport(lanes_without_job=1)
        await world.work()
        assert (world.sent_texts(), await world.outcome_of(sid), await clean(world)) == ([APOLOGY], "apologised", True)

    async def test_an_answer_gets_a_new_one(self, world: World, rescue: Rescue) -> None:
        world.channel.will(NotProcessed("20429", "later"))
        sid = await world.says("oi")
        await world.breaks("DELETE FROM message_queue WHERE name = 'answer.send'")
        world.advance(61)
        assert await rescue.run() == RescueReport(answers_without_job=1)
        await world.work()
        assert (world.sent_texts(), await world.outcome_of(sid), await clean(world)) == (
            ["echo: oi"],
            "answered",
            True,
        )

    async def test_an_answer_that_may_have_been_sent_is_looked_up_first(self, world: World, rescue: Rescue) -> None:
        world.channel.will(Unknown("reset", "the connection was reset"))
        await world.says("oi")
        await world.breaks("DELETE FROM message_queue WHERE name = 'answer.send'")
        world.advance(61)
        await rescue.run()
        await world.work()
        assert (world.channel.calls, world.channel.polls) == (1, 1)
        await world.passes(300)
        assert (world.channel.calls, world.sent_texts(), await clean(world)) == (2, ["echo: oi"], True)

    async def test_what_is_younger_than_a_minute_is_left_alone(self, world: World, rescue: Rescue) -> None:
        await world.receives("oi")
        await world.breaks("DELETE FROM message_queue")
        world.advance(60)
        assert await rescue.run() == RescueReport()

    async def test_gets_one_job_though_many_rescues_run_at_once(self, world: World) -> None:
        await world.receives("oi")
        await world.breaks("DELETE FROM message_queue")
        world.advance(61)

        reports = await asyncio.gather(*(a_rescue(world).run() for _ in range(4)))

        assert sum(report.lanes_without_job for report in reports) == 1
        assert await reply_jobs(world) == [("waiting", None, False)]

    async def test_a_lane_whose_row_is_gone_is_made_anew(self, world: World, rescue: Rescue) -> None:
        await world.receives("oi")
        await world.breaks("DELETE FROM message_queue")
        await world.breaks("DELETE FROM lanes")
        world.advance(61)

        assert await rescue.run() == RescueReport(lanes_without_job=1)

        await world.work()
        assert (world.sent_texts(), await clean(world)) == (["echo: oi"], True)

    async def test_many_lanes_are_mended_in_steps(self, world: World, rescue: Rescue) -> None:
        people = [type(ANA)(f"whatsapp:+5511987{n:06}") for n in range(120)]
        for who in people:
            await world.receives("oi", who)
        await world.breaks("DELETE FROM message_queue")
        world.advance(61)
        assert [(await rescue.run()).lanes_without_job for _ in range(2)] == [120, 0]
        assert await clean(world)


class TimedDatabase:
    """A PostgreSQL database that records after each read how long its statements might have taken."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database
        self.limits: list[str] = []
        self.url = database.url
        self.last_failure = database.last_failure
        self.write = database.write
        self.batched = database.batched
        self.write_from_thread = database.write_from_thread
        self.on_commit = database.on_commit
        self.close = database.close

    async def read(self, work: Callable[[UnitOfWork], T], *, owner: UUID | None) -> T:
        def look(uow: UnitOfWork) -> T:
            found = work(uow)
            [[limit]] = uow.execute_raw("SHOW statement_timeout")
            self.limits.append(str(limit))
            return found

        return await self._database.read(look, owner=owner)


class TestAReadOfEverythingThatWaits:
    @pytest.mark.sqlite_only
    async def test_may_take_minutes(self, postgres_database: PostgresDatabase, clock: FrozenClock, ids: UuidV7) -> None:
        """After an outage a million messages may wait. A read that is cut off finds nothing and begins again."""
        world = await World.open(postgres_database, clock, ids)
        database = TimedDatabase(postgres_database)
        assert await Rescue(database, world.clock, world.ids, split, 3).run() == RescueReport()
        assert database.limits == ["8s", "5min"]


class TestWhenAllIsWell:
    async def test_nothing_is_touched(self, world: World, rescue: Rescue) -> None:
        """Answered, collecting, waiting for a retry, running, unknown and held: none of it is overdue."""
        await world.says("answered")
        world.channel.will(Unknown("reset", "it was reset"))
        await world.says("unknown", BRUNO)
        clara, davi = type(ANA)("whatsapp:+5531987650001"), type(ANA)("whatsapp:+5531987650002")
        world.agents.will(AgentFailed("try again"))
        await world.receives("retried", clara)
        world.advance(1.5)
        job = await claimed(world)
        await world.queue.finish(job, await world.replies.run(job))
        await world.receives("collecting", davi)
        before = await everything(world)
        assert await rescue.run() == RescueReport()
        assert await everything(world) == before

    async def test_it_is_a_sweep_like_any_other(self, world: World, rescue: Rescue) -> None:
        await world.says("oi")
        for _ in range(20):
            await world.passes(30)
            assert await rescue.run() == RescueReport()
        assert world.sent_texts() == ["echo: oi"]


async def everything(world: World) -> Sequence[object]:
    """Return every row of every table that a run might change."""
    tables = ("message_queue", "lanes", "messages", "turns", "answers", "answer_parts", "attempts", "outcome_changes")
    return [[dict(row) for row in await world.rows(f"SELECT * FROM {table} ORDER BY 1")] for table in tables]


async def test_a_rescue_and_a_claim_race_for_one_turn_and_one_of_them_settles_it(world: World, rescue: Rescue) -> None:
    world.agents.will(FAILS)
    await world.says("oi")
    world.clock.advance(timedelta(seconds=TOO_LATE))
    job = await claimed(world)
    await rescue.run()
    assert await world.replies.run(job) == Done(recorded=True)
    await world.work()
    assert (world.sent_texts(), len(await world.dead()), await clean(world)) == ([APOLOGY], 1, True)
