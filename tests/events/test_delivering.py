"""Events reach an endpoint at least once, each customer's in order, and a bad endpoint holds up nobody."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TypeVar
from uuid import UUID

import pytest

from recado.core.database.engine import Database
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.errors import InvalidInput
from recado.core.event_log.models import Event, NewEvent
from recado.core.event_log.numbering import Numbering
from recado.core.event_log.repository import append
from recado.core.queue.lane import Lane, job_lane
from recado.core.queue.storage import inspection
from recado.events.errors import EndpointFull, TooManyEndpoints
from recado.events.fanout import PAGE, Fanout
from recado.events.models import AT_ONCE, BREAKS_AFTER, MOST_ENDPOINTS, MOST_WAITING, TRIED_FOR, Endpoint, PostResult
from recado.events.reading import EndpointReading
from recado.events.service import NewEndpoint
from recado.operations.pruning import KEEP_EVENTS, Pruning
from tests.conversation.test_waiting_transactions import WaitingDatabase
from tests.world import ANA, BRUNO, World

ON_BOTH_DATABASES = True

T = TypeVar("T")
FAILS = PostResult(500, "it answered 500")


async def happens(world: World, *lanes: Lane) -> Sequence[UUID]:
    """Something that is told happens in each of some lanes, one after the other."""
    ids = []
    for lane in lanes:
        event = NewEvent(world.ids.new(), world.owner_id, "message.received", lane, world.clock.now())
        await world.database.write(partial(append, new=[event]), owner=None)
        ids.append(event.id)
    await world.publisher.step()
    return ids


def lane_of(world: World) -> Lane:
    return job_lane(world.ids.new())


def posted(world: World) -> list[UUID]:
    return [each.event.id for each in world.endpoint.posted]


async def now(world: World, endpoint: Endpoint) -> Endpoint:
    return await EndpointReading(world.database).require(world.owner_id, endpoint.id)


async def states(world: World, endpoint: Endpoint) -> list[str]:
    page = await EndpointReading(world.database).deliveries(world.owner_id, endpoint.id, limit=500)
    return [each.state for each in reversed(page.items)]


async def test_a_conversation_is_delivered_in_order_once(world: World, endpoint: Endpoint) -> None:
    await world.says("oi")
    await world.publisher.step()
    await world.work()
    assert [each.event.type for each in world.endpoint.posted] == [
        "message.received",
        "conversation.opened",
        "message.sent",
        "outcome.decided",
    ]
    await world.publisher.step()
    await world.passes(60)
    assert len(world.endpoint.posted) == 4
    assert await states(world, endpoint) == ["delivered"] * 4


async def test_what_happened_before_it_was_added_is_not_sent(world: World) -> None:
    await happens(world, lane_of(world))
    await world.endpoints.add(world.rita, NewEndpoint("https://crm.example/events"))
    [later] = await happens(world, lane_of(world))
    await world.work()
    assert posted(world) == [later]


async def test_only_the_types_it_wants_are_sent(world: World) -> None:
    form = NewEndpoint("https://crm.example/events", ["outcome.decided"])
    await world.endpoints.add(world.rita, form)
    await world.says("oi")
    await world.publisher.step()
    await world.work()
    assert [each.event.type for each in world.endpoint.posted] == ["outcome.decided"]


@pytest.mark.usefixtures("endpoint")
async def test_each_of_several_endpoints_gets_it(world: World) -> None:
    await world.endpoints.add(world.rita, NewEndpoint("https://erp.example/events"))
    await happens(world, lane_of(world))
    await world.work()
    assert {each.url for each in world.endpoint.posted} == {"https://crm.example/events", "https://erp.example/events"}


@pytest.mark.usefixtures("endpoint")
async def test_a_failed_one_is_tried_again_and_holds_up_its_customer_only(world: World) -> None:
    ana, bruno = lane_of(world), lane_of(world)
    first, second, other = await happens(world, ana, ana, bruno)
    world.endpoint.refuses = lambda event: event.id == first
    await world.work()
    assert set(posted(world)) == {first, other}
    await world.passes(60)
    assert set(posted(world)[2:]) == {first}, "the second waits for it"
    world.endpoint.refuses = lambda _: False
    await world.passes(600)
    assert posted(world)[-2:] == [first, second]


@pytest.mark.usefixtures("endpoint")
async def test_no_more_than_four_are_sent_at_a_time_by_any_number_of_workers(world: World) -> None:
    await happens(world, *(lane_of(world) for _ in range(20)))
    world.endpoint.meanwhile = lambda: asyncio.sleep(0.01)

    async def worker() -> None:
        while claims := await world.queue.claim(16, max_isolated=0):
            await asyncio.gather(*(world._attempt(claim) for claim in claims))

    while len(world.endpoint.posted) < 20:
        await asyncio.gather(worker(), worker(), worker())
        world.clock.advance(timedelta(seconds=2))
    assert 1 < world.endpoint.most_at_once <= AT_ONCE
    assert len(set(posted(world))) == 20


@pytest.mark.usefixtures("endpoint")
async def test_an_endpoint_that_fails_is_left_alone_but_for_a_trial(world: World) -> None:
    world.endpoint.always = FAILS
    await happens(world, *(lane_of(world) for _ in range(50)))
    await world.passes(120)
    in_two_minutes = len(world.endpoint.posted)
    assert BREAKS_AFTER <= in_two_minutes <= BREAKS_AFTER + 4
    [row] = await world.rows("SELECT count(*) AS n FROM message_queue WHERE name = 'event.deliver'")
    assert row["n"] <= BREAKS_AFTER + AT_ONCE, "what cannot be sent waits in the log, not in the queue"


@pytest.mark.usefixtures("endpoint")
async def test_an_endpoint_that_is_well_again_gets_everything_in_order(world: World) -> None:
    lanes = [lane_of(world) for _ in range(6)]
    world.endpoint.always = FAILS
    happened = await happens(world, *lanes, *lanes, *lanes)
    await world.passes(3_600)
    world.endpoint.always = None
    world.endpoint.posted.clear()
    await world.passes(7_200)
    by_lane: dict[Lane, list[Event]] = defaultdict(list)
    for each in world.endpoint.posted:
        by_lane[each.event.lane].append(each.event)
    assert sorted(posted(world)) == sorted(happened)
    assert all(
        [each.number for each in events] == sorted(each.number for each in events) for events in by_lane.values()
    )


async def test_after_three_days_it_is_switched_off_and_the_others_are_told(world: World, endpoint: Endpoint) -> None:
    other = (await world.endpoints.add(world.rita, NewEndpoint("https://erp.example/events"))).endpoint
    await world.endpoints.change(world.rita, other.id, types=["endpoint.disabled"])
    world.endpoint.refuses = lambda event: event.type == "message.received"
    await happens(world, lane_of(world))
    await world.passes(TRIED_FOR.total_seconds() - 3_600)
    assert (await now(world, endpoint)).disabled_at is None
    await world.passes(3 * 3_600)
    found = await now(world, endpoint)
    assert (found.disabled_at is not None, found.disabled_reason) == (True, "failing")
    assert await states(world, endpoint) == ["failed"]
    await world.publisher.step()
    await world.work()
    assert world.endpoint.posted[-1].event.data == {"endpoint_id": str(endpoint.id), "reason": "failing"}


async def test_an_event_that_is_never_taken_is_given_up_alone(world: World, endpoint: Endpoint) -> None:
    poison = lane_of(world)
    first, second = await happens(world, poison, poison)
    world.endpoint.refuses = lambda event: event.id == first
    for _ in range(75):
        await happens(world, lane_of(world))
        await world.passes(3_600)
    assert second in posted(world)
    assert (await now(world, endpoint)).disabled_at is None


async def test_410_switches_it_off_at_once(world: World, endpoint: Endpoint) -> None:
    world.endpoint.will(PostResult(410, "it answered 410 Gone"))
    await happens(world, *(lane_of(world) for _ in range(9)))
    await world.passes(60)
    assert (await now(world, endpoint)).disabled_reason == "gone"
    assert len(world.endpoint.posted) == 1
    assert set(await states(world, endpoint)) == {"waiting"}


async def test_switched_on_again_after_a_410_it_misses_nothing(world: World, endpoint: Endpoint) -> None:
    world.endpoint.will(PostResult(410, "it answered 410 Gone"))
    ana, bruno = lane_of(world), lane_of(world)
    happened = await happens(world, ana, bruno, ana, ana)
    await world.passes(86_400)
    world.endpoint.posted.clear()
    await world.endpoints.enable(world.rita, endpoint.id)
    await world.passes(1)
    of_customers = [each.event for each in world.endpoint.posted if each.event.type == "message.received"]
    assert sorted(each.id for each in of_customers) == sorted(happened)
    assert [each.id for each in of_customers if each.lane == ana] == [happened[0], *happened[2:]]


@pytest.mark.usefixtures("endpoint")
async def test_what_waits_for_hours_is_sent_when_the_endpoint_is_well_again(world: World) -> None:
    world.endpoint.always = FAILS
    happened = await happens(world, lane_of(world), lane_of(world))
    await world.passes(6 * 3_600)
    world.endpoint.always = None
    world.endpoint.posted.clear()
    await world.passes(16 * 60)  # The longest time between two trials is a quarter of an hour.
    assert sorted(posted(world)) == sorted(happened)


@pytest.mark.usefixtures("endpoint")
async def test_one_that_is_refused_for_hours_is_not_tried_more_often_because_others_are_taken(world: World) -> None:
    [poison] = await happens(world, lane_of(world))
    world.endpoint.refuses = lambda event: event.id == poison
    for _ in range(60):
        await happens(world, lane_of(world))
        await world.passes(60)
    assert posted(world).count(poison) <= 6


async def test_switched_on_one_that_is_tried_from_time_to_time_is_tried_at_once(
    world: World, endpoint: Endpoint
) -> None:
    world.endpoint.always = FAILS
    [event] = await happens(world, lane_of(world))
    await world.passes(3_600)
    world.endpoint.always = None
    world.endpoint.posted.clear()
    await world.endpoints.enable(world.rita, endpoint.id)
    await world.passes(1)
    assert posted(world) == [event]


async def test_a_new_url_is_sent_what_waits_at_once(world: World, endpoint: Endpoint) -> None:
    world.endpoint.always = FAILS
    [event] = await happens(world, lane_of(world))
    await world.passes(86_400)
    world.endpoint.always = None
    world.endpoint.posted.clear()
    await world.endpoints.change(world.rita, endpoint.id, url="https://crm.example/new")
    await world.passes(1)
    assert [(each.event.id, each.url) for each in world.endpoint.posted] == [(event, "https://crm.example/new")]


@pytest.mark.usefixtures("endpoint")
async def test_retry_after_is_followed(world: World) -> None:
    world.endpoint.will(PostResult(429, "it answered 429", timedelta(seconds=300)))
    await happens(world, lane_of(world))
    await world.passes(299)
    assert len(world.endpoint.posted) == 1
    await world.passes(60)
    assert len(world.endpoint.posted) == 2


async def test_a_worker_that_dies_before_it_could_store_the_answer_sends_again(
    world: World, endpoint: Endpoint
) -> None:
    [event] = await happens(world, lane_of(world))
    [claim] = await world.queue.claim(1, max_isolated=0)
    await world.lease_runs_out()
    await world.work()
    handler = world.queue.handler(claim.job.name)
    await handler.run(claim)  # The dead one wakes up: its lease is lost, and what it stores changes nothing.
    await world.work()
    assert set(posted(world)) == {event}
    assert await states(world, endpoint) == ["delivered"]


@pytest.mark.usefixtures("endpoint")
async def test_waiting_for_an_endpoint_does_not_keep_a_worker_from_being_drained(world: World) -> None:
    world.endpoint.always = FAILS
    ana = lane_of(world)
    await happens(world, ana, ana)
    await world.work()
    assert await world.queue.unfinished() == 0


async def test_what_was_delivered_is_known_for_thirty_days(world: World, endpoint: Endpoint) -> None:
    await happens(world, lane_of(world))
    await world.work()
    world.endpoint.always = FAILS
    world.clock.advance(KEEP_EVENTS)
    await happens(world, lane_of(world))
    await world.work()
    pruning = Pruning(world.database, world.clock)
    await pruning.prune()
    assert await states(world, endpoint) == ["delivered", "waiting"]
    world.clock.advance(timedelta(milliseconds=1))
    await pruning.prune()
    assert await states(world, endpoint) == ["waiting"]


@pytest.mark.sqlite_only
async def test_a_customer_whose_events_are_refused_holds_up_nobody_elses(world: World, endpoint: Endpoint) -> None:
    ana, bruno = lane_of(world), lane_of(world)
    [poison] = await happens(world, ana)
    world.endpoint.refuses = lambda event: event.id == poison
    await happens(world, *[ana] * 10)
    await world.work()
    many = [
        NewEvent(world.ids.new(), world.owner_id, "message.received", ana, world.clock.now())
        for _ in range(MOST_WAITING)
    ]
    await world.database.write(partial(append, new=many), owner=None)
    await world.publisher.step()
    [other] = await happens(world, bruno)
    await world.publisher.step()
    await world.work()
    assert posted(world)[-1] == other
    assert (await now(world, endpoint)).disabled_at is None


async def test_a_long_log_is_gone_through_in_several_runs(world: World) -> None:
    form = NewEndpoint("https://crm.example/events", ["outcome.decided"])
    endpoint = (await world.endpoints.add(world.rita, form)).endpoint
    await world.endpoints.disable(world.rita, endpoint.id)
    many = [
        NewEvent(world.ids.new(), world.owner_id, "message.received", lane_of(world), world.clock.now())
        for _ in range(PAGE)
    ]
    wanted = replace(many[0], id=world.ids.new(), type="outcome.decided")
    await world.database.write(partial(append, new=[*many, wanted]), owner=None)
    await world.publisher.step()
    await world.endpoints.enable(world.rita, endpoint.id)
    assert await states(world, endpoint) == [], "a request goes one step"
    await world.publisher.step()
    assert await states(world, endpoint) == ["waiting"]


async def test_a_run_for_one_owner_goes_on_with_its_endpoints_only(world: World, endpoint: Endpoint) -> None:
    event = NewEvent(world.ids.new(), world.owner_id, "message.received", lane_of(world), world.clock.now())
    await world.database.write(partial(append, new=[event]), owner=None)
    await Numbering(world.database).run()
    await world.fanout.run({world.ids.new()})
    assert await states(world, endpoint) == []
    await world.fanout.run({world.owner_id})
    assert await states(world, endpoint) == ["waiting"]


class CountedReads(WaitingDatabase):
    """A database that counts how often it is read."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, lambda: asyncio.sleep(0))
        self._read = database.read
        self.reads = 0
        self.read = self._counted

    async def _counted(self, work: Callable[[UnitOfWork], T], *, owner: UUID | None) -> T:
        self.reads += 1
        return await self._read(work, owner=owner)


