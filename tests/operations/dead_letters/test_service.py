"""People retry and discard dead letters: their name stands at it, and in the audit."""

from uuid import UUID

import pytest

from recado.conversation.errors import AgentFailed
from recado.conversation.ports import Refused
from recado.core.database.engine import Database
from recado.core.errors import Conflict, NotFound
from recado.core.ids import SYSTEM_OWNER
from recado.core.queue.job import NewJob, Replayed, ReplayRefused
from recado.identity.owners import Registration
from recado.identity.principal import Principal, operator_of
from recado.operations.dead_letters.reading import DeadLetterReading
from tests.support.callers import admin_of
from tests.world import ANA, World

ON_BOTH_DATABASES = True

APOLOGY = "Desculpe, estou indisponível no momento"


@pytest.fixture
def bia(world: World) -> Principal:
    return admin_of(world.owner_id)


@pytest.fixture
def reading(database: Database) -> DeadLetterReading:
    return DeadLetterReading(database)


async def dead_letter(world: World) -> tuple[str, UUID]:
    """A message whose agent failed for good: its SID and its dead letter."""
    before = {job.id for job in await world.dead()}
    world.agents.will(AgentFailed("the model is on fire", retryable=False))
    sid = await world.says("oi", ANA)
    [letter] = {job.id for job in await world.dead()} - before
    return sid, letter


async def deeds(world: World) -> list[tuple[str, str, str]]:
    """What the audit says of jobs."""
    rows = await world.rows("SELECT actor_name, action, object_id FROM audit_entries WHERE object_kind = 'job'")
    return [(str(row["actor_name"]), str(row["action"]), str(row["object_id"])) for row in rows]


async def test_a_retry_is_somebody_s_deed(world: World, bia: Principal, reading: DeadLetterReading) -> None:
    _, letter = await dead_letter(world)
    result = await world.dead_letters.retry(bia, letter)
    assert isinstance(result, Replayed)
    item = await reading.one(world.owner_id, letter)
    assert (item.replayed_by, item.handled_by) == (result.by, "Bia")
    assert await deeds(world) == [("Bia", "dead_letter.retried", str(letter))]


async def test_a_retried_reply_has_exactly_one_outcome(world: World, bia: Principal) -> None:
    sid, letter = await dead_letter(world)
    await world.dead_letters.retry(bia, letter)
    assert isinstance(await world.dead_letters.retry(bia, letter), ReplayRefused)
    await world.passes(2)
    assert isinstance(await world.dead_letters.retry(bia, letter), ReplayRefused)
    await world.passes(2)
    assert (world.sent_texts(ANA), await world.outcome_of(sid)) == ([APOLOGY, "echo: oi"], "answered")
    assert (await world.verify()).violations == []


async def test_a_refused_retry_leaves_no_trace(world: World, bia: Principal, reading: DeadLetterReading) -> None:
    _, letter = await dead_letter(world)
    await world.take(ANA)
    refused = await world.dead_letters.retry(bia, letter, force=True)
    assert refused == ReplayRefused(letter, "a person holds the conversation")
    item = await reading.one(world.owner_id, letter)
    assert (item.replayed_by, item.handled_by, await deeds(world)) == (None, None, [])


async def test_a_discard_is_somebody_s_deed_and_happens_once(
    world: World, bia: Principal, reading: DeadLetterReading
) -> None:
    sid, letter = await dead_letter(world)
    await world.dead_letters.discard(bia, letter)
    first = await reading.one(world.owner_id, letter)
    world.advance(60)
    await world.dead_letters.discard(world.rita, letter)
    assert (first.handled_by, await reading.one(world.owner_id, letter)) == ("Bia", first)
    assert await deeds(world) == [("Bia", "dead_letter.discarded", str(letter))]
    assert (await world.outcome_of(sid), (await reading.page(world.owner_id)).items) == ("apologised", [])


async def test_what_was_discarded_is_not_retried_and_what_was_retried_not_discarded(
    world: World, bia: Principal
) -> None:
    _, discarded = await dead_letter(world)
    await world.dead_letters.discard(bia, discarded)
    assert await world.dead_letters.retry(bia, discarded) == ReplayRefused(discarded, "it was discarded")
    _, retried = await dead_letter(world)
    await world.dead_letters.retry(bia, retried)
    with pytest.raises(Conflict, match="retried before"):
        await world.dead_letters.discard(bia, retried)


