"""From a burst of messages to the one answer, the one apology, or the replay of what failed."""

from datetime import timedelta

import pytest

from recado.conversation.errors import AgentFailed
from recado.conversation.ports import AgentResult, Reply, TurnContext
from recado.conversation.replying.accept import BurstWindow
from recado.core.clock import FrozenClock
from recado.core.database.engine import Database
from recado.core.ids import UuidV7
from recado.core.queue.job import Replayed, ReplayRefused, RetryIn
from tests.world import ANA, BRUNO, LEASE, World

ON_BOTH_DATABASES = True

FAILS = AgentFailed("no model")
APOLOGY = "Desculpe, estou indisponível no momento"


async def clean(world: World) -> bool:
    return (await world.verify()).violations == []


async def given_an_apology(world: World, text: str = "oi") -> str:
    """Receive a message whose three runs fail."""
    world.agents.will(FAILS, FAILS, FAILS)
    sid = await world.receives(text)
    await world.passes(30)
    return sid


async def replay(world: World, *, force: bool = False) -> Replayed | ReplayRefused:
    """Retry the oldest dead letter and run what is due."""
    result = await world.queue.retry((await world.dead())[0].id, force=force)
    await world.work()
    return result


class TestABurst:
    async def test_it_is_answered_once(self, world: World) -> None:
        sids = [await world.receives("oi"), await world.receives("tem pão?"), await world.receives("e café?")]
        await world.passes(2)
        assert world.sent_texts() == ["echo: oi\ntem pão?\ne café?"]
        assert await world.outcomes_of(*sids) == ["superseded", "superseded", "answered"]

    async def test_each_message_moves_the_window_on(self, world: World) -> None:
        for _ in range(3):
            await world.receives("oi")
            await world.passes(1.2)
        assert world.sent_texts() == []
        await world.passes(0.3)
        assert world.sent_texts() == ["echo: oi\noi\noi"]

    async def test_the_window_ends_however_fast_somebody_types(self, world: World) -> None:
        for _ in range(8):
            await world.receives("oi")
            await world.passes(1)
        assert len(world.sent_texts()) == 1

    async def test_two_customers_are_two_turns(self, world: World) -> None:
        await world.receives("oi", ANA)
        await world.receives("olá", BRUNO)
        await world.passes(2)
        assert (world.sent_texts(ANA), world.sent_texts(BRUNO)) == (["echo: oi"], ["echo: olá"])

    async def test_a_webhook_that_comes_twice_changes_nothing(self, world: World) -> None:
        sid = await world.says("oi")
        await world.receives("oi", sid=sid)
        await world.passes(10)
        assert world.sent_texts() == ["echo: oi"]


class TestTheHistory:
    @pytest.mark.parametrize("limit", [0, 1, 3, 30, 100])
    async def test_is_as_long_as_the_owner_wants_it(self, world: World, limit: int) -> None:
        for number in range(15):
            await world.says(f"oi {number}")
        world.agents.history = limit
        await world.says("e agora?")
        said = [text for number in range(15) for text in (f"oi {number}", f"echo: oi {number}")]
        assert [entry.text for entry in world.agents.turns[-1].history] == said[len(said) - min(limit, len(said)) :]


