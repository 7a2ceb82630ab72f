"""What was said is read page by page, with what became of it, and that it was read is written down."""

from uuid import UUID

import pytest

from recado.bootstrap.parts import PROVIDER_WORDS
from recado.conversation.ports import Refused, Reply
from recado.conversation.reading.messages import Order, TranscriptItem, Transcripts
from recado.core.database.pages import write_id
from recado.core.errors import InvalidInput, NotFound
from recado.identity.principal import operator_of
from tests.world import ANA, World

ON_BOTH_DATABASES = True


@pytest.fixture
def transcripts(world: World) -> Transcripts:
    return Transcripts(world.database, world.clock, world.ids, PROVIDER_WORDS)


async def everything(
    world: World, transcripts: Transcripts, limit: int = 50, order: Order = "oldest"
) -> list[TranscriptItem]:
    """Return all messages of the conversation, page by page."""
    id_, found, cursor = (await world.conversation(ANA)).id, list[TranscriptItem](), None
    while True:
        page = await transcripts.page(world.rita, id_, cursor, limit=limit, order=order)
        found += page.items
        if (cursor := page.next_cursor) is None:
            return found


async def test_both_sides_are_shown_in_their_order(world: World, transcripts: Transcripts) -> None:
    await world.says("oi")
    await world.take()
    await world.says("está aí?")
    await world.person_says("estou!")
    await world.work()
    found = await everything(world, transcripts)
    assert [(item.author, item.text, item.state) for item in found] == [
        ("customer", "oi", "answered"),
        ("agent", "echo: oi", "accepted"),
        ("customer", "está aí?", "answered"),
        ("person", "estou!", "accepted"),
    ]
    assert (found[0].answered_by, found[3].author_name) == (found[1].id, "cli:rita")


@pytest.mark.parametrize("limit", [1, 2, 3, 50])
async def test_pages_miss_nothing_and_repeat_nothing(world: World, transcripts: Transcripts, limit: int) -> None:
    for number in range(3):
        await world.says(f"{number}")
    whole = [item.text for item in await everything(world, transcripts)]
    assert whole == ["0", "echo: 0", "1", "echo: 1", "2", "echo: 2"]
    assert [item.text for item in await everything(world, transcripts, limit)] == whole
    assert [item.text for item in await everything(world, transcripts, limit, "newest")] == whole[::-1]


async def test_what_the_provider_reported_last_is_its_state(world: World, transcripts: Transcripts) -> None:
    await world.says("oi")
    [taken] = world.channel.taken
    await world.calls_back(taken, "read")
    await world.calls_back(taken, "sent")
    [_, answer] = await everything(world, transcripts)
    assert (answer.state, answer.error, answer.parts[0].provider_message_ids) == ("read", None, (taken.sid.value,))


async def test_what_failed_says_why(world: World, transcripts: Transcripts) -> None:
    world.agents.will(Reply("uma frase. " * 300))
    await world.says("oi")
    first, second = world.channel.taken[:2]
    await world.calls_back(first, "delivered")
    await world.calls_back(second, "undelivered", error="30005")
    [_, answer] = await everything(world, transcripts)
    assert answer.error is not None
    assert (answer.state, answer.error.code, len(answer.parts)) == ("undelivered", "30005", len(world.channel.taken))
    assert answer.error.text == PROVIDER_WORDS.meaning_of("30005")
    assert [part.state for part in answer.parts[:2]] == ["delivered", "undelivered"]


async def test_what_was_refused_says_why(world: World, transcripts: Transcripts) -> None:
    world.channel.will(Refused("99999", "they do not want it", "unreachable"))
    sid = await world.says("oi")
    [message, answer] = await everything(world, transcripts)
    assert (message.state, await world.outcome_of(sid)) == ("suppressed:unreachable", "suppressed:unreachable")
    assert answer.error is not None
    assert (answer.state, answer.reason, answer.error.text) == ("refused", "unreachable", "they do not want it")


async def test_each_reading_leaves_a_line_in_the_audit(world: World, transcripts: Transcripts) -> None:
    await world.says("oi")
    await everything(world, transcripts)
    [entry] = await world.rows("SELECT actor_name, object_id FROM audit_entries WHERE action = 'conversation.read'")
    assert tuple(entry.values()) == ("cli:rita", str((await world.conversation()).id))


async def test_what_a_search_found_is_one_line_without_the_text(world: World, transcripts: Transcripts) -> None:
    await world.says("oi")
    id_ = (await world.conversation()).id
    await transcripts.record_search(world.rita, [id_])
    await transcripts.record_search(world.rita, [])
    [entry] = await world.rows(
        "SELECT actor_name, object_id, detail FROM audit_entries WHERE action = 'conversation.searched'"
    )
    assert (entry["actor_name"], entry["object_id"]) == ("cli:rita", str(world.owner_id))
    assert str(id_) in str(entry["detail"])


async def test_a_conversation_of_another_owner_is_unknown_and_no_reading(
    world: World, transcripts: Transcripts
) -> None:
    await world.says("oi")
    id_ = (await world.conversation()).id
    with pytest.raises(NotFound):
        await transcripts.page(operator_of(UUID(int=7), "mallory"), id_, limit=10)
    assert await world.rows("SELECT id FROM audit_entries WHERE action = 'conversation.read'") == []


@pytest.mark.parametrize("cursor", ["", "nonsense", "W10", "WzFd", write_id(UUID(int=1))[:-3]])
async def test_a_cursor_that_is_none_is_refused(world: World, transcripts: Transcripts, cursor: str) -> None:
    await world.says("oi")
    with pytest.raises(InvalidInput, match="not a cursor of ours"):
        await transcripts.page(world.rita, (await world.conversation()).id, cursor, limit=10)
