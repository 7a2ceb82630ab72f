"""Create calls may fail in every way; no answer is sent twice or lost without a trace."""

from datetime import timedelta

import pytest

from recado.conversation.errors import AgentFailed
from recado.conversation.ports import NotProcessed, Refused, Reply, Unknown
from recado.core.clock import FrozenClock
from recado.core.database.engine import Database
from recado.core.errors import Conflict
from recado.core.ids import UuidV7
from recado.core.queue.job import Replayed, ReplayRefused
from tests.world import ANA, BRUNO, Lost, Taken, World

ON_BOTH_DATABASES = True

GONE = Unknown("reset", "the connection was reset")
"""The result of a call that the provider never received, which the caller cannot know."""
LONG = " ".join(["Uma frase de tamanho médio."] * 80)
"""An answer of two parts."""
HALF_AN_HOUR = 1800


@pytest.fixture
async def world(database: Database, clock: FrozenClock, ids: UuidV7) -> World:
    return await World.open(database, clock, ids)


async def clean(world: World) -> bool:
    return (await world.verify()).violations == []


async def attempts(world: World) -> list[str]:
    return [row["state"] for row in await world.rows("SELECT state FROM attempts ORDER BY id")]


async def why_dead(world: World) -> list[str | None]:
    return [letter.last_error for letter in await world.dead()]