class TestAMessageDuringARun:
    async def test_it_joins_a_first_run_which_starts_again_without_a_new_attempt(self, world: World) -> None:
        sids = []

        async def interrupted(turn: TurnContext) -> AgentResult:
            sids.append(await world.receives("e tem café?"))
            world.advance(2)
            return Reply(f"too early: {turn.text}")

        world.agents.will(interrupted)
        sids.insert(0, await world.says("tem pão?"))
        assert world.sent_texts() == ["echo: tem pão?\ne tem café?"]
        assert await world.outcomes_of(*sids) == ["superseded", "answered"]
        assert [row["attempts"] for row in await world.rows("SELECT attempts FROM message_queue")] == [0, 0]
        assert await clean(world)

    async def test_its_own_window_is_waited_for(self, database: Database, clock: FrozenClock, ids: UuidV7) -> None:
        quick = BurstWindow(timedelta(milliseconds=20), timedelta(seconds=8))
        world = await World.open(database, clock, ids, quick)

        async def interrupted(turn: TurnContext) -> AgentResult:  # noqa: ARG001 - the port's name
            await world.receives("dois")
            world.calls_in(0.01, lambda: world.advance(0.02))
            return Reply("too early")

        world.agents.will(interrupted)
        await world.says("um")
        assert world.sent_texts() == ["echo: um\ndois"]

    async def test_a_third_message_is_the_next_turn(self, world: World) -> None:
        async def interrupted(turn: TurnContext) -> AgentResult:
            await world.receives(f"depois de {len(turn.messages)}")
            world.advance(2)
            return Reply(f"said: {turn.text}")

        world.agents.will(interrupted, interrupted)
        await world.says("um")
        assert world.sent_texts() == ["said: um\ndepois de 1", "echo: depois de 2"]
        assert await clean(world)

    async def test_in_a_retry_it_is_the_next_turn(self, world: World) -> None:
        async def interrupted(turn: TurnContext) -> AgentResult:
            await world.receives("dois")
            return Reply(f"said: {turn.text}")

        world.agents.will(FAILS, interrupted)
        await world.receives("um")
        await world.passes(10)
        assert world.sent_texts() == ["said: um", "echo: dois"]

    async def test_it_never_overtakes_a_retry_that_waits(self, world: World) -> None:
        world.agents.will(FAILS, FAILS)
        await world.says("um")
        await world.receives("dois")
        await world.passes(20)
        assert world.sent_texts() == ["echo: um", "echo: dois"]

    async def test_it_does_not_start_a_run_again_that_did_something(self, world: World) -> None:
        async def books_a_table(turn: TurnContext) -> AgentResult:
            await turn.effects.once("book", _booked)
            await world.receives("dois")
            world.advance(2)
            return Reply("reservado")

        world.agents.will(books_a_table)
        await world.says("um")
        assert world.sent_texts() == ["reservado", "echo: dois"]


class TestAnAgentThatFails:
    async def test_it_is_asked_again(self, world: World) -> None:
        world.agents.will(FAILS, FAILS)
        sid = await world.receives("oi")
        await world.passes(20)
        assert (world.sent_texts(), await world.outcome_of(sid)) == (["echo: oi"], "answered")

    async def test_three_failures_make_one_apology_and_a_dead_letter(self, world: World) -> None:
        sid = await given_an_apology(world)
        letters = await world.dead()
        assert (world.sent_texts(), await world.outcome_of(sid)) == ([APOLOGY], "apologised")
        assert [(letter.message_sid, letter.last_error) for letter in letters] == [(sid, "no model")]
        assert await clean(world)

    async def test_the_owners_own_words_are_used(self, world: World) -> None:
        await world.given_owner(apology_text="Volto já!")
        await given_an_apology(world)
        assert world.sent_texts() == ["Volto já!"]

    async def test_an_error_that_will_not_pass_is_not_tried_again(self, world: World) -> None:
        world.agents.will(AgentFailed("no such agent", retryable=False))
        sid = await world.says("oi")
        assert (len(world.agents.turns), await world.outcome_of(sid)) == (1, "apologised")

    async def test_a_second_apology_within_the_quiet_names_the_first(self, world: World) -> None:
        first = await given_an_apology(world)
        second = await given_an_apology(world, "e agora?")
        assert world.sent_texts() == [APOLOGY]
        assert await world.outcome_of(second) == "suppressed:already_apologised"
        assert (await world.message(second)).answered_by == (await world.message(first)).answered_by
        assert await clean(world)

    async def test_after_the_quiet_there_is_another_apology(self, world: World) -> None:
        await given_an_apology(world)
        await world.passes(600)
        sid = await given_an_apology(world)
        assert (world.sent_texts(), await world.outcome_of(sid)) == ([APOLOGY, APOLOGY], "apologised")

    async def test_what_comes_after_a_dead_letter_is_answered(self, world: World) -> None:
        await given_an_apology(world)
        await world.says("e agora?")
        assert world.sent_texts() == [APOLOGY, "echo: e agora?"]

    async def test_a_run_past_the_deadline_gets_an_apology_instead(self, world: World) -> None:
        async def slow(turn: TurnContext) -> AgentResult:  # noqa: ARG001 - the port's name
            world.advance(301)
            raise FAILS

        world.agents.will(slow)
        sid = await world.receives("oi")
        await world.passes(400)
        assert (world.sent_texts(), await world.outcome_of(sid)) == ([APOLOGY], "apologised")
        assert await clean(world)


