"""What happens is told once, in the transaction that makes it happen, and a reader misses nothing."""

import asyncio
import threading
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import pytest

from recado.conversation.errors import AgentFailed
from recado.conversation.ports import HandOff, Refused
from recado.core.database.unit_of_work import STEP, UnitOfWork
from recado.core.errors import InvalidInput
from recado.core.event_log import repository
from recado.core.event_log.models import CursorUnknown, Event, NewEvent
from recado.core.event_log.numbering import Numbering
from recado.core.event_log.reading import EventReading
from recado.core.queue.lane import Lane, job_lane
from recado.operations.pruning import KEEP_EVENTS, Pruning
from tests.world import BRUNO, World

ON_BOTH_DATABASES = True


async def told(world: World, after: str | None = None, owner_id: UUID | None = None) -> Sequence[Event]:
    """The owner's events after a cursor, all pages of them."""
    await Numbering(world.database).run()
    reading, found = EventReading(world.database), list[Event]()
    while True:
        page = await reading.page(owner_id or world.owner_id, after=after, limit=3)
        found += page.items
        if page.next_cursor is None:
            return found
        after = page.next_cursor


def types(events: Sequence[Event]) -> list[str]:
    return [event.type for event in events]


def event(world: World, lane: Lane | None = None, owner_id: UUID | None = None) -> NewEvent:
    id_ = world.ids.new()
    return NewEvent(id_, owner_id or world.owner_id, "message.received", lane or job_lane(id_), world.clock.now())


async def given(world: World, *new: NewEvent) -> None:
    await world.database.write(lambda uow: repository.append(uow, new), owner=None)


async def test_a_conversation_is_told_from_its_first_message_to_its_end(world: World) -> None:
    sid = await world.says("oi")
    events = await told(world)
    assert types(events) == ["message.received", "conversation.opened", "message.sent", "outcome.decided"]
    message, conversation = await world.message(sid), await world.conversation()
    assert {each.lane for each in events} == {world.lane_of()}
    assert [each.conversation_id for each in events] == [None, conversation.id, conversation.id, conversation.id]
    assert events[0].data == {"message_id": str(message.id), "number_id": str(world.address_id), "kind": "text"}
    assert events[-1].data == {
        "message_id": str(message.id),
        "outcome": "answered",
        "answer_id": str(message.answered_by),
    }


async def test_each_message_of_a_burst_has_its_outcome(world: World) -> None:
    await world.receives("oi")
    await world.says("tudo bem?")
    outcomes = [each.data["outcome"] for each in await told(world) if each.type == "outcome.decided"]
    assert outcomes == ["superseded", "answered"]


async def test_who_may_speak_is_told_and_by_whom_it_was_decided(world: World) -> None:
    world.agents.will(HandOff("wants a person"))
    await world.says("oi")
    await world.take()
    await world.person_says("olá")
    await world.passes(1)
    await world.release()
    of_holders = {"conversation.handed_off": "agent", "conversation.taken": "person", "conversation.released": "person"}
    found = [(each.type, each.data["by"]) for each in await told(world) if each.type in of_holders]
    assert found == list(of_holders.items())


async def test_a_later_outcome_names_the_one_before(world: World) -> None:
    world.agents.will(HandOff("wants a person"))
    await world.says("oi")
    await world.person_says("olá")
    await world.passes(1)
    decided = [each.data for each in await told(world) if each.type == "outcome.decided"]
    assert [(each["outcome"], each.get("before")) for each in decided] == [
        ("handed_off", None),
        ("answered", "handed_off"),
    ]


async def test_a_refused_answer_and_its_dead_letter_are_told(world: World) -> None:
    world.channel.will(Refused("63016", "outside the window", "window_closed"))
    await world.says("oi")
    events = {each.type: each for each in await told(world)}
    assert events["delivery.failed"].data["reason"] == "window_closed"
    assert events["outcome.decided"].data["reason"] == "window_closed"


async def test_a_dead_letter_is_told_under_the_lane_of_its_customer(world: World) -> None:
    world.agents.will(*[AgentFailed("no model")] * 3)
    await world.receives("oi")
    await world.passes(120)
    [dead] = await world.dead()
    [found] = [each for each in await told(world) if each.type == "dead_letter.created"]
    assert found.data == {"job_id": str(dead.id), "name": "conversation.reply", "turn_id": str(dead.turn_id)}
    assert found.lane == world.lane_of()