class TestAnUnknownSend:
    async def test_a_callback_settles_it(self, world: World) -> None:
        world.channel.will(Lost(listed=False))
        sid = await world.says("oi")
        assert await world.outcome_of(sid) is None
        await world.calls_back(world.channel.taken[0])
        await world.work()
        assert (await world.outcome_of(sid), world.channel.polls, await clean(world)) == ("answered", 0, True)

    async def test_the_list_settles_it(self, world: World) -> None:
        world.channel.will(Lost())
        sid = await world.says("oi")
        await world.passes(10)
        assert (world.sent_texts(), await world.outcome_of(sid)) == (["echo: oi"], "answered")
        assert (world.channel.polls, await clean(world)) == (1, True)

    async def test_absent_from_three_polls_it_is_sent_once_more(self, world: World) -> None:
        world.channel.will(GONE)
        sid = await world.says("oi")
        await world.passes(137)
        assert world.channel.calls == 1
        await world.passes(40)
        assert (world.channel.calls, await world.outcome_of(sid)) == (2, "answered")
        assert (await attempts(world), await clean(world)) == (["absent", "accepted"], True)

    async def test_a_lagging_list_is_no_proof(self, world: World) -> None:
        world.channel.will(Lost(listed=False))
        await world.says("oi")
        await world.passes(100)
        world.channel.taken[0].listed = True
        await world.passes(HALF_AN_HOUR)
        assert (world.sent_texts(), await clean(world)) == (["echo: oi"], True)

    async def test_an_incomplete_poll_proves_nothing_after_three_complete_ones(self, world: World) -> None:
        world.channel.will(GONE)
        await world.says("oi")
        await world.passes(120)
        assert world.channel.polls == 3
        world.channel.complete = False
        await world.passes(120)
        assert world.channel.calls == 1
        world.channel.complete = True
        await world.passes(60)
        assert (world.channel.calls, await clean(world)) == (2, True)

    async def test_a_poll_counts_from_when_it_was_made_however_long_its_worker_then_stood_still(
        self, world: World
    ) -> None:
        async def stands_still_after_the_third() -> None:
            if world.channel.polls == 3:
                world.advance(200)

        world.channel.will(GONE)
        world.channel.during_polls = stands_still_after_the_third
        await world.says("oi")
        await world.passes(400)
        assert (world.channel.polls, world.channel.calls, await clean(world)) == (4, 2, True)

    async def test_a_refusal_changes_nothing_of_what_has_arrived_meanwhile(self, world: World) -> None:
        """The first attempt was taken for lost. Its callback comes while the second one is refused."""
        world.channel.will(Lost(listed=False), Refused("63016", "outside the window", "window_closed"))
        sid = await world.says("oi")
        world.channel.meanwhile(lambda _: world.calls_back(world.channel.taken[0]))
        await world.passes(HALF_AN_HOUR)
        assert (world.sent_texts(), await world.outcome_of(sid)) == (["echo: oi"], "answered")
        assert (await attempts(world), await clean(world)) == (["accepted", "refused"], True)

    async def test_nor_does_a_poll_that_ends_the_waiting_for_the_second(self, world: World) -> None:
        world.channel.will(Lost(listed=False), GONE)
        sid = await world.says("oi")
        await world.passes(150)
        assert world.channel.calls == 2
        world.channel.complete, given_up_at = False, world.clock.now() + timedelta(seconds=590)

        async def the_first_is_reported_at_the_last_look() -> None:
            if world.clock.now() > given_up_at:
                await world.calls_back(world.channel.taken[0])

        world.channel.during_polls = the_first_is_reported_at_the_last_look
        await world.passes(HALF_AN_HOUR)
        assert (world.channel.calls, await world.outcome_of(sid), await clean(world)) == (2, "answered", True)
        assert await attempts(world) == ["accepted", "unconfirmed"]

    async def test_two_messages_for_a_part_that_was_proved_absent_are_a_violation(self, world: World) -> None:
        world.channel.will(Lost(listed=False))
        await world.says("oi")
        await world.passes(HALF_AN_HOUR)
        await world.calls_back(world.channel.taken[0])
        assert (world.channel.calls, await clean(world), (await world.verify()).resent) == (2, False, 0)

    async def test_absent_twice_it_is_left_unconfirmed(self, world: World) -> None:
        world.channel.will(GONE, GONE)
        sid = await world.says("oi")
        await world.passes(HALF_AN_HOUR)
        assert (world.channel.calls, await world.outcome_of(sid)) == (2, "suppressed:unconfirmed")
        assert (await why_dead(world), await clean(world)) == (["unconfirmed (reset): 0 of 1 parts sent"], True)

    async def test_who_prefers_delivery_gets_one_more(self, world: World) -> None:
        await world.given_owner(send_policy="prefer_delivery")
        world.channel.will(GONE, GONE)
        sid = await world.says("oi")
        await world.passes(HALF_AN_HOUR)
        assert (world.channel.calls, await world.outcome_of(sid)) == (3, "answered")

    async def test_who_prefers_delivery_is_not_sent_to_for_ever(self, world: World) -> None:
        await world.given_owner(send_policy="prefer_delivery")
        world.channel.will(*[GONE] * 5)
        sid = await world.says("oi")
        await world.passes(2 * HALF_AN_HOUR)
        assert (world.channel.calls, await world.outcome_of(sid)) == (3, "suppressed:unconfirmed")

    async def test_a_list_that_cannot_be_read_is_given_ten_minutes(self, world: World) -> None:
        world.channel.will(GONE)
        world.channel.complete = False
        sid = await world.says("oi")
        await world.passes(600)
        assert await world.outcome_of(sid) is None
        await world.passes(60)
        assert (world.channel.calls, await world.outcome_of(sid)) == (1, "suppressed:unconfirmed")
        assert await clean(world)

    async def test_it_never_stays_unknown_too_long(self, world: World) -> None:
        world.channel.will(GONE, GONE)
        world.channel.complete = False
        await world.says("oi")
        for _ in range(8):
            await world.passes(300)
            assert await clean(world)

    async def test_nothing_else_goes_to_that_customer_meanwhile(self, world: World) -> None:
        world.channel.will(Lost(listed=False))
        await world.says("oi")
        await world.says("e agora?")
        await world.says("olá", BRUNO)
        assert (world.sent_texts(ANA), world.sent_texts(BRUNO)) == (["echo: oi"], ["echo: olá"])
        await world.calls_back(world.channel.taken[0])
        await world.passes(6)
        assert world.sent_texts(ANA) == ["echo: oi", "echo: e agora?"]

    async def test_two_equal_texts_are_told_apart(self, world: World) -> None:
        first = await world.says("oi")
        world.channel.will(GONE)
        second = await world.says("oi")
        await world.passes(HALF_AN_HOUR)
        assert world.sent_texts() == ["echo: oi", "echo: oi"]
        assert await world.outcomes_of(first, second) == ["answered", "answered"]
        assert await clean(world)

    async def test_the_other_spelling_of_the_number_is_found_too(self, world: World) -> None:
        world.channel.will(Lost())
        await world.says("oi")
        taken = world.channel.taken[0]
        assert ANA in taken.message.to_address.spellings
        await world.passes(HALF_AN_HOUR)
        assert world.channel.calls == 1