@pytest.mark.usefixtures("endpoint")
async def test_while_an_endpoint_has_no_room_commits_cost_no_reading(world: World) -> None:
    """It hangs: four are on their way, and a fifth customer waits in the log."""
    await happens(world, *(lane_of(world) for _ in range(AT_ONCE + 1)))
    counted = CountedReads(world.database)
    fanout = Fanout(counted, world.clock, world.ids)
    await fanout.run({world.owner_id})
    assert counted.reads > 0
    counted.reads = 0
    await fanout.run({world.owner_id})
    assert counted.reads == 0
    world.advance(2)
    await fanout.run({world.owner_id})
    assert counted.reads > 0


# --- What people do ---------------------------------------------------------------------------------------------------


async def test_switched_off_by_a_person_nothing_is_sent_and_on_again_it_goes_on(
    world: World, endpoint: Endpoint
) -> None:
    await world.endpoints.disable(world.rita, endpoint.id)
    happened = await happens(world, lane_of(world), lane_of(world))
    await world.passes(60)
    assert posted(world) == []
    await world.endpoints.enable(world.rita, endpoint.id)
    await world.work()
    assert posted(world) == list(happened)


async def test_replay_sends_what_happened_since_with_the_same_ids(world: World, endpoint: Endpoint) -> None:
    await happens(world, lane_of(world))
    world.advance(10)
    since = world.clock.now()
    later = await happens(world, lane_of(world), lane_of(world))
    await world.work()
    world.endpoint.posted.clear()
    await world.endpoints.replay(world.rita, endpoint.id, since=since)
    await world.work()
    assert posted(world) == list(later)


