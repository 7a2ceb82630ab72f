"""A person who takes over is never interrupted by the agent, and what is given back is answered."""

import pytest

from recado.conversation.errors import (
    AgentFailed,
    ConversationClosed,
    HeldByAgent,
    IllegalTransition,
    OptedOut,
    WindowClosed,
)
from recado.conversation.ports import AgentResult, HandOff, Refused, Reply, TurnContext
from recado.core.errors import InvalidInput, NotFound
from recado.core.queue.job import ReplayRefused
from tests.world import BRUNO, Taken, World

ON_BOTH_DATABASES = True

NOTICE = "Vou chamar uma pessoa da equipe para continuar esta conversa. Aguarde só um pouco, por favor."
FAILS = AgentFailed("no model", retryable=False)


async def clean(world: World) -> bool:
    return (await world.verify()).violations == []


async def given_a_conversation(world: World) -> None:
    """Return a conversation that a person has taken."""
    await world.says("oi")
    await world.take()


async def waiting_in_inbox(world: World) -> int:
    return len(await world.rows("SELECT id FROM inbox_items WHERE resolved_at IS NULL"))


class TestTheAgentHandsOver:
    async def test_the_customer_hears_of_it_and_a_person_has_it(self, world: World) -> None:
        world.agents.will(HandOff("wants a person"))
        sid = await world.says("quero uma pessoa")
        assert (world.sent_texts(), await world.outcome_of(sid)) == ([NOTICE], "handed_off")
        assert ((await world.conversation()).held_by, await waiting_in_inbox(world)) == ("nobody", 1)
        assert await clean(world)

    async def test_what_follows_waits_for_a_person_too(self, world: World) -> None:
        world.agents.will(HandOff("wants a person", "um momento"))
        sids = [await world.says("quero uma pessoa"), await world.says("alô?")]
        assert (world.sent_texts(), len(world.agents.turns)) == (["um momento"], 1)
        assert await world.outcomes_of(*sids) == ["handed_off", "handed_off"]

    async def test_a_dead_letter_that_a_person_has_is_not_replayed(self, world: World) -> None:
        async def taken_before_it_fails(turn: TurnContext) -> AgentResult:  # noqa: ARG001 - the port's name
            await world.take()
            raise FAILS

        world.agents.will(taken_before_it_fails)
        sid = await world.says("oi")
        await world.release()
        await world.handoff.take(world.rita, (await world.conversation()).id)
        assert isinstance(await world.queue.retry((await world.dead())[0].id), ReplayRefused)
        await world.work()
        assert (await world.outcome_of(sid), await clean(world)) == ("handed_off", True)


class TestTakingOver:
    async def test_while_the_agent_runs_its_result_becomes_a_draft(self, world: World) -> None:
        async def taken_meanwhile(turn: TurnContext) -> AgentResult:
            await world.take()
            return Reply(f"late: {turn.text}")

        world.agents.will(taken_meanwhile)
        sid = await world.says("oi")
        assert (world.sent_texts(), await world.outcome_of(sid)) == ([], "handed_off")
        assert [row["text"] for row in await world.rows("SELECT text FROM drafts")] == ["late: oi"]
        assert (await waiting_in_inbox(world), await clean(world)) == (1, True)

    async def test_before_the_send_stops_it(self, world: World) -> None:
        sid = await world.receives("oi")
        world.advance(2)
        await world.works_once()
        await world.take()
        await world.work()
        assert (world.sent_texts(), await world.outcome_of(sid)) == ([], "handed_off")
        assert await clean(world)

    async def test_during_the_send_is_too_late_to_stop_it(self, world: World) -> None:
        async def taken(_: Taken | None) -> None:
            await world.take()

        world.channel.meanwhile(taken)
        sid = await world.says("oi")
        assert (world.sent_texts(), await world.outcome_of(sid)) == (["echo: oi"], "answered")

    async def test_before_the_apology_stops_it_too(self, world: World) -> None:
        world.agents.will(FAILS)
        sid = await world.receives("oi")
        world.advance(2)
        await world.works_once()
        await world.take()
        await world.work()
        assert (world.sent_texts(), await world.outcome_of(sid)) == ([], "handed_off")
        assert await clean(world)

    async def test_twice_is_refused(self, world: World) -> None:
        await given_a_conversation(world)
        with pytest.raises(IllegalTransition, match="held by person cli:rita already"):
            await world.take()

    async def test_what_comes_then_is_in_the_inbox(self, world: World) -> None:
        await given_a_conversation(world)
        sid = await world.says("está aí?")
        assert (world.sent_texts(), await world.outcome_of(sid)) == (["echo: oi"], "handed_off")
        assert await waiting_in_inbox(world) == 1


