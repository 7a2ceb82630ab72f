"""Contacts are named, blocked and opted out by people, by their names; and what that stops."""

from uuid import UUID

import pytest

from recado.conversation.errors import ContactBlocked
from recado.conversation.models import Contact
from recado.conversation.people.contacts import ContactService
from recado.conversation.ports import AgentResult, Reply, TurnContext
from recado.conversation.reading.contacts import ContactFilters, ContactItem, ContactReading
from recado.conversation.values import Address
from recado.core.errors import Conflict, InvalidInput, NotFound
from recado.identity.principal import operator_of
from tests.support.crossing import crossing
from tests.world import ANA, BRUNO, World

ON_BOTH_DATABASES = True


async def ana(world: World) -> UUID:
    return (await world.conversation(ANA)).contact_id


async def block(world: World) -> Contact:
    return await world.contacts.block(world.rita, await ana(world))


async def clean(world: World) -> bool:
    return (await world.verify()).violations == []


class TestABlockedContact:
    async def test_is_answered_by_nobody(self, world: World) -> None:
        await world.says("oi")
        blocked = await block(world)
        sid = await world.says("tem alguém?")
        assert (blocked.blocked_by, await world.outcome_of(sid)) == ("cli:rita", "suppressed:blocked")
        assert (world.sent_texts(), len(world.agents.turns), await clean(world)) == (["echo: oi"], 1, True)

    async def test_is_answered_again_once_unblocked(self, world: World) -> None:
        await world.says("oi")
        await block(world)
        await world.says("tem alguém?")
        await world.contacts.unblock(world.rita, await ana(world))
        assert await world.outcome_of(await world.says("e agora?")) == "answered"

    async def test_raises_no_item_in_an_inbox(self, world: World) -> None:
        await world.says("oi")
        await world.take()
        await block(world)
        assert await world.outcome_of(await world.says("oi?")) == "suppressed:blocked"
        assert await world.rows("SELECT id FROM inbox_items") == []

    async def test_gets_nothing_that_waited_to_be_sent(self, world: World) -> None:
        async def blocked_meanwhile(turn: TurnContext) -> AgentResult:
            await block(world)
            return Reply(f"late: {turn.text}")

        world.agents.will(blocked_meanwhile)
        sid = await world.says("oi")
        assert (world.sent_texts(), await world.outcome_of(sid)) == ([], "suppressed:blocked")
        assert await clean(world)

    async def test_gets_nothing_from_a_person_either(self, world: World) -> None:
        await world.says("oi")
        await block(world)
        with pytest.raises(ContactBlocked, match="unblock it first"):
            await world.person_says("oi!")

    async def test_can_still_opt_out(self, world: World) -> None:
        await world.says("oi")
        await block(world)
        await world.says("PARAR")
        await world.contacts.unblock(world.rita, await ana(world))
        assert await world.outcome_of(await world.says("oi?")) == "suppressed:opt_out"


class TestOptingOut:
    async def test_by_a_person_stops_messages_and_by_a_person_is_lifted(self, world: World) -> None:
        await world.says("oi")
        stored = await world.contacts.opt_out(world.rita, await ana(world))
        assert (stored.opted_out_by, await world.outcome_of(await world.says("oi?"))) == (
            "cli:rita",
            "suppressed:opt_out",
        )
        stored = await world.contacts.opt_in(world.rita, await ana(world))
        assert (stored.opted_out_at, stored.opted_out_by) == (None, None)
        assert await world.outcome_of(await world.says("oi!")) == "answered"

    async def test_by_the_customer_bears_no_name(self, world: World) -> None:
        await world.says("oi")
        await world.contacts.opt_out(world.rita, await ana(world))
        world.advance(1)
        await world.says("PARAR")
        [row] = await world.rows("SELECT opted_out_at, opted_out_by FROM contacts")
        assert (row["opted_out_at"] is not None, row["opted_out_by"]) == (True, None)