async def test_what_was_accepted_and_did_not_arrive_is_told_once(world: World) -> None:
    await world.says("oi")
    [taken] = world.channel.taken
    for status in ("undelivered", "undelivered"):
        await world.calls_back(taken, status, error="30003")
    [found] = [each for each in await told(world) if each.type == "delivery.failed"]
    assert (found.data["reason"], found.data["error_code"]) == ("undelivered", "30003")


async def test_no_text_and_no_number_is_in_an_event(world: World) -> None:
    await world.says("meu CPF é 123")
    await world.receives("STOP", BRUNO)
    stored = str(await world.rows("SELECT * FROM events"))
    assert "CPF" not in stored
    assert "55119" not in stored


# --- The order, and nothing missed ------------------------------------------------------------------------------------


async def test_what_is_rolled_back_was_not_told(world: World) -> None:
    def fails(uow: UnitOfWork) -> None:
        repository.append(uow, [event(world)])
        raise InvalidInput("not today")

    with pytest.raises(InvalidInput):
        await world.database.write(fails, owner=None)
    assert await told(world) == []


async def test_a_transaction_that_commits_late_is_read_after_those_that_were_quicker(world: World) -> None:
    """On SQLite the quick one waits for the slow one; on PostgreSQL it overtakes it."""
    stored, go_on = threading.Event(), threading.Event()
    slow, quick = event(world), event(world)

    def slowly(uow: UnitOfWork) -> None:
        repository.append(uow, [slow])
        stored.set()
        go_on.wait(10)

    begun = asyncio.create_task(world.database.write(slowly, owner=None))
    await asyncio.to_thread(stored.wait, 10)
    if world.database.url.startswith("sqlite"):
        go_on.set()
    await given(world, quick)
    first = await told(world)
    go_on.set()
    await begun
    rest = await told(world, after=str(first[-1].id))
    both = [each.id for each in (*first, *rest)]
    assert sorted(both) == sorted([slow.id, quick.id])
    assert len(both) == 2


async def test_events_of_a_lane_are_in_the_order_of_storing_whatever_their_ids_say(world: World) -> None:
    lane = job_lane(world.ids.new())
    later, earlier = event(world, lane), event(world, lane)
    await given(world, earlier)
    await given(world, later)
    assert [each.id for each in await told(world)] == [earlier.id, later.id]


async def test_many_events_are_numbered_in_steps(world: World) -> None:
    many = [event(world) for _ in range(STEP + 7)]
    await given(world, *many)
    assert [each.id for each in await told(world)] == [each.id for each in many]


async def test_two_that_number_at_once_give_no_number_twice(world: World) -> None:
    await given(world, *(event(world) for _ in range(300)))
    await asyncio.gather(*(Numbering(world.database).run() for _ in range(4)))
    numbers = [each.number for each in await told(world)]
    assert numbers == sorted(set(numbers))
    assert len(numbers) == 300


# --- Cursors ----------------------------------------------------------------------------------------------------------


async def test_another_owners_events_are_neither_read_nor_a_cursor(world: World) -> None:
    other = world.ids.new()
    await given(world, theirs := event(world, owner_id=other), event(world))
    assert [each.owner_id for each in await told(world)] == [world.owner_id]
    with pytest.raises(CursorUnknown):
        await told(world, after=str(theirs.id))
    assert [each.id for each in await told(world, owner_id=other)] == [theirs.id]


@pytest.mark.parametrize("cursor", ["", "1", "x" * 200])
async def test_a_text_that_is_no_cursor_is_refused(world: World, cursor: str) -> None:
    with pytest.raises(InvalidInput):
        await told(world, after=cursor)


async def test_events_are_kept_for_thirty_days_and_the_newest_for_ever(world: World) -> None:
    await given(world, *(event(world) for _ in range(3)))
    before = await told(world)
    world.clock.advance(KEEP_EVENTS + timedelta(seconds=1))
    assert (await Pruning(world.database, world.clock).prune()).events == 2
    with pytest.raises(CursorUnknown):
        await told(world, after=str(before[0].id))
    await given(world, new := event(world))
    assert [each.id for each in await told(world)] == [before[-1].id, new.id]
    assert (await Pruning(world.database, world.clock).prune()).events == 1
