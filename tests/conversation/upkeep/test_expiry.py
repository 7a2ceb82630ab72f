"""A silent conversation gets one nudge, becomes idle and is closed, unless somebody speaks at that very moment."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from itertools import count
from typing import TypeVar
from uuid import UUID

import pytest

from recado.channels.twilio.values import MessageSid
from recado.conversation.errors import AgentFailed
from recado.conversation.ports import HandOff, NoReply, NotProcessed, Refused, Reply, Unknown
from recado.conversation.sending.splitting import split
from recado.conversation.upkeep.expiry import IdleExpiry, IdleLimits
from recado.conversation.upkeep.repository import IDLE_QUERY
from recado.conversation.values import Address
from recado.core.database.engine import Database
from recado.core.database.unit_of_work import UnitOfWork
from tests.world import ANA, BRUNO, Taken, World

ON_BOTH_DATABASES = True

T = TypeVar("T")

IDLE = timedelta(minutes=15)
EXPIRE = timedelta(hours=24)
MOMENT = timedelta(microseconds=1)
NUDGE = "Ainda está por aí?"


@pytest.fixture
def expiry(world: World) -> IdleExpiry:
    return IdleExpiry(world.database, world.clock, world.ids, world.channels, split, IdleLimits(IDLE, EXPIRE))


class Between:
    """A database in which something happens after each read."""

    def __init__(self, database: Database, happening: Callable[[], Awaitable[object]]) -> None:
        self._database = database
        self._happening = happening
        self.url = database.url
        self.last_failure = database.last_failure
        self.write = database.write
        self.batched = database.batched
        self.write_from_thread = database.write_from_thread
        self.on_commit = database.on_commit
        self.close = database.close

    async def read(self, work: Callable[[UnitOfWork], T], *, owner: UUID | None) -> T:
        found = await self._database.read(work, owner=owner)
        await self._happening()
        return found


async def status(world: World, who: Address = ANA) -> str:
    return (await world.conversation(who)).status


async def silence(world: World, span: timedelta, who: Address = ANA) -> None:
    """Advance the clock until a conversation has been silent for so long."""
    until = (await world.conversation(who)).last_activity_at + span
    world.advance((until - world.clock.now()).total_seconds())


async def events(world: World) -> list[tuple[str, str, str | None]]:
    """Return every change of a status: what it became, by whom and why."""
    rows = await world.rows("SELECT after, \"by\", reason FROM conversation_events WHERE what = 'status' ORDER BY id")
    return [(row["after"], row["by"], row["reason"]) for row in rows]


async def clean(world: World) -> bool:
    return (await world.verify()).violations == []


class TestFallingIdle:
    async def test_happens_when_nobody_has_spoken_for_the_time(self, world: World, expiry: IdleExpiry) -> None:
        await world.says("oi")
        await silence(world, IDLE - MOMENT)
        assert (await expiry.mark_idle(), await status(world)) == (0, "open")
        world.clock.advance(MOMENT)
        assert (await expiry.mark_idle(), await expiry.mark_idle(), await status(world)) == (1, 0, "idle")
        assert await events(world) == [("idle", "system", None)]

    async def test_counts_from_the_answer_too(self, world: World, expiry: IdleExpiry) -> None:
        world.channel.will(NotProcessed("20429", "later"))
        await world.says("oi")
        sent_at = world.clock.now()
        await world.passes(30)
        assert (await world.conversation()).last_activity_at > sent_at
        await silence(world, IDLE)
        assert await expiry.mark_idle() == 1

    async def test_counts_each_part_that_arrived_though_the_rest_was_refused(
        self, world: World, expiry: IdleExpiry
    ) -> None:
        world.agents.will(Reply(("uma frase bem longa. " * 120).strip()))
        world.channel.will(NotProcessed("20429", "later"))
        await world.receives("oi")
        await world.passes(1.6)

        async def time_goes_by(_: Taken | None) -> None:
            world.advance(60)
            world.channel.will(Refused("63016", "no", "window_closed"))

        world.channel.meanwhile(time_goes_by)
        await world.passes(30)
        await silence(world, IDLE)
        assert (await expiry.mark_idle(), await status(world)) == (0, "open")
        world.advance(120)
        assert (await expiry.mark_idle(), await status(world)) == (1, "idle")

    async def test_counts_the_newest_message_though_an_older_one_was_found_after_it(
        self, world: World, expiry: IdleExpiry
    ) -> None:
        world.agents.will(NoReply())
        await world.receives("agora")
        found = await world.receives("antes")
        before = world.clock.now() - 2 * IDLE
        await world.breaks(
            "UPDATE messages SET received_at = :at WHERE id = :id", at=before, id=(await world.message(found)).id
        )
        await world.passes(2)
        assert (await expiry.mark_idle(), await status(world)) == (0, "open")

    async def test_a_later_message_revives_it(self, world: World, expiry: IdleExpiry) -> None:
        await world.says("oi")
        before = await world.conversation()
        await silence(world, IDLE)
        await expiry.mark_idle()
        sid = await world.says("voltei")
        assert (await world.conversation()).id == before.id
        assert (await status(world), await world.outcome_of(sid)) == ("open", "answered")
        assert await events(world) == [("idle", "system", None), ("open", "customer", None)]

    async def test_a_persons_message_revives_it_too(self, world: World, expiry: IdleExpiry) -> None:
        await world.says("oi")
        await silence(world, IDLE)
        await expiry.mark_idle()
        await world.person_says("posso ajudar?")
        assert await status(world) == "open"


class TestExpiring:
    async def test_closes_it_with_its_reason_in_the_history(self, world: World, expiry: IdleExpiry) -> None:
        await world.says("oi")
        await silence(world, IDLE)
        await expiry.mark_idle()
        await silence(world, EXPIRE - MOMENT)
        assert (await expiry.close_expired(), await status(world)) == (0, "idle")
        world.clock.advance(MOMENT)
        assert (await expiry.close_expired(), await expiry.close_expired()) == (1, 0)
        closed = await world.conversation()
        assert (closed.status, closed.closed_by, closed.closed_reason) == ("closed", "system", "expired")
        assert closed.closed_at == world.clock.now()
        assert await events(world) == [("idle", "system", None), ("closed", "system", "expired")]

    async def test_does_not_need_it_to_be_idle_first(self, world: World, expiry: IdleExpiry) -> None:
        await world.says("oi")
        await silence(world, EXPIRE)
        assert (await expiry.close_expired(), await status(world)) == (1, "closed")

    async def test_lets_the_next_message_open_a_new_one_linked_to_the_old(
        self, world: World, expiry: IdleExpiry
    ) -> None:
        await world.says("oi")
        await silence(world, EXPIRE)
        await expiry.close_expired()
        old = await world.conversation()
        sid = await world.says("olá de novo")
        new = await world.conversation()
        assert (new.status, new.previous_id, await world.outcome_of(sid)) == ("open", old.id, "answered")
        assert await clean(world)


class TestTheNudge:
    @pytest.fixture(autouse=True)
    async def owner(self, world: World) -> None:
        await world.given_owner(nudge_text=NUDGE)

    async def test_is_sent_once_for_a_stretch_of_silence(self, world: World, expiry: IdleExpiry) -> None:
        await world.says("oi")
        await silence(world, IDLE)
        for _ in range(3):
            await expiry.mark_idle()
            await world.passes(3600)
        assert world.sent_texts() == ["echo: oi", NUDGE]
        [row] = await world.rows("SELECT state, turn_id FROM answers WHERE author = 'notice'")
        assert (row["state"], row["turn_id"]) == ("accepted", None)
        assert await events(world) == [("idle", "system", "nudged")]
        assert await clean(world)

    async def test_is_sent_once_though_many_runs_go_on_at_once(self, world: World, expiry: IdleExpiry) -> None:
        await world.says("oi")
        await silence(world, IDLE)
        assert sorted(await asyncio.gather(*[expiry.mark_idle() for _ in range(6)])) == [0, 0, 0, 0, 0, 1]
        await world.passes(60)
        assert world.sent_texts() == ["echo: oi", NUDGE]

    async def test_comes_again_in_the_next_stretch(self, world: World, expiry: IdleExpiry) -> None:
        for _ in range(2):
            await world.says("oi")
            await silence(world, IDLE)
            await expiry.mark_idle()
            await world.passes(60)
        assert world.sent_texts() == ["echo: oi", NUDGE] * 2

    async def test_does_not_put_off_the_end(self, world: World, expiry: IdleExpiry) -> None:
        await world.says("oi")
        spoken = (await world.conversation()).last_activity_at
        await silence(world, IDLE)
        await expiry.mark_idle()
        await world.passes(60)
        assert (await world.conversation()).last_activity_at == spoken
        await silence(world, EXPIRE)
        assert (await expiry.close_expired(), await status(world)) == (1, "closed")

    async def test_is_awaited_before_the_end(self, world: World, expiry: IdleExpiry) -> None:
        await world.says("oi")
        await silence(world, IDLE)
        await expiry.mark_idle()
        world.channel.will(Unknown("reset", "it was reset"))
        await world.passes(1)
        world.clock.advance(EXPIRE)
        assert (await expiry.close_expired(), await status(world)) == (0, "idle")
        await world.passes(300)
        assert (await expiry.close_expired(), await status(world)) == (1, "closed")

    async def test_is_not_sent_to_who_has_written_meanwhile(self, world: World, expiry: IdleExpiry) -> None:
        await world.says("oi")
        await silence(world, IDLE)
        await expiry.mark_idle()
        await world.receives("ainda preciso de algo")
        await world.passes(60)
        assert world.sent_texts() == ["echo: oi", "echo: ainda preciso de algo"]
        [row] = await world.rows("SELECT state FROM answers WHERE author = 'notice'")
        assert (row["state"], await status(world), await clean(world)) == ("stopped", "open", True)

    async def test_is_not_sent_when_a_person_has_come(self, world: World, expiry: IdleExpiry) -> None:
        await world.says("oi")
        await silence(world, IDLE)
        await expiry.mark_idle()
        await world.take()
        await world.passes(60)
        assert world.sent_texts() == ["echo: oi"]

    async def test_is_not_for_who_wants_no_messages(self, world: World, expiry: IdleExpiry) -> None:
        await world.says("PARAR")
        await silence(world, IDLE)
        assert await expiry.mark_idle() == 1
        await world.passes(60)
        assert (world.sent_texts(), await status(world)) == ([], "idle")

    async def test_is_not_for_who_left_a_day_ago(self, world: World, expiry: IdleExpiry) -> None:
        """No worker was running: the conversations become idle without a nudge and are closed."""
        await world.says("oi")
        await silence(world, EXPIRE)
        assert (await expiry.mark_idle(), await expiry.close_expired()) == (1, 1)
        assert world.sent_texts() == ["echo: oi"]

    async def test_is_removed_by_an_empty_text(self, world: World, expiry: IdleExpiry) -> None:
        await world.given_owner(nudge_text="")
        await world.says("oi")
        await silence(world, IDLE)
        await expiry.mark_idle()
        await world.passes(60)
        assert world.sent_texts() == ["echo: oi"]


class TestALiveChat:
    """Run both, and return whether nothing changed although the last activity is a day old."""

    async def untouched(self, world: World, expiry: IdleExpiry) -> bool:
        world.clock.advance(EXPIRE)
        before = await status(world)
        return (await expiry.mark_idle(), await expiry.close_expired(), await status(world)) == (0, 0, before)

    async def test_with_a_message_that_waits_for_its_turn(self, world: World, expiry: IdleExpiry) -> None:
        await world.says("oi")
        await silence(world, EXPIRE)
        await world.receives("alguém?")
        assert (await expiry.mark_idle(), await expiry.close_expired()) == (0, 0)

    async def test_with_a_turn_that_is_tried_again(self, world: World, expiry: IdleExpiry) -> None:
        world.agents.will(AgentFailed("no model"))
        await world.receives("oi")
        world.advance(1.5)
        await world.works_once()
        assert await self.untouched(world, expiry)

    async def test_with_an_answer_on_its_way(self, world: World, expiry: IdleExpiry) -> None:
        await world.receives("oi")
        world.advance(1.5)
        await world.works_once()
        assert await self.untouched(world, expiry)

    async def test_with_an_answer_that_may_have_arrived(self, world: World, expiry: IdleExpiry) -> None:
        world.channel.will(Unknown("reset", "it was reset"))
        await world.says("oi")
        assert await self.untouched(world, expiry)

    async def test_with_a_turn_that_lost_its_job(self, world: World, expiry: IdleExpiry) -> None:
        world.agents.will(AgentFailed("no model"))
        await world.receives("oi")
        world.advance(1.5)
        await world.works_once()
        await world.breaks("DELETE FROM message_queue")
        assert await self.untouched(world, expiry)

    async def test_that_a_person_holds(self, world: World, expiry: IdleExpiry) -> None:
        await world.says("oi")
        await world.take()
        assert await self.untouched(world, expiry)

    async def test_that_waits_for_a_person(self, world: World, expiry: IdleExpiry) -> None:
        world.agents.will(HandOff("too hard"))
        await world.says("oi")
        assert await self.untouched(world, expiry)

    async def test_that_has_something_in_the_inbox(self, world: World, expiry: IdleExpiry) -> None:
        """The agent holds it, but a person still has to answer, and could not if it was closed."""
        world.agents.will(HandOff("too hard"))
        await world.says("oi")
        await world.breaks("UPDATE conversations SET held_by = 'agent'")
        assert await self.untouched(world, expiry)


class TestAMessageInThatInstant:
    async def test_that_is_stored_first_keeps_it_open(self, world: World, expiry: IdleExpiry) -> None:
        await world.says("oi")
        await silence(world, EXPIRE)
        sid = await world.receives("espere!")
        assert (await expiry.mark_idle(), await expiry.close_expired(), await status(world)) == (0, 0, "open")
        await world.passes(5)
        assert (await world.outcome_of(sid), await status(world)) == ("answered", "open")

    async def test_that_is_stored_after_it_was_closed_opens_the_next(self, world: World, expiry: IdleExpiry) -> None:
        await world.says("oi")
        await silence(world, EXPIRE)
        assert await expiry.close_expired() == 1
        sid = await world.says("espere!")
        assert (await world.outcome_of(sid), await status(world)) == ("answered", "open")

    async def test_is_answered_and_none_is_cut_whoever_is_faster(self, world: World, expiry: IdleExpiry) -> None:
        """Twelve customers write while twelve conversations end, at the same moment, through the same database."""
        people = [Address(f"whatsapp:+55119876{n:05}") for n in range(12)]
        for who in people:
            await world.receives("oi", who)
        await world.passes(10)
        world.clock.advance(EXPIRE)
        received = await asyncio.gather(
            *[world.receives("espere!", who) for who in people],
            *[expiry.close_expired() for _ in range(3)],
            expiry.mark_idle(),
        )
        closed = await world.rows("SELECT id FROM conversations WHERE status = 'closed'")
        live = await world.rows(
            """SELECT c.id FROM conversations c JOIN messages m ON m.conversation_id = c.id
                WHERE c.status = 'closed' AND m.outcome IS NULL"""
        )
        assert live == []
        await world.passes(10)
        sids = [each for each in received if isinstance(each, str)]
        assert await world.outcomes_of(*sids) == ["answered"] * 12
        opened = await world.rows("SELECT id FROM conversations")
        assert (len(opened), await clean(world)) == (12 + len(closed), True)

    async def test_that_comes_between_the_read_and_the_lock_wins(self, world: World) -> None:
        """When its page was read it was silent. By the time its lane is locked, it is not."""

        between = Between(world.database, lambda: world.receives("espere!"))
        expiry = IdleExpiry(between, world.clock, world.ids, world.channels, split, IdleLimits(IDLE, EXPIRE))
        await world.says("oi")
        await silence(world, EXPIRE)
        assert (await expiry.close_expired(), await status(world)) == (0, "open")


class TestManyOfThem:
    async def given(self, world: World, count: int) -> None:
        people = [Address(f"whatsapp:+55119876{n:05}") for n in range(count)]
        for who in people:
            await world.receives("oi", who)
        world.agents.will(*[NoReply() for _ in people])
        await world.passes(2)

    @pytest.fixture
    def expiry(self, world: World) -> IdleExpiry:
        return IdleExpiry(
            world.database, world.clock, world.ids, world.channels, split, IdleLimits(IDLE, EXPIRE), page=4
        )

    async def test_are_done_page_by_page(self, world: World, expiry: IdleExpiry) -> None:
        await self.given(world, 11)
        world.clock.advance(IDLE)
        assert await expiry.mark_idle() == 11
        world.clock.advance(EXPIRE)
        assert await expiry.close_expired() == 11

    async def test_are_not_held_up_by_one_that_fails(self, world: World) -> None:
        calls = count()

        def broken(whole: str) -> list[str]:
            if next(calls) == 3:
                raise RuntimeError("something about this one")
            return [whole]

        await world.given_owner(nudge_text=NUDGE)
        await self.given(world, 6)
        world.clock.advance(IDLE)
        assert (
            await IdleExpiry(
                world.database, world.clock, world.ids, world.channels, broken, IdleLimits(IDLE, EXPIRE)
            ).mark_idle()
            == 5
        )
        await world.passes(60)
        rows = await world.rows("SELECT state FROM answers WHERE author = 'notice'")
        assert [row["state"] for row in rows] == ["accepted"] * 5

    async def test_are_not_held_up_by_live_ones_in_front(self, world: World, expiry: IdleExpiry) -> None:
        await self.given(world, 9)
        world.clock.advance(EXPIRE)
        for n in range(4):
            await world.receives("espere!", Address(f"whatsapp:+55119876{n:05}"))
        assert await expiry.close_expired() == 5

    @pytest.mark.sqlite_only(reason="each database explains itself in its own words")
    async def test_are_found_by_an_index(self, world: World) -> None:
        """A run reads only the idle ones, however many conversations there are."""
        form = IDLE_QUERY.compiled("sqlite")
        values = {"status": "open", "since": world.clock.now(), "after": world.clock.now(), "after_id": world.owner_id}
        plan = await world.database.read(
            lambda uow: uow.execute_raw(f"EXPLAIN QUERY PLAN {form.sql}", *form.bind(values | {"most": 5})), owner=None
        )
        condition = "(status=? AND (last_activity_at,id)>(?,?) AND last_activity_at<?)"
        assert [row[-1] for row in plan] == [f"SEARCH conversations USING INDEX ix_conversations_quiet {condition}"]


class TestTheAgentsLastWord:
    BYE = Reply("Tchau!", closes=True)

    async def test_closes_it_when_it_has_arrived(self, world: World) -> None:
        world.agents.will(self.BYE)
        sid = await world.says("era só isso")
        closed = await world.conversation()
        assert (closed.status, closed.closed_by, closed.closed_reason) == ("closed", "agent", "finished")
        assert (world.sent_texts(), await world.outcome_of(sid), await clean(world)) == (["Tchau!"], "answered", True)

    async def test_is_not_the_last_if_the_customer_has_written_meanwhile(self, world: World) -> None:
        async def writes(_: Taken | None) -> None:
            await world.receives("ah, mais uma coisa")

        world.agents.will(self.BYE)
        world.channel.meanwhile(writes)
        await world.says("era só isso")
        await world.passes(10)
        assert ((await world.conversation()).previous_id, await status(world)) == (None, "open")
        assert world.sent_texts() == ["Tchau!", "echo: ah, mais uma coisa"]

    async def test_that_never_arrives_closes_nothing(self, world: World) -> None:
        world.agents.will(self.BYE)
        world.channel.will(Refused("63024", "no", "unreachable"))
        await world.says("era só isso")
        assert await status(world) == "open"

    async def test_that_turns_out_late_to_have_arrived_does_not_close_what_went_on(self, world: World) -> None:
        world.agents.will(self.BYE)
        world.channel.will(Unknown("reset", "x"), Unknown("reset", "x"))
        await world.says("era só isso")
        await world.passes(1000)
        await world.says("na verdade, não")
        [attempt, *_] = await world.rows("SELECT id FROM attempts ORDER BY id")
        taken = world.channel.taken[-1]
        message = replace(taken.message, attempt_id=world.uuid(attempt["id"]))
        late = Taken(message, MessageSid("SM" + "e" * 32), world.clock.now())
        await world.calls_back(late)
        assert await status(world) == "open"

    async def test_is_the_agents_to_say_and_no_words(self, world: World) -> None:
        """A closing word alone ends nothing."""
        for text in ("Obrigado! Mas ainda preciso de uma coisa", "Obrigado!", "tchau", "encerrar"):
            await world.says(text)
            assert await status(world) == "open"


async def test_two_customers_are_two_conversations(world: World, expiry: IdleExpiry) -> None:
    await world.says("oi", ANA)
    world.advance(600)
    await world.says("oi", BRUNO)
    await silence(world, IDLE, ANA)
    await expiry.mark_idle()
    assert (await status(world, ANA), await status(world, BRUNO)) == ("idle", "open")


class TestAClockThatWasAhead:
    async def test_does_not_keep_a_conversation_from_falling_silent(self, world: World, expiry: IdleExpiry) -> None:
        """What was said and sent in that hour counts from when the clock was right again."""
        world.clock.jump(timedelta(hours=1))
        await world.says("oi")
        world.clock.jump(timedelta(hours=-1))
        assert await expiry.mark_idle() == 0

        world.advance(IDLE.total_seconds())

        assert (await expiry.mark_idle(), await status(world)) == (1, "idle")