class TestNewsThatComesLate:
    async def test_a_callback_before_the_creates_answer(self, world: World) -> None:
        async def first(taken: Taken | None) -> None:
            assert taken is not None
            await world.calls_back(taken, "delivered")

        world.channel.meanwhile(first)
        sid = await world.says("oi")
        assert (await world.outcome_of(sid), await attempts(world)) == ("answered", ["accepted"])
        rows = await world.rows("SELECT status FROM sent_messages")
        assert ([row["status"] for row in rows], await clean(world)) == (["delivered"], True)

    async def test_a_callback_before_an_answer_that_is_lost(self, world: World) -> None:
        async def first(taken: Taken | None) -> None:
            assert taken is not None
            await world.calls_back(taken)

        world.channel.will(Lost(listed=False))
        world.channel.meanwhile(first)
        sid = await world.says("oi")
        assert (await world.outcome_of(sid), await clean(world)) == ("answered", True)

    async def test_a_callback_after_it_was_left_unconfirmed(self, world: World) -> None:
        world.channel.will(Lost(listed=False), GONE)
        sid = await world.says("oi")
        await world.passes(HALF_AN_HOUR)
        assert await world.outcome_of(sid) == "suppressed:unconfirmed"
        await world.calls_back(world.channel.taken[0])
        changes = await world.rows('SELECT "after", because FROM outcome_changes')
        assert [tuple(change.values()) for change in changes] == [("answered", "late_sid")]
        assert (await world.outcome_of(sid), await clean(world)) == ("answered", True)

    async def test_a_callback_for_an_attempt_that_was_sent_again_is_seen_as_sent_twice(self, world: World) -> None:
        world.channel.will(Lost(listed=False))
        await world.says("oi")
        await world.passes(HALF_AN_HOUR)
        await world.calls_back(world.channel.taken[0])
        assert world.sent_texts() == ["echo: oi", "echo: oi"]
        assert [found.why.partition(":")[0] for found in (await world.verify()).violations] == ["sent_twice"]

    async def test_a_callback_for_the_first_frees_the_pair_for_the_second(self, world: World) -> None:
        world.channel.will(Lost(listed=False), GONE)
        sid = await world.says("oi")
        await world.passes(180)
        assert await attempts(world) == ["absent", "unknown"]
        await world.calls_back(world.channel.taken[0])
        await world.says("e agora?")
        assert (world.sent_texts(), await world.outcome_of(sid)) == (["echo: oi", "echo: e agora?"], "answered")
        world.advance(HALF_AN_HOUR)
        assert await clean(world)

    async def test_a_callback_takes_back_what_the_list_gave_to_another_attempt(self, world: World) -> None:
        world.channel.will(Lost(listed=False), GONE)
        sid = await world.says("oi")
        await world.passes(150)
        world.channel.taken[0].listed, world.channel.taken[0].at = True, world.clock.now()
        await world.passes(60)
        assert (await attempts(world), await world.outcome_of(sid)) == (["absent", "accepted"], "answered")
        await world.calls_back(world.channel.taken[0])
        await world.says("e agora?")
        assert world.sent_texts() == ["echo: oi", "echo: e agora?"]
        world.advance(HALF_AN_HOUR)
        assert await clean(world)

    async def test_a_failed_delivery_is_counted_and_changes_no_outcome(self, world: World) -> None:
        sid = await world.says("oi")
        await world.calls_back(world.channel.taken[0], "undelivered", error="63024")
        await world.calls_back(world.channel.taken[0], "sent")
        assert ((await world.verify()).undelivered, await world.outcome_of(sid)) == (1, "answered")