async def test_of_a_send_that_failed_again_only_the_newer_dead_letter_is_retried(world: World, bia: Principal) -> None:
    refused = Refused("63016", "outside the window", "unreachable")
    world.channel.will(refused, refused)
    sid = await world.says("oi")
    [first] = await world.dead()
    await world.dead_letters.retry(bia, first.id)
    await world.passes(2)
    [second] = await world.dead()
    assert await world.dead_letters.retry(bia, first.id) == ReplayRefused(first.id, "it was retried before")
    assert isinstance(await world.dead_letters.retry(bia, second.id), Replayed)
    await world.passes(2)
    assert (world.sent_texts(), await world.outcome_of(sid)) == (["echo: oi"], "answered")


async def test_a_waiting_job_can_be_discarded(world: World, bia: Principal) -> None:
    sid = await world.receives("oi")
    [row] = await world.rows("SELECT id FROM message_queue")
    await world.dead_letters.discard(bia, world.uuid(row["id"]))
    await world.passes(10)
    assert (await world.outcome_of(sid), world.sent_texts()) == ("suppressed:discarded", [])
    assert [action for _, action, _ in await deeds(world)] == ["job.discarded"]


async def test_another_owner_has_none_of_it(world: World, reading: DeadLetterReading) -> None:
    _, letter = await dead_letter(world)
    form = Registration("Floricultura", "dono@floricultura.example", "rosas às sete")
    stranger = admin_of((await world.owners.register_organization(form)).owner_id)
    for act in (world.dead_letters.retry, world.dead_letters.discard):
        with pytest.raises(NotFound):
            await act(stranger, letter)
    with pytest.raises(NotFound):
        await reading.one(stranger.owner_id, letter)
    assert (await reading.page(stranger.owner_id)).items == []
    assert [job.id for job in await world.dead()] == [letter]


async def test_a_job_of_the_installation_is_handled_by_its_operator_only(world: World, bia: Principal) -> None:
    now = world.clock.now()
    job = NewJob(world.ids.new(), "sweep.turns", SYSTEM_OWNER, now, now)
    await world.queue.enqueue([job])
    await world.breaks("UPDATE message_queue SET status = 'dead' WHERE id = :id", id=job.id)
    with pytest.raises(NotFound):
        await world.dead_letters.discard(bia, job.id)
    await world.dead_letters.discard(operator_of(SYSTEM_OWNER, "rita"), job.id)
    [row] = await world.rows("SELECT handled_by FROM message_queue WHERE id = :id", id=job.id)
    assert (row["handled_by"], await deeds(world)) == ("cli:rita", [])


class TestTheList:
    async def test_says_what_each_was_about(self, world: World, reading: DeadLetterReading) -> None:
        sid, letter = await dead_letter(world)
        [item] = (await reading.page(world.owner_id)).items
        assert (item.id, item.name, item.message_sid, item.error) == (
            letter,
            "conversation.reply",
            sid,
            "the model is on fire",
        )
        assert item.message_ids == [(await world.message(sid)).id]
        assert item.conversation_id == (await world.conversation()).id

    async def test_has_pages_from_the_oldest_on(self, world: World, reading: DeadLetterReading) -> None:
        letters = [(await dead_letter(world))[1] for _ in range(3)]
        first = await reading.page(world.owner_id, limit=2)
        await world.dead_letters.discard(world.rita, letters[0])
        rest = await reading.page(world.owner_id, first.next_cursor, limit=2)
        assert [item.id for item in (*first.items, *rest.items)] == letters
        assert rest.next_cursor is None

    async def test_can_be_of_one_job_name(self, world: World, reading: DeadLetterReading) -> None:
        await dead_letter(world)
        assert len((await reading.page(world.owner_id, name="conversation.reply")).items) == 1
        assert (await reading.page(world.owner_id, name="answer.send")).items == []


async def test_every_owner_s_are_retried_in_the_name_of_the_operator(world: World) -> None:
    _, letter = await dead_letter(world)
    results = [each async for each in world.dead_letters.retry_all(lambda owner: operator_of(owner, "rita"))]
    assert [each.job_id for each in results] == [letter]
    assert await deeds(world) == [("cli:rita", "dead_letter.retried", str(letter))]