class TestAPersonsReply:
    async def test_it_answers_all_that_waited(self, world: World) -> None:
        await given_a_conversation(world)
        sids = [await world.says("está aí?"), await world.says("alô?")]
        await world.person_says("bom dia!")
        await world.work()
        assert world.sent_texts() == ["echo: oi", "bom dia!"]
        assert await world.outcomes_of(*sids) == ["superseded", "answered"]
        assert (await waiting_in_inbox(world), await clean(world)) == (0, True)

    async def test_it_takes_the_conversation(self, world: World) -> None:
        await world.says("oi")
        await world.person_says("aqui é a Rita")
        assert (await world.conversation()).held_by == "person"

    async def test_without_taking_it_is_refused_while_the_agent_holds(self, world: World) -> None:
        await world.says("oi")
        conversation = await world.conversation()
        with pytest.raises(HeldByAgent, match="take it first"):
            await world.handoff.reply(world.rita, conversation.id, "oi, aqui é a Rita")
        assert ((await world.conversation()).held_by, world.sent_texts()) == ("agent", ["echo: oi"])

    async def test_nobody_has_to_be_asked_for_what_nobody_holds(self, world: World) -> None:
        world.agents.will(HandOff("wants a person"))
        await world.says("quero uma pessoa")
        await world.handoff.reply(world.rita, (await world.conversation()).id, "oi, aqui é a Rita")
        assert (await world.conversation()).holder_name == "cli:rita"

    async def test_it_is_refused_at_once_when_the_window_has_closed(self, world: World) -> None:
        await given_a_conversation(world)
        world.advance(24 * 3600)
        with pytest.raises(WindowClosed):
            await world.person_says("ainda está aí?")
        assert await world.rows("SELECT id FROM answers WHERE author = 'person'") == []

    async def test_it_is_refused_at_once_when_the_customer_opted_out(self, world: World) -> None:
        await given_a_conversation(world)
        await world.says("PARAR")
        with pytest.raises(OptedOut):
            await world.person_says("ainda está aí?")

    async def test_it_must_say_something(self, world: World) -> None:
        await given_a_conversation(world)
        with pytest.raises(InvalidInput, match="nothing to say"):
            await world.person_says("  ")

    async def test_it_may_not_be_without_end(self, world: World) -> None:
        await given_a_conversation(world)
        with pytest.raises(InvalidInput, match="20,001 characters"):
            await world.person_says("x" * 20_001)

    async def test_a_message_after_it_was_written_still_waits(self, world: World) -> None:
        await given_a_conversation(world)
        before = await world.says("está aí?")
        await world.person_says("sim!")
        world.advance(1)
        after = await world.receives("e o bolo?")
        (lane,) = {
            job["lane"] for job in await world.rows("SELECT lane FROM message_queue WHERE status = 'collecting'")
        }
        await world.breaks("UPDATE message_queue SET priority = 0 WHERE lane = :lane", lane=lane)
        await world.breaks("UPDATE lanes SET next_priority = 0 WHERE lane = :lane", lane=lane)
        world.advance(2)
        await world.work()
        assert await world.outcomes_of(before, after) == ["answered", "handed_off"]
        assert (await waiting_in_inbox(world), await clean(world)) == (1, True)

    async def test_one_that_cannot_be_sent_answers_nothing(self, world: World) -> None:
        await given_a_conversation(world)
        sid = await world.says("está aí?")
        world.channel.will(Refused("63016", "outside the window", "window_closed"))
        await world.person_says("sim!")
        await world.work()
        assert (await world.outcome_of(sid), await waiting_in_inbox(world)) == ("handed_off", 1)
        assert await clean(world)