async def test_replay_begins_at_the_time_given_wherever_that_is(world: World, endpoint: Endpoint) -> None:
    moments, happened = [], list[UUID]()
    for seconds in (1, 600, 1, 86_400, 3, 1):
        world.advance(seconds)
        happened += await happens(world, lane_of(world), lane_of(world))
        moments.append((world.clock.now(), happened[-2]))
    await world.work()
    for at, first in moments:
        world.endpoint.posted.clear()
        await world.endpoints.replay(world.rita, endpoint.id, since=at)
        await world.passes(10)
        assert set(posted(world)) == set(happened[happened.index(first) :])


async def test_many_that_are_added_at_once_are_no_more_than_there_may_be(world: World) -> None:
    adding = [world.endpoints.add(world.rita, NewEndpoint("https://crm.example/")) for _ in range(MOST_ENDPOINTS + 5)]
    added = await asyncio.gather(*adding, return_exceptions=True)
    assert sum(isinstance(each, TooManyEndpoints) for each in added) == 5
    assert len(await EndpointReading(world.database).endpoints(world.owner_id)) == MOST_ENDPOINTS


async def test_one_event_is_sent_again(world: World, endpoint: Endpoint) -> None:
    first, _ = await happens(world, lane_of(world), lane_of(world))
    await world.work()
    world.endpoint.posted.clear()
    await world.endpoints.resend(world.rita, endpoint.id, first)
    await world.work()
    assert posted(world) == [first]


