"""Lists of conversations are read in pages that miss nothing and repeat nothing."""

from typing import Any
from uuid import UUID

import pytest

from recado.conversation.reading.conversations import ConversationItem, ConversationReading, _latest_first
from recado.conversation.reading.filters import ConversationFilters
from recado.conversation.values import Address
from recado.core.errors import InvalidInput, NotFound
from recado.identity.models import User
from recado.identity.repository import Users
from tests.world import ANA, BRUNO, World

ON_BOTH_DATABASES = True

TOO_FAR = [
    "WyI5OTk5LTEyLTMxVDIzOjU5OjU5LTE0OjAwIiwgIjAwMDAwMDAwLTAwMDAtMDAwMC0wMDAwLTAwMDAwMDAwMDAwMSJd",
    "WyIwMDAxLTAxLTAxVDAwOjAwOjAwKzE0OjAwIiwgIjAwMDAwMDAwLTAwMDAtMDAwMC0wMDAwLTAwMDAwMDAwMDAwMSJd",
]
"""Cursors whose times have no form in UTC."""


@pytest.fixture
def reading(world: World) -> ConversationReading:
    return ConversationReading(world.database)


async def test_the_latest_activity_comes_first(world: World, reading: ConversationReading) -> None:
    await world.says("oi", ANA)
    await world.passes(2)
    await world.says("oi", BRUNO)
    await world.take(ANA)
    await world.says("ainda está aí?", ANA)

    page = await reading.page(world.owner_id)

    assert page.next_cursor is None
    assert [item.contact for item in page.items] == [ANA.masked, BRUNO.masked]
    assert [item.held_by for item in page.items] == ["person", "agent"]
    assert [item.waiting_since is None for item in page.items] == [False, True]
    assert await reading.one(world.owner_id, page.items[0].id) == page.items[0]
    assert await reading.owner_of(page.items[0].id) == world.owner_id


async def test_closed_conversations_are_listed_when_asked_for(world: World, reading: ConversationReading) -> None:
    await world.says("oi", ANA)
    await world.says("oi", BRUNO)
    closed = await world.close(BRUNO)
    assert await shown(world, reading) == [ANA]
    assert await shown(world, reading, status="closed") == [BRUNO]
    assert sorted(await shown(world, reading, status="all"), key=str) == sorted([ANA, BRUNO], key=str)
    assert (await reading.one(world.owner_id, closed.id)).closed_by == "person"


async def users(world: World) -> list[User]:
    return list(await world.database.read(lambda uow: Users(uow).in_order(), owner=world.owner_id))


async def shown(world: World, reading: ConversationReading, **filters: Any) -> list[Address]:  # noqa: ANN401 - any of the filters
    """Return whose conversations a list shows, over all its pages."""
    found = [item async for item in reading.every(world.owner_id, ConversationFilters(**filters))]
    return [Address(item.address or "") for item in found]


async def test_a_list_shows_what_its_filters_choose(world: World, reading: ConversationReading) -> None:
    await world.says("oi", ANA)
    await world.passes(1)
    await world.says("oi", BRUNO)
    taken = await world.take(BRUNO)
    [user] = await users(world)
    await world.handoff.assign(world.rita, taken.id, user.id)
    ana = await world.conversation(ANA)
    assert await shown(world, reading, held_by="person") == [BRUNO]
    assert await shown(world, reading, held_by="agent") == [ANA]
    assert await shown(world, reading, held_by="nobody") == []
    assert await shown(world, reading, assignee_id=user.id) == [BRUNO]
    assert await shown(world, reading, contact_id=ana.contact_id) == [ANA]
    assert await shown(world, reading, number_id=world.address_id) == [BRUNO, ANA]
    assert await shown(world, reading, number_id=user.id) == []
    assert await shown(world, reading, number_id=world.address_id, held_by="person", status="open") == [BRUNO]
    assert await shown(world, reading, status="idle") == []
    [item] = (await reading.page(world.owner_id, filters=ConversationFilters(held_by="person"))).items
    assert (item.holder_name, item.assignee_name) == ("cli:rita", user.email)