class TestNaming:
    async def test_a_name_is_kept_whatever_the_profile_says(self, world: World) -> None:
        await world.says("oi")
        named = await world.contacts.rename(world.rita, await ana(world), " Ana   Maria ")
        assert (named.name, named.named_by) == ("Ana Maria", "cli:rita")
        assert (await world.contacts.rename(world.rita, named.id, None)).named_by is None

    @pytest.mark.parametrize("name", ["", "  ", "x" * 201, "a\u200b\x00"])
    async def test_a_name_can_be_seen(self, world: World, name: str) -> None:
        await world.says("oi")
        with pytest.raises(InvalidInput, match="characters that can be seen"):
            await world.contacts.rename(world.rita, await ana(world), name)


async def test_each_change_leaves_a_line_in_the_audit_and_a_repetition_none(world: World) -> None:
    await world.says("oi")
    id_, deeds = await ana(world), world.contacts
    for _ in range(2):
        await deeds.block(world.rita, id_)
    for deed in (deeds.unblock, deeds.opt_out, deeds.opt_out, deeds.opt_in, deeds.opt_in):
        await deed(world.rita, id_)
    entries = await world.rows("SELECT action, object_id FROM audit_entries WHERE object_kind = 'contact' ORDER BY id")
    assert [row["action"] for row in entries] == [
        "contact.blocked", "contact.unblocked", "contact.opted_out", "contact.opted_in",
    ]  # fmt: skip
    assert {row["object_id"] for row in entries} == {str(id_)}


async def test_a_contact_of_another_owner_is_unknown(world: World) -> None:
    await world.says("oi")
    stranger, id_, deeds = operator_of(UUID(int=7), "mallory"), await ana(world), world.contacts
    for deed in (
        deeds.block(stranger, id_),
        deeds.unblock(stranger, id_),
        deeds.opt_out(stranger, id_),
        deeds.opt_in(stranger, id_),
        deeds.rename(stranger, id_, "x"),
    ):
        with pytest.raises(NotFound):
            await deed
    with pytest.raises(NotFound):
        await ContactReading(world.database).one(UUID(int=7), id_)


class TestReading:
    async def found(self, world: World, filters: ContactFilters | None = None) -> list[ContactItem]:
        return [item async for item in ContactReading(world.database).every(world.owner_id, filters)]

    async def test_the_newest_comes_first_with_every_spelling(self, world: World) -> None:
        await world.says("oi", ANA)
        world.advance(1)
        await world.says("oi", BRUNO)
        await world.says("oi", Address("whatsapp:+551187654321"))
        assert [item.addresses for item in await self.found(world)] == [
            [BRUNO.value],
            [ANA.value, "whatsapp:+551187654321"],
        ]
        reading = ContactReading(world.database)
        first = await reading.page(world.owner_id, limit=1)
        second = await reading.page(world.owner_id, first.next_cursor, limit=1)
        assert [item.addresses[0] for item in (*first.items, *second.items)] == [BRUNO.value, ANA.value]
        assert second.next_cursor is None
        assert await reading.one(world.owner_id, second.items[0].id) == second.items[0]
        assert await reading.owner_of(second.items[0].id) == world.owner_id

    async def test_filters_choose(self, world: World) -> None:
        await world.says("oi", ANA)
        await world.says("oi", BRUNO)
        await block(world)
        await world.says("PARAR", BRUNO)
        assert [item.addresses for item in await self.found(world, ContactFilters(blocked=True))] == [[ANA.value]]
        assert [item.addresses for item in await self.found(world, ContactFilters(opted_out=True))] == [[BRUNO.value]]
        assert await self.found(world, ContactFilters(blocked=True, opted_out=True)) == []
        spelling = ContactFilters(address=Address("whatsapp:+551187654321"))
        assert [item.addresses for item in await self.found(world, spelling)] == [[ANA.value]]


async def test_of_two_changes_of_what_both_have_read_one_is_refused(world: World) -> None:
    await world.says("oi")
    contact_id = (await world.conversation()).contact_id

    def not_named_yet(stored: ContactItem) -> None:
        if stored.named_by is not None:
            raise Conflict("it has changed")

    first, second = await crossing(
        world.database,
        lambda held: ContactService(held, world.clock, world.ids).rename(
            world.rita, contact_id, "Ana Maria", check=not_named_yet
        ),
        lambda: world.contacts.rename(world.rita, contact_id, "Ana Paula", check=not_named_yet),
    )
    assert isinstance(first, Contact)
    assert (first.name, isinstance(second, Conflict)) == ("Ana Maria", True)
