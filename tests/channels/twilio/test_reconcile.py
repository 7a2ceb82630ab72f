"""What Twilio received and could not deliver to us is found in its list: once, in time, and never answered twice."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select

from recado.channels.directory import Directory
from recado.channels.tables import channel_addresses
from recado.channels.twilio.accounts import NewNumber
from recado.channels.twilio.models import TwilioCredentials
from recado.channels.twilio.reconcile import MAX_PAGES, GapSweep, SweepReport
from recado.channels.twilio.removal import NumberRemoval
from recado.channels.twilio.sending.client import MessageRecord, MessagesPage, TwilioApi
from recado.channels.twilio.sending.transport import CallProblem, Declined, NeverSent, Transport, Uncertain
from recado.channels.twilio.tokens import TwilioTokens
from recado.channels.twilio.values import PROVIDER, MessageSid
from recado.conversation.replying.accept import Accepted, AcceptService, Duplicate, InboundMessage
from recado.conversation.values import Address
from recado.core.clock import FrozenClock
from recado.core.database.engine import Database
from recado.core.ids import UuidV7
from recado.identity.owners import Registration
from recado.identity.principal import Principal, operator_of
from tests.support.keys import KEY_RING
from tests.world import ACCOUNT, ANA, BRUNO, OURS, World

ON_BOTH_DATABASES = True

MINUTE = timedelta(minutes=1)
PROBLEMS: Sequence[CallProblem] = (
    NeverSent("connect_failed", "refused"),
    Declined(500, None, "", None),
    Declined(429, "20429", "too many", 1.0),
    Declined(401, "20003", "authenticate", None),
    Uncertain("read_timeout", "TimeoutError"),
)


class ListedMessages(TwilioApi):
    """Twilio's list of messages, at the one call that the sweep makes; pages are numbered in `next_url`."""

    def __init__(self) -> None:
        super().__init__(Transport("http://127.0.0.1:9"))
        self.records: list[MessageRecord] = []
        self.page_size = 50
        self.problems: dict[int, CallProblem] = {}
        """What reading a page ends in, by the page's number."""
        self.asked: list[tuple[str, datetime | None]] = []
        self.meanwhile: Callable[[], Awaitable[object]] | None = None
        """What happens while a page is read."""

    async def list_messages(
        self,
        credentials: TwilioCredentials,
        *,
        to: str,
        sent_after: datetime | None = None,
        next_url: str | None = None,
        page_size: int = 1_000,  # noqa: ARG002 - the real one's signature
    ) -> MessagesPage | CallProblem:
        assert credentials.auth_token == "token"
        self.asked.append((to, sent_after))
        if self.meanwhile is not None:
            await self.meanwhile()
        number = int(next_url or 0)
        if number in self.problems:
            return self.problems[number]
        found = [record for record in reversed(self.records) if record.to_address == to]
        start, end = number * self.page_size, (number + 1) * self.page_size
        return MessagesPage(tuple(found[start:end]), 0, str(number + 1) if end < len(found) else None)


