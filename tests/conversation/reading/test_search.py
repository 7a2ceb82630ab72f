"""Conversations are found by the words of either side, each once, and a word of another owner finds nothing."""

from uuid import UUID

import pytest

from recado.conversation.reading.conversations import ConversationReading
from recado.conversation.reading.filters import ConversationFilters
from recado.conversation.reading.search import HITS
from recado.conversation.values import Address
from recado.core.errors import InvalidInput
from tests.world import ANA, BRUNO, World

ON_BOTH_DATABASES = True

CARLA = Address("whatsapp:+5531987651234")


@pytest.fixture
def reading(world: World) -> ConversationReading:
    return ConversationReading(world.database)


async def found(world: World, reading: ConversationReading, words: str, limit: int = 50) -> list[Address]:
    """Return in whose conversations the words are found, over all pages."""
    addresses: list[Address] = []
    cursor: str | None = None
    while True:
        page = await reading.page(world.owner_id, cursor, limit=limit, filters=ConversationFilters(text=words))
        addresses += [Address(item.address or "") for item in page.items]
        if (cursor := page.next_cursor) is None:
            return addresses


async def test_words_of_either_side_are_found_without_accents_and_case(
    world: World, reading: ConversationReading
) -> None:
    await world.says("Quero um bolo de LIMÃO", ANA)
    await world.says("tem pão?", BRUNO)
    await world.take(BRUNO)
    await world.person_says("Limão acabou; pão temos.", BRUNO)
    assert await found(world, reading, "limao") == [BRUNO, ANA]
    assert await found(world, reading, "bolo limão") == [ANA]
    assert await found(world, reading, "echo pão") == [BRUNO]
    assert await found(world, reading, "pao limao quero") == []


async def test_a_conversation_stands_where_its_latest_match_does_and_comes_once(
    world: World, reading: ConversationReading
) -> None:
    for who in (ANA, BRUNO, CARLA, ANA, BRUNO, ANA):
        await world.says("bolo", who)
    for limit in (1, 2, 3, 50):
        assert await found(world, reading, "bolo", limit) == [ANA, BRUNO, CARLA]


async def test_a_message_that_comes_between_two_pages_moves_nothing(world: World, reading: ConversationReading) -> None:
    for who in (ANA, BRUNO, CARLA):
        await world.says("bolo", who)
    filters = ConversationFilters(text="bolo")
    first = await reading.page(world.owner_id, limit=1, filters=filters)
    await world.says("bolo", ANA)
    second = await reading.page(world.owner_id, first.next_cursor, limit=2, filters=filters)
    assert [item.contact for item in second.items] == [BRUNO.masked, ANA.masked]


async def test_other_filters_hold_too(world: World, reading: ConversationReading) -> None:
    await world.says("bolo", ANA)
    await world.says("bolo", BRUNO)
    await world.close(ANA)
    filters = ConversationFilters(text="bolo", status="closed")
    assert [item.contact for item in (await reading.page(world.owner_id, filters=filters)).items] == [ANA.masked]


async def test_a_message_that_moves_into_a_new_conversation_is_found_there(
    world: World, reading: ConversationReading
) -> None:
    await world.says("oi", ANA)
    await world.take(ANA)
    await world.says("cadê meu bolo?", ANA)
    before = await world.conversation(ANA)
    await world.breaks("UPDATE conversations SET status = 'closed' WHERE id = :id", id=before.id)
    await world.says("alô", ANA)
    await world.take(ANA)
    await world.release(ANA)
    await world.work()
    found = await reading.page(world.owner_id, filters=ConversationFilters(text="cadê"))
    assert before.id not in {item.id for item in found.items}
    assert (await world.conversation(ANA)).id in {item.id for item in found.items}


@pytest.mark.sqlite_only
async def test_on_sqlite_the_index_of_words_is_asked_once(world: World) -> None:
    """On PostgreSQL: `test_search_of_tenants.py`."""
    how = f"EXPLAIN QUERY PLAN {HITS.compiled('sqlite').sql}"
    plan = await world.database.read(lambda uow: uow.execute_raw(how, *[None] * how.count("?")), owner=world.owner_id)
    assert [row[-1].split(" VIRTUAL")[0] for row in plan] == [
        "SCAN search_fts",
        "SEARCH d USING INTEGER PRIMARY KEY (rowid=?)",
    ]


async def test_nothing_of_another_owner_is_found(world: World, reading: ConversationReading) -> None:
    await world.says(f"bolo o{UUID(int=7).hex}", ANA)
    assert (await reading.page(UUID(int=7), filters=ConversationFilters(text="bolo"))).items == []


async def test_a_word_that_nobody_has_written_finds_nothing(world: World, reading: ConversationReading) -> None:
    """Nor one like those that the index has for groups of messages."""
    await world.says("bolo", ANA)
    for words in ("b0", "0", "_0"):
        assert await found(world, reading, words) == []


@pytest.mark.parametrize("words", ["", " ?! ", "x" * 40])
async def test_there_must_be_a_word(world: World, reading: ConversationReading, words: str) -> None:
    with pytest.raises(InvalidInput, match="nothing to find"):
        await reading.page(world.owner_id, filters=ConversationFilters(text=words))


@pytest.mark.parametrize("words", ["a' | 'b", '"a" OR "b"', "a* NEAR b", "words:a", "a) & (b", "-- drop"])
async def test_words_are_words_whatever_the_index_would_make_of_them(
    world: World, reading: ConversationReading, words: str
) -> None:
    await world.says("oi", ANA)
    assert await found(world, reading, words) == []


@pytest.mark.parametrize(
    "cursor",
    [
        "nonsense",
        "W10",
        "WzFd",
        "Wy0xLDJd",
        "WzEsMiwzXQ",
        "WzEuNSwyXQ",
        "WzAsMF0",
        "WzUsMF0",
        "W3RydWUsdHJ1ZV0",
        "W3RydWUsZmFsc2Vd",
    ],
)
async def test_a_cursor_that_is_none_is_refused(world: World, reading: ConversationReading, cursor: str) -> None:
    with pytest.raises(InvalidInput, match="not a cursor of ours"):
        await reading.page(world.owner_id, cursor, filters=ConversationFilters(text="bolo"))