async def test_one_that_is_on_its_way_is_not_sent_again(world: World, endpoint: Endpoint) -> None:
    world.endpoint.always = FAILS
    [event] = await happens(world, lane_of(world))
    await world.work()
    await world.endpoints.resend(world.rita, endpoint.id, event)
    await world.endpoints.resend(world.rita, endpoint.id, event)
    assert await states(world, endpoint) == ["waiting"]


@pytest.mark.sqlite_only
async def test_no_more_are_sent_again_than_may_wait(world: World, endpoint: Endpoint) -> None:
    [first] = await happens(world, lane_of(world))
    await world.work()
    world.endpoint.always = FAILS
    ana = lane_of(world)
    await happens(world, ana)
    await world.work()
    many = [
        NewEvent(world.ids.new(), world.owner_id, "message.received", ana, world.clock.now())
        for _ in range(MOST_WAITING)
    ]
    await world.database.write(partial(append, new=many), owner=None)
    for _ in range(2):
        await world.publisher.step()
    with pytest.raises(EndpointFull):
        await world.endpoints.resend(world.rita, endpoint.id, first)


async def test_after_a_rotation_both_secrets_sign_for_a_day(world: World) -> None:
    added = await world.endpoints.add(world.rita, NewEndpoint("https://crm.example/events"))
    rotated = await world.endpoints.rotate(world.rita, added.endpoint.id)
    await happens(world, lane_of(world))
    await world.work()
    world.clock.advance(timedelta(days=1))
    await happens(world, lane_of(world))
    await world.work()
    assert [each.secrets for each in world.endpoint.posted] == [(rotated.secret, added.secret), (rotated.secret,)]


