"""A message that begins with us goes out like any other, and whoever held the conversation holds it still."""

import pytest

from recado.channels.twilio.accounts import NewNumber
from recado.conversation.errors import ContactBlocked, OptedOut, OwnerClosed, UnknownNumber, WindowClosed
from recado.conversation.models import Answer
from recado.conversation.values import Address
from recado.core.errors import InvalidInput
from tests.world import ACCOUNT, ANA, BRUNO, OURS, World

ON_BOTH_DATABASES = True

SMS = Address("+5511900000000")
CARLA = Address("+5531987651234")


async def send(world: World, to: Address = ANA, text: str = "seu pedido saiu", from_: Address = OURS) -> Answer:
    return await world.messages.send(world.rita, from_, to, text)


async def clean(world: World) -> bool:
    return (await world.verify()).violations == []


@pytest.fixture
async def sms(world: World) -> None:
    await world.numbers.add(world.rita, NewNumber(ACCOUNT, "token", SMS))


class TestAPairThatCannotBe:
    @pytest.mark.usefixtures("sms")
    @pytest.mark.parametrize(
        ("from_", "to"),
        [
            (OURS, Address(ANA.number)),
            (SMS, ANA),
            (OURS, Address("messenger:42")),
            (OURS, OURS),
            (SMS, SMS),
        ],
    )
    async def test_is_refused_and_makes_nothing(self, world: World, from_: Address, to: Address) -> None:
        """The provider would refuse it, in a conversation whose rules would be those of the wrong channel."""
        with pytest.raises(InvalidInput):
            await send(world, to, from_=from_)
        for table in ("conversations", "contacts", "answers", "lanes"):
            assert await world.rows(f"SELECT 1 FROM {table}") == []


@pytest.mark.usefixtures("sms")
class TestToSomebodyNew:
    async def test_contact_and_conversation_are_made(self, world: World) -> None:
        answer = await send(world, CARLA, from_=SMS)
        await world.work()
        assert world.sent_texts(CARLA) == ["seu pedido saiu"]
        [conversation] = await world.rows("SELECT id, held_by, status FROM conversations")
        assert (world.uuid(conversation["id"]), conversation["held_by"]) == (answer.conversation_id, "agent")
        assert len(await world.rows("SELECT id FROM contacts")) == 1
        [stored] = await world.rows("SELECT author, author_name, state FROM answers")
        assert tuple(stored.values()) == ("notice", "cli:rita", "accepted")
        assert await clean(world)

    async def test_a_second_one_goes_into_the_same_conversation(self, world: World) -> None:
        first, second = await send(world, CARLA, from_=SMS), await send(world, CARLA, "já chegou?", SMS)
        await world.work()
        assert first.conversation_id == second.conversation_id
        assert world.sent_texts(CARLA) == ["seu pedido saiu", "já chegou?"]

    async def test_a_person_may_go_on_in_it_before_the_customer_has_written(self, world: World) -> None:
        begun = await send(world, CARLA, from_=SMS)
        await world.handoff.reply(world.rita, begun.conversation_id, "já chegou?", take=True)
        await world.work()
        assert world.sent_texts(CARLA) == ["seu pedido saiu", "já chegou?"]
        assert await clean(world)


class TestWithinTheWindow:
    async def test_it_goes_to_the_address_that_wrote_last(self, world: World) -> None:
        spelling = Address("whatsapp:+551187654321")
        await world.says("oi", spelling)
        await send(world, ANA)
        await world.work()
        assert world.sent_texts(spelling) == ["echo: oi", "seu pedido saiu"]

    async def test_the_agent_still_answers_what_comes_then(self, world: World) -> None:
        await world.says("oi")
        await send(world)
        sid = await world.says("obrigada!")
        assert world.sent_texts() == ["echo: oi", "seu pedido saiu", "echo: obrigada!"]
        assert (await world.outcome_of(sid), await clean(world)) == ("answered", True)

    async def test_a_person_holds_what_a_person_held(self, world: World) -> None:
        await world.says("oi")
        await world.take()
        sid = await world.says("está aí?")
        await send(world)
        await world.work()
        assert (await world.conversation()).held_by == "person"
        assert (await world.outcome_of(sid), await clean(world)) == ("handed_off", True)

    async def test_a_closed_conversation_is_followed_by_a_new_one(self, world: World) -> None:
        await world.says("oi")
        closed = await world.close()
        answer = await send(world)
        await world.work()
        assert (await world.conversation()).id == answer.conversation_id != closed.id
        assert world.sent_texts() == ["echo: oi", "seu pedido saiu"]

    async def test_a_message_that_no_turn_has_yet_opens_it(self, world: World) -> None:
        await world.receives("oi")
        await send(world)
        await world.passes(2)
        assert world.sent_texts() == ["seu pedido saiu", "echo: oi"]

    async def test_an_idle_conversation_is_open_again(self, world: World) -> None:
        await world.says("oi")
        await world.breaks("UPDATE conversations SET status = 'idle'")
        await send(world)
        assert (await world.conversation()).status == "open"


class TestWhatIsRefused:
    async def nothing_is_stored(self, world: World) -> bool:
        stored = await world.rows("SELECT id FROM answers WHERE author = 'notice'")
        return stored == [] and await world.rows("SELECT id FROM audit_entries WHERE action = 'message.sent'") == []

    async def test_whatsapp_to_somebody_who_has_never_written(self, world: World) -> None:
        with pytest.raises(WindowClosed):
            await send(world, BRUNO)
        assert await self.nothing_is_stored(world)
        assert await world.rows("SELECT id FROM contacts") == []

    async def test_whatsapp_after_a_day(self, world: World) -> None:
        await world.says("oi")
        await world.close()
        world.advance(24 * 3600)
        with pytest.raises(WindowClosed):
            await send(world)
        assert await self.nothing_is_stored(world)

    async def test_somebody_who_has_opted_out(self, world: World) -> None:
        await world.says("PARAR")
        with pytest.raises(OptedOut):
            await send(world)
        assert await self.nothing_is_stored(world)

    async def test_somebody_who_is_blocked(self, world: World) -> None:
        await world.says("oi")
        await world.contacts.block(world.rita, (await world.conversation()).contact_id)
        with pytest.raises(ContactBlocked):
            await send(world)

    async def test_a_closed_organisation(self, world: World) -> None:
        await world.says("oi")
        await world.breaks("UPDATE owners SET closed_at = created_at")
        with pytest.raises(OwnerClosed):
            await send(world)

    async def test_a_number_of_nobody(self, world: World) -> None:
        with pytest.raises(UnknownNumber, match="not a number of this organisation"):
            await send(world, from_=SMS)

    @pytest.mark.parametrize("text", ["", " \n", "x" * 20_001])
    async def test_a_text_that_is_none(self, world: World, text: str) -> None:
        await world.says("oi")
        with pytest.raises(InvalidInput):
            await send(world, text=text)


async def test_the_window_of_the_lane_holds_for_a_conversation_that_began_with_us(world: World) -> None:
    """It closes a day after the customer's last message, not a day after ours."""
    await world.says("oi")
    await world.close()
    world.advance(23 * 3600)
    await send(world)
    world.advance(2 * 3600)
    await world.work()
    assert world.sent_texts() == ["echo: oi"]
    [row] = await world.rows("SELECT state, reason FROM answers WHERE author = 'notice'")
    assert tuple(row.values()) == ("stopped", "window_closed")