async def test_those_that_wait_come_with_the_longest_wait_first(world: World, reading: ConversationReading) -> None:
    for who in (BRUNO, ANA):
        await world.says("oi", who)
        await world.take(who)
        await world.says("alguém?", who)
    await world.says("alô?", BRUNO)
    await world.says("oi", Address("whatsapp:+5531987651234"))
    assert await shown(world, reading, waiting=True) == [BRUNO, ANA]
    assert await shown(world, reading, waiting=True, held_by="agent") == []
    first = await reading.page(world.owner_id, filters=ConversationFilters(waiting=True), limit=1)
    rest = await reading.page(world.owner_id, first.next_cursor, filters=ConversationFilters(waiting=True), limit=1)
    assert [item.contact for item in (*first.items, *rest.items)] == [BRUNO.masked, ANA.masked]
    await world.person_says("oi!", BRUNO)
    await world.work()
    assert await shown(world, reading, waiting=True) == [ANA]


@pytest.mark.sqlite_only
async def test_a_page_reads_a_bounded_number_of_rows(world: World) -> None:
    """A filter that few rows meet gives short pages, and every row all the same."""
    reading = ConversationReading(world.database, window=4)
    people = [Address(f"whatsapp:+5511987{n:06}") for n in range(11)]
    for who in people:
        await world.says("oi", who)
    quiet = await world.conversation(people[0])
    await world.breaks("UPDATE conversations SET status = 'idle' WHERE id = :id", id=quiet.id)
    filters = ConversationFilters(status="idle")
    first = await reading.page(world.owner_id, filters=filters, limit=3)
    assert (first.items, first.next_cursor is not None) == ([], True)
    assert await shown(world, reading, status="idle") == [people[0]]


_OPEN_PLANS = {
    (): "ix_conversations_active",
    ("held_by",): "ix_conversations_held",
    ("assignee",): "ix_conversations_assigned",
    ("number",): "ix_conversations_number",
    ("contact",): "ix_conversations_contact",
}


@pytest.mark.parametrize("given", list(_OPEN_PLANS), ids=str)
@pytest.mark.sqlite_only
async def test_each_list_is_read_from_an_index_of_its_own(world: World, given: tuple[str, ...]) -> None:
    sql = _latest_first(("active", *given), ()).compiled("sqlite").driver_sql
    plan = await world.database.read(
        lambda uow: [str(row[3]) for row in uow.execute_raw(f"EXPLAIN QUERY PLAN {sql}", *[None] * sql.count("?"))],
        owner=None,
    )
    [scan] = [step for step in plan if "conversations USING" in step]
    assert f"USING INDEX {_OPEN_PLANS[given]} " in scan
    assert sum("ORDER BY" in step for step in plan) <= 1, "only the rows of the page are sorted"


@pytest.mark.sqlite_only
async def test_items_of_one_moment_fill_several_pages(world: World, reading: ConversationReading) -> None:
    people = [Address(f"whatsapp:+5511987{n:06}") for n in range(25)]
    for who in people:
        await world.receives("oi", who)
    await world.passes(2)
    await world.says("oi de novo", people[7])

    found: list[ConversationItem] = []
    cursor: str | None = None
    while True:
        page = await reading.page(world.owner_id, cursor, limit=10)
        found += page.items
        if (cursor := page.next_cursor) is None:
            break

    assert len({item.id for item in found}) == len(found) == 25
    assert found[0].contact == people[7].masked
    assert [item.id async for item in reading.every(world.owner_id)] == [item.id for item in found]


async def test_nobody_sees_what_is_of_another_owner(world: World, reading: ConversationReading) -> None:
    await world.says("oi", ANA)
    [item] = (await reading.page(world.owner_id)).items
    stranger = UUID(int=7)
    assert (await reading.page(stranger)).items == []
    with pytest.raises(NotFound):
        await reading.one(stranger, item.id)


async def test_an_unknown_conversation_has_no_owner(reading: ConversationReading) -> None:
    with pytest.raises(NotFound, match="recado conversations list"):
        await reading.owner_of(UUID(int=7))


@pytest.mark.parametrize("cursor", ["", "nonsense", "W10", "WzEsIDJd", "WyIyMDI2LTAxLTAxIiwgIngiXQ", *TOO_FAR])
async def test_a_cursor_that_is_none_is_refused(world: World, reading: ConversationReading, cursor: str) -> None:
    with pytest.raises(InvalidInput, match="not a cursor of ours"):
        await reading.page(world.owner_id, cursor)