class TestWhatProvablyNeverGotIn:
    async def test_it_is_tried_again(self, world: World) -> None:
        world.channel.will(NotProcessed("20429", "too many requests"), NotProcessed("dns", "no such host"))
        sid = await world.says("oi")
        await world.passes(20)
        assert (world.sent_texts(), await world.outcome_of(sid)) == (["echo: oi"], "answered")
        assert await attempts(world) == ["retry", "retry", "accepted"]

    async def test_no_sooner_than_the_provider_asks(self, world: World) -> None:
        world.channel.will(NotProcessed("20429", "too many requests", retry_after=60))
        await world.says("oi")
        await world.passes(55)
        assert world.channel.calls == 1
        await world.passes(10)
        assert world.channel.calls == 2

    async def test_until_the_window_closes(self, world: World) -> None:
        world.channel.will(*[NotProcessed("20429", "too many requests", retry_after=4 * 3600)] * 9)
        sid = await world.says("oi")
        await world.passes(24 * 3600)
        assert await world.outcome_of(sid) == "suppressed:unreachable"
        assert (await why_dead(world), await clean(world)) == (["unreachable: 0 of 1 parts sent"], True)

    async def test_no_wait_that_is_asked_for_is_longer_than_six_hours_or_the_window(self, world: World) -> None:
        eleven_days = NotProcessed("20429", "too many requests", retry_after=999_999)
        world.channel.will(*[eleven_days] * 5)
        sid = await world.says("oi")
        await world.passes(6 * 3600)
        assert world.channel.calls == 2
        await world.passes(18 * 3600 - 2)
        assert await world.outcome_of(sid) == "suppressed:unreachable"

    async def test_a_pause_by_a_clock_that_was_ahead_is_over_when_the_clock_is_right(self, world: World) -> None:
        await world.says("bom dia", BRUNO)
        world.channel.will(NotProcessed("63038", "daily limit", retry_after=300, pause_account=True))
        world.advance(3 * 3600)
        await world.says("oi")
        world.advance(-3 * 3600)
        await world.says("olá", BRUNO)
        assert world.sent_texts(BRUNO) == ["echo: bom dia", "echo: olá"]

    async def test_a_paused_account_waits_with_every_customer(self, world: World) -> None:
        world.channel.will(NotProcessed("63038", "daily limit", retry_after=300, pause_account=True))
        await world.says("oi")
        await world.says("olá", BRUNO)
        assert (world.channel.calls, (await world.verify()).paused_accounts) == (1, 1)
        await world.passes(400)
        assert (world.sent_texts(ANA), world.sent_texts(BRUNO)) == (["echo: oi"], ["echo: olá"])


class TestARefusal:
    @pytest.mark.parametrize(
        ("refused", "outcome", "letters"),
        [
            (Refused("63024", "invalid recipient", "unreachable"), "suppressed:unreachable", 1),
            (Refused("63016", "outside the window", "window_closed"), "suppressed:window_closed", 0),
            (Refused("21610", "unsubscribed", "opt_out"), "suppressed:opt_out", 0),
        ],
    )
    async def test_it_is_final(self, world: World, refused: Refused, outcome: str, letters: int) -> None:
        world.channel.will(refused)
        sid = await world.says("oi")
        await world.passes(HALF_AN_HOUR)
        assert (world.channel.calls, await world.outcome_of(sid)) == (1, outcome)
        assert (len(await world.dead()), await clean(world)) == (letters, True)

    async def test_an_opt_out_is_remembered(self, world: World) -> None:
        world.channel.will(Refused("21610", "unsubscribed", "opt_out"))
        await world.says("oi")
        sid = await world.says("alô?")
        assert (world.channel.calls, await world.outcome_of(sid)) == (1, "suppressed:opt_out")

    async def test_an_apology_that_is_refused_apologises_to_nobody(self, world: World) -> None:
        world.agents.will(AgentFailed("no model", retryable=False))
        world.channel.will(Refused("63024", "invalid recipient", "unreachable"))
        sid = await world.says("oi")
        assert (await world.outcome_of(sid), await clean(world)) == ("suppressed:unreachable", True)