class Gaps:
    """The world with a sweep beside it, and the list that it reads."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.twilio = ListedMessages()
        self.directory = Directory(world.database, world.clock, KEY_RING)
        self.tokens = TwilioTokens(self.directory, world.database, KEY_RING, world.clock)
        self.sweep = GapSweep(
            self.directory, self.tokens, self.twilio, world.acceptance, world.database, world.clock, world.ids
        ).sweep
        self._count = 0

    def misses(self, text: str = "oi", *, ago: timedelta = 5 * MINUTE, sender: Address = ANA) -> str:
        """Twilio received this, and its webhook never reached us."""
        self._count += 1
        sid = f"SM{0xFEED0000 + self._count:032x}"
        record = MessageRecord(
            ACCOUNT,
            MessageSid(sid),
            "inbound",
            sender.value,
            OURS.value,
            text,
            self.world.clock.now() - ago,
            "received",
            None,
        )
        self.twilio.records.append(record)
        return sid

    async def first_webhook(self) -> None:
        address = await self.directory.lookup(OURS.value)
        assert address is not None
        await self.directory.mark_webhook(address)

    async def webhook(self, sid: str, text: str = "oi", raw: bytes = b"Body=oi") -> Accepted | Duplicate:
        world = self.world
        inbound = InboundMessage(
            id=world.ids.new(),
            owner_id=world.owner_id,
            address_id=world.address_id,
            lane=world.lane_of(ANA),
            provider=PROVIDER,
            account_ref=ACCOUNT.value,
            provider_message_id=sid,
            from_address=ANA,
            to_address=OURS,
            text=text,
            kind="text",
            received_at=world.clock.now(),
            raw=raw,
        )
        return await world.acceptance.accept(inbound)

    async def stored(self) -> list[tuple[str, str, bytes]]:
        """Every message: its text, where it came from, its raw form."""
        rows = await self.world.rows("SELECT text, source, raw FROM messages ORDER BY id")
        return [(row["text"], row["source"], row["raw"]) for row in rows]

    async def texts(self) -> list[str]:
        return [text for text, _, _ in await self.stored()]


@pytest.fixture
async def world(database: Database, clock: FrozenClock, ids: UuidV7) -> World:
    return await World.open(database, clock, ids)


@pytest.fixture
async def gaps(world: World) -> Gaps:
    """A number whose first webhook came two days ago."""
    gaps = Gaps(world)
    await gaps.first_webhook()
    world.clock.advance(timedelta(days=2))
    return gaps


@pytest.fixture
async def livraria(world: World) -> Principal:
    """Another owner, with the same account."""
    form = Registration("Livraria", "dona@livraria.example", "capítulo novo às oito")
    return operator_of((await world.owners.register_organization(form)).owner_id, "test")


async def clean(world: World) -> bool:
    return (await world.verify()).violations == []


class TestWhatWasMissed:
    async def test_takes_the_road_of_any_other_message(self, world: World, gaps: Gaps) -> None:
        sid = gaps.misses("tem pão?")
        assert await gaps.sweep() == SweepReport(numbers=1, found=1)
        assert await gaps.stored() == [("tem pão?", "sweep", b"")]
        await world.passes(2)
        assert (world.sent_texts(), await world.outcome_of(sid)) == (["echo: tem pão?"], "answered")
        assert await clean(world)

    async def test_is_found_once(self, world: World, gaps: Gaps) -> None:
        gaps.misses()
        assert [(await gaps.sweep()).found for _ in range(3)] == [1, 0, 0]
        await world.passes(10)
        world.clock.advance(5 * MINUTE)
        assert (await gaps.sweep()).found == 0
        assert world.sent_texts() == ["echo: oi"]

    async def test_is_accepted_in_the_order_in_which_it_was_said(self, world: World, gaps: Gaps) -> None:
        for text, minutes in (("três", 3), ("um", 9), ("dois", 6)):
            gaps.misses(text, ago=minutes * MINUTE)
        await gaps.sweep()
        assert await gaps.texts() == ["um", "dois", "três"]
        await world.passes(2)
        assert world.sent_texts() == ["echo: um\ndois\ntrês"]

    async def test_is_not_what_a_webhook_has_brought(self, world: World, gaps: Gaps) -> None:
        sid = gaps.misses()
        await gaps.webhook(sid)
        assert (await gaps.sweep()).found == 0
        await world.passes(10)
        assert (world.sent_texts(), await gaps.stored()) == (["echo: oi"], [("oi", "webhook", b"Body=oi")])

    async def test_is_read_from_every_page(self, gaps: Gaps) -> None:
        for n in range(7):
            gaps.misses(f"{n}", ago=(20 - n) * MINUTE)
        gaps.twilio.page_size = 2
        assert (await gaps.sweep()).found == 7
        assert await gaps.texts() == [str(n) for n in range(7)]

    async def test_of_one_customer_is_nothing_to_another(self, world: World, gaps: Gaps) -> None:
        gaps.misses("sou a Ana")
        gaps.misses("sou o Bruno", sender=BRUNO)
        await gaps.sweep()
        await world.passes(2)
        assert (world.sent_texts(ANA), world.sent_texts(BRUNO)) == (["echo: sou a Ana"], ["echo: sou o Bruno"])

    async def test_is_only_what_customers_said_and_twilio_received(self, gaps: Gaps) -> None:
        gaps.misses("a reply of ours")
        gaps.twilio.records[-1] = replace(gaps.twilio.records[-1], direction="outbound-api")
        gaps.misses("a call that failed")
        gaps.twilio.records[-1] = replace(gaps.twilio.records[-1], status="failed")
        gaps.misses("from nowhere")
        gaps.twilio.records[-1] = replace(gaps.twilio.records[-1], from_address="")
        gaps.misses("mine")
        assert (await gaps.sweep()).found == 1
        assert await gaps.texts() == ["mine"]


class TestWhichSpan:
    async def test_nothing_before_the_first_verified_webhook(self, world: World) -> None:
        gaps = Gaps(world)
        gaps.misses("from another system's time")
        assert await gaps.sweep() == SweepReport(numbers=0)
        assert gaps.twilio.asked == []
        await gaps.first_webhook()
        gaps.misses("a minute before", ago=MINUTE)
        gaps.misses("a minute after", ago=-MINUTE)
        world.clock.advance(5 * MINUTE)
        assert await gaps.sweep() == SweepReport(numbers=1, found=1)
        assert await gaps.texts() == ["a minute after"]

    async def test_what_is_younger_than_two_minutes_is_left_to_its_webhook(self, world: World, gaps: Gaps) -> None:
        gaps.misses("in two minutes", ago=timedelta(seconds=119))
        assert (await gaps.sweep()).found == 0
        world.clock.advance(timedelta(seconds=1))
        assert (await gaps.sweep()).found == 1

    async def test_what_the_list_shows_late_is_found_within_the_hours_overlap(self, world: World, gaps: Gaps) -> None:
        await gaps.sweep()
        world.clock.advance(50 * MINUTE)
        gaps.misses("shown late", ago=55 * MINUTE)
        gaps.misses("shown far too late", ago=timedelta(hours=2))
        assert (await gaps.sweep()).found == 1
        assert await gaps.texts() == ["shown late"]

    async def test_it_goes_on_where_the_last_round_stopped(self, world: World, gaps: Gaps) -> None:
        await gaps.sweep()
        statement = select(channel_addresses.c.swept_until)
        [row] = await world.database.read(lambda uow: uow.all(statement), owner=None)
        assert row["swept_until"] == world.clock.now() - 2 * MINUTE

    async def test_after_an_outage_everything_since_then_is_found(self, world: World, gaps: Gaps) -> None:
        await gaps.sweep()
        world.clock.advance(timedelta(hours=10))
        sids = [gaps.misses(f"{hours}", ago=timedelta(hours=hours)) for hours in (1, 5, 9)]
        assert (await gaps.sweep()).found == 3
        await world.passes(2)
        assert await world.outcomes_of(*sids) == ["answered", "superseded", "superseded"]

    async def test_what_is_older_than_a_day_is_stale_and_gets_no_agent(self, world: World, gaps: Gaps) -> None:
        await gaps.sweep()
        world.clock.advance(timedelta(days=2))
        old = gaps.misses("ontem", ago=timedelta(hours=24, seconds=1))
        young = gaps.misses("hoje", ago=timedelta(hours=23))
        assert (await gaps.sweep()).found == 2
        await world.passes(10)
        assert await world.outcomes_of(old, young) == ["suppressed:stale", "answered"]
        assert (world.sent_texts(), await clean(world)) == (["echo: hoje"], True)


class TestANumberThatWasAway:
    """Who had it meanwhile has answered what came then, or nobody will."""

    async def test_is_swept_from_its_next_webhook_on(self, world: World, gaps: Gaps, livraria: Principal) -> None:
        """Otherwise what the other owner's agent has answered is answered again, and the other's customers are read."""
        number = NewNumber(ACCOUNT, "token", OURS)
        await world.numbers.add(livraria, number, move=True)
        gaps.misses("to the other", ago=-60 * MINUTE)
        world.clock.advance(timedelta(hours=6))
        await world.numbers.add(world.operator, number, move=True)
        assert await gaps.sweep() == SweepReport(numbers=0)
        await gaps.directory.refresh()
        await gaps.first_webhook()
        gaps.misses("to this one", ago=-MINUTE)
        world.clock.advance(5 * MINUTE)
        assert await gaps.sweep() == SweepReport(numbers=1, found=1)
        assert await gaps.texts() == ["to this one"]

    async def test_brings_nothing_of_the_months_in_which_it_was_removed(self, world: World, gaps: Gaps) -> None:
        await gaps.sweep()
        await NumberRemoval(world.database, world.clock, world.ids).remove(world.operator, world.address_id)
        for days in range(60):
            gaps.misses("nobody's", ago=timedelta(days=-days))
        world.clock.advance(timedelta(days=61))
        await world.numbers.add(world.operator, NewNumber(ACCOUNT, "token", OURS))
        await gaps.directory.refresh()
        await gaps.first_webhook()
        assert (await gaps.sweep()).found == 0
        assert await gaps.stored() == []

    async def test_that_moves_while_its_list_is_read_gives_nothing_to_the_other(
        self, world: World, gaps: Gaps, livraria: Principal
    ) -> None:
        async def moves() -> None:
            await world.numbers.add(livraria, NewNumber(ACCOUNT, "token", OURS), move=True)
            await gaps.directory.refresh()

        gaps.misses()
        gaps.twilio.meanwhile = moves
        assert (await gaps.sweep()).found == 0
        assert await gaps.stored() == []
        assert [row["swept_until"] for row in await world.rows("SELECT swept_until FROM channel_addresses")] == [
            None
        ] * 2


class TestAWebhookThatComesAfterAll:
    async def test_fills_in_the_raw_form_and_makes_no_second_job(self, world: World, gaps: Gaps) -> None:
        sid = gaps.misses()
        await gaps.sweep()
        assert await gaps.webhook(sid) == Duplicate(sid)
        assert await gaps.stored() == [("oi", "sweep", b"Body=oi")]
        await world.passes(10)
        assert await gaps.webhook(sid, raw=b"Body=again") == Duplicate(sid)
        await world.passes(10)
        assert (world.sent_texts(), await gaps.stored()) == (["echo: oi"], [("oi", "sweep", b"Body=oi")])
        assert len(await world.rows("SELECT id FROM message_queue WHERE name = 'conversation.reply'")) == 1

    async def test_of_a_stale_one_wakes_nobody(self, world: World, gaps: Gaps) -> None:
        sid = gaps.misses(ago=timedelta(hours=25))
        await gaps.sweep()
        await gaps.webhook(sid)
        await world.passes(10)
        assert (world.sent_texts(), await world.outcome_of(sid)) == ([], "suppressed:stale")


class TestAListThatCannotBeRead:
    @pytest.mark.parametrize("problem", PROBLEMS, ids=["unreachable", "500", "429", "401", "timeout"])
    async def test_loses_nothing_and_is_read_again(self, world: World, gaps: Gaps, problem: CallProblem) -> None:
        sid = gaps.misses()
        gaps.twilio.problems[0] = problem
        assert await gaps.sweep() == SweepReport(numbers=1, failed=1)
        assert [row["swept_until"] for row in await world.rows("SELECT swept_until FROM channel_addresses")] == [None]
        world.clock.advance(timedelta(hours=5))
        del gaps.twilio.problems[0]
        assert await gaps.sweep() == SweepReport(numbers=1, found=1)
        await world.passes(2)
        assert (await world.outcome_of(sid), world.sent_texts()) == ("answered", ["echo: oi"])

    async def test_to_its_end_is_as_good_as_none(self, world: World, gaps: Gaps) -> None:
        """Half a list must not move the mark, or what stood on the other half is lost."""
        gaps.twilio.page_size = 1
        for minutes in (9, 6, 3):
            gaps.misses(ago=minutes * MINUTE)
        gaps.twilio.problems[2] = Uncertain("read_timeout", "TimeoutError")
        assert (await gaps.sweep(), await gaps.texts()) == (SweepReport(numbers=1, failed=1), [])
        gaps.twilio.problems.clear()
        assert (await gaps.sweep()).found == 3
        await world.passes(2)
        assert world.sent_texts() == ["echo: oi\noi\noi"]

    async def test_because_it_is_too_long_is_counted(self, gaps: Gaps) -> None:
        gaps.twilio.page_size = 1
        for n in range(MAX_PAGES + 1):
            gaps.misses(ago=(n + 3) * MINUTE)
        assert await gaps.sweep() == SweepReport(numbers=1, failed=1)

    async def test_of_one_number_does_not_hold_up_another(self, world: World, gaps: Gaps) -> None:
        await world.breaks("UPDATE twilio_credentials SET auth_token_sealed = :broken", broken=b"0")
        gaps.misses()
        assert await gaps.sweep() == SweepReport(numbers=1, failed=1)
        assert gaps.twilio.asked == []


class TestInParallel:
    async def test_two_sweeps_and_the_webhook_itself_make_one_row_and_one_answer(
        self, world: World, gaps: Gaps
    ) -> None:
        sids = [gaps.misses(f"{n}", ago=(10 - n) * MINUTE) for n in range(5)]
        await gaps.sweep()
        other = AcceptService(world.database, world.ids, world.window, 3)
        second = GapSweep(gaps.directory, gaps.tokens, gaps.twilio, other, world.database, world.clock, world.ids)
        await second.sweep()
        for sid in sids:
            assert isinstance(await gaps.webhook(sid), Duplicate)
        await world.passes(10)
        assert (len(await gaps.stored()), len(world.sent_texts()), await clean(world)) == (5, 1, True)
