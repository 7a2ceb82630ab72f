"""Lists of conversations are read in pages that miss nothing and repeat nothing."""

from uuid import UUID

import pytest
from sqlalchemy import text

from recado.conversation.reading import ConversationItem, ConversationReading
from recado.conversation.values import Address
from recado.core.errors import InvalidInput, NotFound
from tests.world import ANA, BRUNO, World

ON_BOTH_DATABASES = True


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


async def test_a_closed_conversation_is_listed_only_while_somebody_waits(
    world: World, reading: ConversationReading
) -> None:
    await world.says("oi", ANA)
    await world.says("oi", BRUNO)
    await world.take(BRUNO)
    await world.says("alguém?", BRUNO)
    await world.database.write(
        lambda uow: uow.execute(
            text("UPDATE conversations SET status = 'closed', closed_at = last_activity_at")
        ).close(),
        owner=world.owner_id,
    )
    assert [item.contact for item in (await reading.page(world.owner_id)).items] == [BRUNO.masked]


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


@pytest.mark.parametrize("cursor", ["", "nonsense", "W10", "WzEsIDJd", "WyIyMDI2LTAxLTAxIiwgIngiXQ"])
async def test_a_cursor_that_is_none_is_refused(world: World, reading: ConversationReading, cursor: str) -> None:
    with pytest.raises(InvalidInput, match="not a cursor of ours"):
        await reading.page(world.owner_id, cursor)