class TestAWorkerThatDies:
    @pytest.mark.parametrize("point", ["after_claim", "after_agent", "after_commit", "before_send", "after_settle"])
    async def test_costs_one_lease_and_no_second_answer(self, world: World, point: str) -> None:
        world.dies_at = point
        sid = await world.says("oi")
        await world.lease_runs_out()
        await world.passes(300)
        assert (world.sent_texts(), await world.outcome_of(sid)) == (["echo: oi"], "answered")
        assert await clean(world)

    async def test_after_the_call_the_message_is_found_and_not_sent_again(self, world: World) -> None:
        world.dies_at = "after_send"
        sid = await world.says("oi")
        await world.lease_runs_out()
        await world.passes(10)
        assert (world.sent_texts(), await world.outcome_of(sid)) == (["echo: oi"], "answered")

    async def test_a_job_that_kills_every_worker_gets_an_apology(self, world: World) -> None:
        sid = await world.receives("veneno")
        for _ in range(10):
            world.dies_at = "after_agent"
            await world.passes(2)
            await world.lease_runs_out()
        await world.work()
        assert (world.sent_texts(), await world.outcome_of(sid)) == ([APOLOGY], "apologised")
        assert await clean(world)

    async def test_waiting_to_be_isolated_does_not_run_the_deadline(self, world: World) -> None:
        world.dies_at = "after_agent"
        sid = await world.says("oi")
        await world.lease_runs_out()
        world.advance(1000)
        await world.work()
        assert (world.sent_texts(), await world.outcome_of(sid)) == (["echo: oi"], "answered")

    async def test_a_result_under_a_lost_lease_is_a_draft(self, world: World) -> None:
        async def too_slow(turn: TurnContext) -> AgentResult:
            await world.lease_runs_out()
            return Reply(f"late: {turn.text}")

        world.agents.will(too_slow)
        sid = await world.says("oi")
        assert (world.sent_texts(), await world.outcome_of(sid)) == (["echo: oi"], "answered")
        assert [row["text"] for row in await world.rows("SELECT text FROM drafts")] == ["late: oi"]

    async def test_one_that_stood_still_leaves_the_agent_to_the_next_holder(self, world: World) -> None:
        """The worker does not know yet that its lease is over, and the row still has its token."""
        sid = await world.receives("oi")
        world.advance(2)
        [job] = await world.queue.claim(1, max_isolated=4)
        world.advance(LEASE.total_seconds())
        result = await world.queue.handler(job.job.name).run(job)
        assert (result, world.agents.turns) == (RetryIn(timedelta(), "its worker stood still", counts=False), [])
        await world.queue.finish(job, result)
        await world.work()
        assert (world.sent_texts(), await world.outcome_of(sid)) == (["echo: oi"], "answered")
        assert await world.rows("SELECT 1 FROM message_queue WHERE attempts > 0 OR crashes > 0") == []