class TestAnAnswerOfSeveralParts:
    async def test_they_arrive_in_order(self, world: World) -> None:
        world.agents.will(Reply(LONG))
        sid = await world.says("conte tudo")
        assert (len(world.sent_texts()), " ".join(world.sent_texts())) == (2, LONG)
        assert (await world.outcome_of(sid), await clean(world)) == ("answered", True)

    async def test_refused_midway_the_dead_letter_shows_what_arrived(self, world: World) -> None:
        async def nothing(_: Taken | None) -> None:
            world.channel.will(Refused("63024", "invalid recipient", "unreachable"))

        world.channel.meanwhile(nothing)
        world.agents.will(Reply(LONG))
        sid = await world.says("conte tudo")
        assert (len(world.sent_texts()), await world.outcome_of(sid)) == (1, "suppressed:unreachable")
        assert await why_dead(world) == ["unreachable (63024): 1 of 2 parts sent"]
        assert await clean(world)

    async def test_a_retry_sends_only_the_missing_part(self, world: World) -> None:
        await self.test_refused_midway_the_dead_letter_shows_what_arrived(world)
        assert isinstance(await world.queue.retry((await world.dead())[0].id), Replayed)
        await world.work()
        assert (" ".join(world.sent_texts()), await clean(world)) == (LONG, True)
        assert [row["outcome"] for row in await world.rows("SELECT outcome FROM messages")] == ["answered"]

    async def test_a_take_over_between_parts_stops_the_rest(self, world: World) -> None:
        async def taken_over(_: Taken | None) -> None:
            await world.take()

        world.channel.meanwhile(taken_over)
        world.agents.will(Reply(LONG))
        sid = await world.says("conte tudo")
        assert (len(world.sent_texts()), await world.outcome_of(sid)) == (1, "handed_off")
        assert await clean(world)

    async def test_an_opt_out_between_parts_stops_the_rest(self, world: World) -> None:
        async def opted_out(_: Taken | None) -> None:
            await world.breaks("UPDATE contacts SET opted_out_at = created_at")

        world.channel.meanwhile(opted_out)
        world.agents.will(Reply(LONG))
        sid = await world.says("conte tudo")
        assert (len(world.sent_texts()), await world.outcome_of(sid)) == (1, "suppressed:opt_out")
        assert await why_dead(world) == ["opt_out: 1 of 2 parts sent"]

    async def test_an_unknown_first_part_holds_the_second(self, world: World) -> None:
        world.channel.will(Lost())
        world.agents.will(Reply(LONG))
        await world.says("conte tudo")
        assert world.channel.calls == 1
        await world.passes(10)
        assert (" ".join(world.sent_texts()), await clean(world)) == (LONG, True)


class TestWhatAPersonMayDo:
    async def test_an_unconfirmed_answer_can_be_sent_again(self, world: World) -> None:
        world.channel.will(GONE, GONE)
        sid = await world.says("oi")
        await world.passes(HALF_AN_HOUR)
        assert isinstance(await world.queue.retry((await world.dead())[0].id), Replayed)
        await world.work()
        assert (world.sent_texts(), await world.outcome_of(sid)) == (["echo: oi"], "answered")
        assert (await world.dead(), await clean(world)) == ([], True)

    async def test_an_answer_whose_messages_another_turn_has_taken_is_not_sent_again(self, world: World) -> None:
        world.channel.will(GONE, GONE)
        await world.says("oi")
        await world.passes(HALF_AN_HOUR)
        await world.breaks("UPDATE messages SET turn_id = NULL")
        refused = await world.queue.retry((await world.dead())[0].id)
        assert isinstance(refused, ReplayRefused)
        assert refused.why == "its messages belong to a newer turn"

    async def test_a_send_that_may_have_gone_out_is_not_discarded(self, world: World) -> None:
        world.channel.will(GONE)
        await world.says("oi")
        (job,) = await world.rows("SELECT id FROM message_queue WHERE status = 'waiting'")
        with pytest.raises(Conflict, match="may have been sent"):
            await world.queue.discard(world.uuid(job["id"]))

    async def test_a_send_that_surely_has_not_can_be(self, world: World) -> None:
        world.channel.will(NotProcessed("dns", "no such host"))
        sid = await world.says("oi")
        (job,) = await world.rows("SELECT id FROM message_queue WHERE status = 'waiting'")
        await world.queue.discard(world.uuid(job["id"]))
        await world.passes(HALF_AN_HOUR)
        assert (world.sent_texts(), await world.outcome_of(sid)) == ([], "suppressed:discarded")
        assert await clean(world)


class TestAWorkerThatDiesInASend:
    async def test_every_time_it_is_left_unconfirmed(self, world: World) -> None:
        sid = await world.says("oi", BRUNO)
        world.channel.taken.clear()
        sid = await world.receives("oi")
        world.advance(2)
        await world.works_once()
        for _ in range(10):
            world.dies_at = "before_send"
            await world.passes(200)
            await world.lease_runs_out()
        world.dies_at = None
        await world.passes(HALF_AN_HOUR)
        assert await world.outcome_of(sid) == "suppressed:unconfirmed"
        assert (world.sent_texts(), await clean(world)) == ([], True)