class TestGivingBack:
    async def test_what_nobody_answered_is_answered_by_the_agent_in_one_turn(self, world: World) -> None:
        await given_a_conversation(world)
        sids = [await world.says("está aí?"), await world.says("alô?")]
        await world.release()
        await world.work()
        assert world.sent_texts() == ["echo: oi", "echo: está aí?\nalô?"]
        assert await world.outcomes_of(*sids) == ["superseded", "answered"]
        assert (await waiting_in_inbox(world), await clean(world)) == (0, True)

    async def test_there_is_no_turn_when_nothing_waits(self, world: World) -> None:
        await given_a_conversation(world)
        assert await world.release() is None

    async def test_what_a_person_answered_is_not_answered_again(self, world: World) -> None:
        await given_a_conversation(world)
        await world.says("está aí?")
        await world.person_says("sim!")
        await world.work()
        assert await world.release() is None

    async def test_a_reply_still_on_its_way_counts_as_an_answer(self, world: World) -> None:
        await given_a_conversation(world)
        await world.says("está aí?")
        await world.person_says("sim!")
        await world.release()
        await world.work()
        assert world.sent_texts() == ["echo: oi", "sim!"]
        assert await clean(world)

    async def test_taken_again_before_the_agent_ran_it_waits_for_a_person(self, world: World) -> None:
        await given_a_conversation(world)
        sid = await world.says("está aí?")
        await world.release()
        await world.take()
        await world.work()
        assert (await world.outcome_of(sid), await waiting_in_inbox(world)) == ("handed_off", 1)
        assert await clean(world)

    async def test_given_back_twice_in_a_row_it_is_answered_once(self, world: World) -> None:
        await given_a_conversation(world)
        sid = await world.says("está aí?")
        await world.release()
        await world.take()
        await world.release()
        await world.work()
        assert (world.sent_texts(), await world.outcome_of(sid)) == (["echo: oi", "echo: está aí?"], "answered")
        assert await clean(world)

    async def test_an_agent_that_fails_then_apologises(self, world: World) -> None:
        await given_a_conversation(world)
        sid = await world.says("está aí?")
        world.agents.will(FAILS)
        await world.release()
        await world.work()
        assert (await world.outcome_of(sid), await clean(world)) == ("apologised", True)


class TestClosing:
    async def test_the_next_message_opens_a_new_conversation_with_the_agent(self, world: World) -> None:
        await given_a_conversation(world)
        closed = await world.close()
        sid = await world.says("mais uma coisa")
        opened = await world.conversation()
        assert (closed.status, closed.closed_by, closed.closed_reason) == ("closed", "person", "closed")
        assert (opened.previous_id, opened.held_by, await world.outcome_of(sid)) == (closed.id, "agent", "answered")

    async def test_what_waited_for_a_person_is_answered_by_nobody(self, world: World) -> None:
        await given_a_conversation(world)
        sids = [await world.says("está aí?"), await world.says("alô?")]
        await world.close()
        assert await world.outcomes_of(*sids) == ["suppressed:discarded", "suppressed:discarded"]
        assert (await waiting_in_inbox(world), await clean(world)) == (0, True)
        changes = await world.rows("SELECT before, after, because FROM outcome_changes")
        assert {tuple(row.values()) for row in changes} == {("handed_off", "suppressed:discarded", "close")}

    async def test_what_the_agent_was_about_to_say_is_kept_as_a_draft(self, world: World) -> None:
        async def closed_meanwhile(turn: TurnContext) -> AgentResult:
            await world.close()
            return Reply(f"late: {turn.text}")

        world.agents.will(closed_meanwhile)
        sid = await world.says("oi")
        assert (world.sent_texts(), await world.outcome_of(sid)) == ([], "suppressed:discarded")
        assert [row["text"] for row in await world.rows("SELECT text FROM drafts")] == ["late: oi"]
        assert await clean(world)

    async def test_a_reply_on_its_way_still_answers_what_waited(self, world: World) -> None:
        await given_a_conversation(world)
        sid = await world.says("está aí?")
        await world.person_says("sim! até logo")
        await world.close()
        assert await world.outcome_of(sid) == "handed_off"
        await world.work()
        assert (await world.outcome_of(sid), await waiting_in_inbox(world)) == ("answered", 0)
        assert await clean(world)

    async def test_when_that_reply_cannot_be_sent_nobody_answers(self, world: World) -> None:
        await given_a_conversation(world)
        sid = await world.says("está aí?")
        world.channel.will(Refused("63016", "outside the window", "window_closed"))
        await world.person_says("sim! até logo")
        await world.close()
        await world.work()
        assert (await world.outcome_of(sid), await waiting_in_inbox(world)) == ("suppressed:discarded", 0)
        assert await clean(world)

    async def test_an_answer_that_the_taking_over_stopped_waits_in_no_closed_conversation(self, world: World) -> None:
        sid = await world.receives("oi")
        world.advance(2)
        await world.works_once()
        await world.take()
        await world.close()
        await world.work()
        assert (world.sent_texts(), await world.outcome_of(sid)) == ([], "suppressed:discarded")
        assert (await waiting_in_inbox(world), await clean(world)) == (0, True)

    async def test_an_answer_of_the_agents_that_is_being_sent_goes_on(self, world: World) -> None:
        sid = await world.receives("oi")
        world.advance(2)
        await world.works_once()
        await world.close()
        await world.work()
        assert (world.sent_texts(), await world.outcome_of(sid)) == (["echo: oi"], "answered")

    async def test_given_back_and_closed_before_the_agent_ran_it_is_answered_by_nobody(self, world: World) -> None:
        await given_a_conversation(world)
        sid = await world.says("está aí?")
        await world.release()
        await world.close()
        await world.work()
        assert (world.sent_texts(), await world.outcome_of(sid)) == (["echo: oi"], "suppressed:discarded")
        assert await clean(world)

    async def test_nothing_more_can_be_done_in_it(self, world: World) -> None:
        await given_a_conversation(world)
        id_ = (await world.close()).id
        for deed in (
            world.handoff.take(world.rita, id_),
            world.handoff.reply(world.rita, id_, "oi", take=True),
            world.handoff.release(world.rita, id_),
            world.handoff.close(world.rita, id_),
            world.handoff.assign(world.rita, id_, None),
        ):
            with pytest.raises(ConversationClosed):
                await deed

    async def test_a_reason_is_kept(self, world: World) -> None:
        await given_a_conversation(world)
        closed = await world.handoff.close(world.rita, (await world.conversation()).id, " spam\n from a bot ")
        assert closed.closed_reason == "spam from a bot"
        await world.says("oi", BRUNO)
        with pytest.raises(InvalidInput, match="at most 200 characters"):
            await world.handoff.close(world.rita, (await world.conversation(BRUNO)).id, "x" * 201)