class TestAReplay:
    async def test_it_answers_after_all(self, world: World) -> None:
        sid = await given_an_apology(world)
        assert isinstance(await replay(world), Replayed)
        assert (world.sent_texts(), await world.outcome_of(sid)) == ([APOLOGY, "echo: oi"], "answered")
        assert (await world.dead(), await clean(world)) == ([], True)

    async def test_it_goes_on_in_the_trace_of_the_dead_letter(self, world: World) -> None:
        await given_an_apology(world)
        [dead] = await world.dead()
        await world.database.write(
            lambda uow: uow.execute_raw("UPDATE message_queue SET trace = 'of the first'"), owner=None
        )
        assert isinstance(await world.queue.retry(dead.id, force=False), Replayed)
        rows = await world.rows("SELECT DISTINCT trace FROM message_queue WHERE name = 'conversation.reply'")
        assert [row["trace"] for row in rows] == ["of the first"]

    async def test_it_leaves_a_line_in_the_history(self, world: World) -> None:
        await given_an_apology(world)
        await replay(world)
        changes = await world.rows('SELECT "before", "after", because FROM outcome_changes')
        assert [tuple(change.values()) for change in changes] == [("apologised", "answered", "replay")]

    async def test_one_that_fails_again_makes_no_second_apology(self, world: World) -> None:
        sid = await given_an_apology(world)
        world.agents.will(FAILS, FAILS, FAILS)
        await replay(world)
        await world.passes(700)
        assert (world.sent_texts(), await world.outcome_of(sid)) == ([APOLOGY], "apologised")
        assert (len(await world.dead()), await clean(world)) == (1, True)

    async def test_its_deadline_begins_when_it_is_claimed(self, world: World) -> None:
        sid = await given_an_apology(world)
        await world.queue.retry((await world.dead())[0].id)
        world.advance(3600)
        await world.work()
        assert await world.outcome_of(sid) == "answered"

    async def test_it_is_refused_while_a_later_message_is_open(self, world: World) -> None:
        await given_an_apology(world)
        await world.receives("e agora?")
        assert "a later message of the same customer is being answered" in str(await replay(world))

    async def test_it_is_refused_after_a_later_answer_unless_forced(self, world: World) -> None:
        sid = await given_an_apology(world)
        await world.says("e agora?")
        assert "was answered" in str(await replay(world))
        assert isinstance(await replay(world, force=True), Replayed)
        assert await world.outcome_of(sid) == "answered"

    async def test_it_is_refused_while_a_person_holds_the_conversation(self, world: World) -> None:
        await given_an_apology(world)
        await world.take()
        assert "a person holds the conversation" in str(await replay(world, force=True))

    async def test_it_is_refused_after_the_window(self, world: World) -> None:
        await given_an_apology(world)
        world.advance(24 * 3600)
        assert "the time to answer it is over" in str(await replay(world, force=True))

    async def test_it_is_refused_while_the_apology_is_on_its_way(self, world: World) -> None:
        world.agents.will(AgentFailed("no such agent", retryable=False))
        await world.receives("oi")
        world.advance(2)
        await world.works_once()
        assert isinstance(await replay(world), ReplayRefused)
        assert await clean(world)

    async def test_the_same_dead_letter_is_not_replayed_twice(self, world: World) -> None:
        await given_an_apology(world)
        letter = (await world.dead())[0].id
        await world.queue.retry(letter)
        assert isinstance(await world.queue.retry(letter), ReplayRefused)

    async def test_a_newer_message_that_overtakes_it_stops_it_at_the_fence(self, world: World) -> None:
        async def answered_meanwhile(turn: TurnContext) -> AgentResult:
            await world.take()
            return Reply(f"late: {turn.text}")

        sid = await given_an_apology(world)
        world.agents.will(answered_meanwhile)
        await replay(world)
        assert (world.sent_texts(), await world.outcome_of(sid)) == ([APOLOGY], "handed_off")
        assert await clean(world)


class TestADiscard:
    async def test_a_dead_letter_leaves_the_list_and_the_outcome_stays(self, world: World) -> None:
        sid = await given_an_apology(world)
        await world.queue.discard((await world.dead())[0].id)
        assert (await world.dead(), await world.outcome_of(sid)) == ([], "apologised")
        assert await clean(world)

    async def test_a_waiting_job_takes_its_messages_along(self, world: World) -> None:
        sid = await world.receives("oi")
        (job,) = await world.rows("SELECT id FROM message_queue")
        await world.queue.discard(world.uuid(job["id"]))
        await world.passes(10)
        assert (world.sent_texts(), await world.outcome_of(sid)) == ([], "suppressed:discarded")
        assert await clean(world)


class TestWhoMustNotBeAnswered:
    async def test_stop_silences_and_start_lifts_it(self, world: World) -> None:
        stop = await world.says("PARAR")
        ignored = await world.says("oi?")
        start = await world.says("VOLTAR")
        assert await world.outcomes_of(stop, ignored, start) == ["suppressed:opt_out", "suppressed:opt_out", "answered"]
        assert world.sent_texts() == ["echo: VOLTAR"]

    async def test_what_twilio_has_answered_is_not_answered_again(self, world: World) -> None:
        sids = []
        for opt in ("STOP", "START", "HELP"):
            sids.append(await world.receives(opt, opt=opt))
            await world.passes(2)
        assert await world.outcomes_of(*sids) == ["suppressed:opt_out", "suppressed:no_reply", "suppressed:no_reply"]
        assert world.sent_texts() == []

    async def test_a_closed_account(self, world: World) -> None:
        sid = await world.receives("oi")
        await world.owners.close_account(world.operator)
        await world.passes(2)
        assert (world.agents.turns, await world.outcome_of(sid)) == ([], "suppressed:closed_account")

    async def test_a_reaction(self, world: World) -> None:
        sid = await world.receives("👍", kind="reaction")
        await world.passes(2)
        assert await world.outcome_of(sid) == "suppressed:no_reply"


async def _booked() -> str:
    return "mesa 4"