async def test_a_removed_endpoint_gets_nothing_more(world: World, endpoint: Endpoint) -> None:
    await happens(world, lane_of(world))
    await world.endpoints.remove(world.rita, endpoint.id)
    await happens(world, lane_of(world))
    await world.passes(60)
    assert posted(world) == []
    assert await world.database.read(lambda uow: inspection.unfinished(uow, world.clock.now()), owner=None) == 0


@pytest.mark.usefixtures("endpoint")
async def test_jobs_in_the_background_get_no_more_than_their_share(world: World) -> None:
    await world.endpoints.add(world.rita, NewEndpoint("https://erp.example/events"))
    await happens(world, *(lane_of(world) for _ in range(8)))
    await world.receives("oi", ANA)
    await world.receives("oi", BRUNO)
    world.advance(2)
    claims = await world.queue.claim(8, max_isolated=0, max_background=3)
    names = [claim.job.name for claim in claims]
    assert names == ["conversation.reply"] * 2 + ["event.deliver"] * 3
    assert [claim.job.name for claim in await world.queue.claim(8, max_isolated=0, max_background=0)] == []


@pytest.mark.parametrize(
    "url",
    [
        "http://crm.example/",
        "https://user:pw@crm.example/",
        "ftp://crm.example/",
        "https://127.0.0.1/x",
        "https://[::1]/",
        "https://300.1.1.1/",
        "https://[v1.a]/",
    ],
)
async def test_a_url_that_must_not_be_called_is_refused(world: World, url: str) -> None:
    with pytest.raises(InvalidInput):
        await world.endpoints.add(world.rita, NewEndpoint(url))