class TestAssigning:
    async def test_a_user_looks_after_it_and_who_may_speak_stays(self, world: World) -> None:
        await world.says("oi")
        [user] = await world.users.users(world.owner_id)
        assigned = await world.handoff.assign(world.rita, (await world.conversation()).id, user.id)
        assert (assigned.assignee_id, assigned.held_by) == (user.id, "agent")
        assert await world.conversation() == assigned
        back = await world.handoff.assign(world.rita, assigned.id, None)
        assert (back.assignee_id, back.version) == (None, assigned.version + 1)

    async def test_a_user_of_nobody_is_unknown(self, world: World) -> None:
        await world.says("oi")
        with pytest.raises(NotFound, match="there is no user"):
            await world.handoff.assign(world.rita, (await world.conversation()).id, world.owner_id)

    async def test_a_user_who_was_disabled_gets_nothing(self, world: World) -> None:
        await world.says("oi")
        [user] = await world.users.users(world.owner_id)
        await world.breaks("UPDATE users SET active = false")
        with pytest.raises(InvalidInput, match="may not sign in"):
            await world.handoff.assign(world.rita, (await world.conversation()).id, user.id)


class TestNames:
    async def test_a_name_stands_at_each_deed(self, world: World) -> None:
        await given_a_conversation(world)
        await world.person_says("oi, aqui é a Rita")
        assert (await world.conversation()).holder_name == "cli:rita"
        await world.release()
        assert (await world.conversation()).holder_name is None
        await world.close()
        answers = await world.rows("SELECT author, author_name FROM answers ORDER BY id")
        assert [tuple(row.values()) for row in answers] == [("agent", None), ("person", "cli:rita")]
        events = await world.rows(
            "SELECT after, by_name FROM conversation_events WHERE by_name IS NOT NULL ORDER BY id"
        )
        assert [row["after"] for row in events] == ["person", "agent", "closed"]

    async def test_each_deed_leaves_a_line_in_the_audit(self, world: World) -> None:
        await given_a_conversation(world)
        await world.person_says("oi")
        await world.release()
        await world.handoff.assign(world.rita, (await world.conversation()).id, None)
        await world.close()
        entries = await world.rows(
            "SELECT actor_kind, actor_name, action, object_id FROM audit_entries"
            " WHERE object_kind = 'conversation' ORDER BY id"
        )
        assert [row["action"].partition(".")[2] for row in entries] == [
            "taken", "replied", "released", "assigned", "closed",
        ]  # fmt: skip
        id_ = str((await world.conversation()).id)
        assert {(*tuple(row.values())[:2], row["object_id"]) for row in entries} == {("operator", "cli:rita", id_)}

    async def test_what_is_refused_leaves_none(self, world: World) -> None:
        await given_a_conversation(world)
        with pytest.raises(IllegalTransition):
            await world.take()
        assert len(await world.rows("SELECT id FROM audit_entries WHERE object_kind = 'conversation'")) == 1
