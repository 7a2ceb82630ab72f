"""A person who takes over is never interrupted by the agent, and what is given back is answered."""

import pytest

from recado.conversation.errors import AgentFailed, IllegalTransition
from recado.conversation.ports import AgentResult, HandOff, Refused, Reply, TurnContext
from recado.core.errors import InvalidInput
from recado.core.queue.job import ReplayRefused
from tests.world import Taken, World

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
        await world.handoff.take(world.owner_id, (await world.conversation()).id)
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
        with pytest.raises(IllegalTransition, match="held by person already"):
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
