"""Who follows an owner's events gets each of them once and in order, also after a reconnection."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack, aclosing
from typing import TypeAlias
from uuid import UUID

import pytest

from recado.bootstrap.databases import event_signals_of
from recado.core.database.changes import Changes
from recado.core.event_log import following as module
from recado.core.event_log import repository
from recado.core.event_log.following import EventFollowing, FollowLimits, TooManyFollowers, TooSlow
from recado.core.event_log.models import CursorUnknown, Event, NewEvent
from recado.core.event_log.numbering import Numbering
from recado.core.event_log.reading import EventReading
from recado.core.queue.lane import job_lane
from tests.support.patience import PATIENCE
from tests.world import World

ON_BOTH_DATABASES = True

Stream: TypeAlias = AsyncGenerator[Sequence[Event], None]


def following_of(world: World, limits: FollowLimits | None = None) -> EventFollowing:
    """As another process has it: it learns of commits from the database only."""
    return EventFollowing(EventReading(world.database), event_signals_of(world.database, Changes()), limits)


@pytest.fixture
def following(world: World) -> EventFollowing:
    return following_of(world)


async def happens(world: World, times: int = 1, owner_id: UUID | None = None) -> list[UUID]:
    ids = [world.ids.new() for _ in range(times)]
    owner = owner_id or world.owner_id
    new = [NewEvent(id_, owner, "message.received", job_lane(id_), world.clock.now()) for id_ in ids]
    await world.database.write(lambda uow: repository.append(uow, new), owner=None)
    await Numbering(world.database).run()
    return ids


async def read(followed: Stream, count: int) -> list[UUID]:
    found: list[UUID] = []
    async with asyncio.timeout(PATIENCE):
        while len(found) < count:
            found += [event.id for event in await anext(followed)]
    return found


@pytest.fixture
async def followed(world: World, following: EventFollowing) -> AsyncIterator[Stream]:
    """A stream that is ready."""
    async with aclosing(following.follow(world.owner_id, None)) as stream:
        assert await anext(stream) == ()
        yield stream


async def test_what_happens_from_now_on_is_given(world: World, following: EventFollowing) -> None:
    await happens(world)
    async with aclosing(following.follow(world.owner_id, None)) as stream:
        assert await anext(stream) == ()
        later = await happens(world, 3)
        assert await read(stream, 3) == later


async def test_after_a_cursor_what_was_missed_comes_first(world: World, following: EventFollowing) -> None:
    first, *missed = await happens(world, 1_203)
    async with aclosing(following.follow(world.owner_id, str(first))) as stream:
        later = await happens(world, 2)
        assert await read(stream, 1_204) == [*missed, *later]


async def test_nothing_is_missed_over_reconnections_while_things_happen(
    world: World, following: EventFollowing
) -> None:
    async def happening() -> list[UUID]:
        return [id_ for _ in range(60) for id_ in await happens(world, 3)]

    [first] = await happens(world)
    running, had = asyncio.create_task(happening()), [first]
    while len(had) < 181:
        async with aclosing(following.follow(world.owner_id, str(had[-1]))) as stream:
            had += await read(stream, min(7, 181 - len(had)))
    assert had[1:] == await running


async def test_another_owners_events_are_not_given(world: World, followed: Stream) -> None:
    await happens(world, 2, owner_id=world.ids.new())
    own = await happens(world)
    assert await read(followed, 1) == own


async def test_each_of_many_owners_is_given_its_own(world: World, following: EventFollowing) -> None:
    owners = [world.ids.new() for _ in range(7)]
    async with AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(aclosing(following.follow(owner, None))) for owner in owners]
        assert [await anext(stream) for stream in streams] == [()] * 7
        happened = [[*await happens(world, 2, owner), *await happens(world, 1, owner)] for owner in owners]
        await happens(world, 3)
        assert [await read(stream, 3) for stream in streams] == happened


async def test_who_comes_while_others_are_told_misses_nothing(world: World, following: EventFollowing) -> None:
    """One joins for each event of another owner, so some join while those are read."""
    owner = world.ids.new()
    async with aclosing(following.follow(world.owner_id, None)) as other:
        assert await anext(other) == ()
        for _ in range(25):
            async with aclosing(following.follow(owner, None)) as stream:
                assert await anext(stream) == ()
                [_, own] = await asyncio.gather(happens(world), happens(world, 2, owner))
                assert (await read(stream, 2))[-2:] == own


async def test_all_that_is_followed_ends_with_the_server(world: World, following: EventFollowing) -> None:
    had_one = asyncio.Event()

    async def everything(stream: Stream) -> list[UUID]:
        ids = []
        async for events in stream:
            ids += [event.id for event in events]
            if ids:
                had_one.set()
        return ids

    async with aclosing(following.follow(world.owner_id, None)) as stream:
        assert await anext(stream) == ()
        reading = asyncio.create_task(everything(stream))
        happened = await happens(world)
        async with asyncio.timeout(PATIENCE):
            await had_one.wait()
            following.stop()
            assert await reading == happened


async def test_one_owner_takes_no_other_s_place_and_all_together_no_more_than_there_are(world: World) -> None:
    following = following_of(world, FollowLimits(followers=3, of_one_owner=2))
    async with AsyncExitStack() as stack:
        for owner in (world.owner_id, world.owner_id, world.ids.new()):
            await anext(await stack.enter_async_context(aclosing(following.follow(owner, None))))
        for owner in (world.owner_id, world.ids.new()):
            with pytest.raises(TooManyFollowers):
                await anext(following.follow(owner, None))
    async with aclosing(following.follow(world.owner_id, None)) as again:
        assert await anext(again) == ()


async def test_a_cursor_that_is_too_old_is_refused_at_once(world: World, following: EventFollowing) -> None:
    with pytest.raises(CursorUnknown):
        await anext(following.follow(world.owner_id, str(world.ids.new())))


async def test_one_that_does_not_keep_up_is_cut_off_and_holds_up_no_other(
    world: World, following: EventFollowing, followed: Stream
) -> None:
    async with aclosing(following.follow(world.owner_id, None)) as slow:
        assert await anext(slow) == ()
        first = asyncio.create_task(read(followed, module.QUEUED + 10))
        happened = await happens(world, module.QUEUED + 10)
        assert await first == happened
        with pytest.raises(TooSlow):
            await read(slow, module.QUEUED + 11)


async def test_when_nobody_follows_nothing_runs(world: World, following: EventFollowing) -> None:
    async with aclosing(following.follow(world.owner_id, None)) as stream:
        assert await anext(stream) == ()
        assert following.is_at_work
    assert not following.is_at_work


async def test_in_quiet_times_nothing_is_given_from_time_to_time(world: World) -> None:
    following = following_of(world, FollowLimits(quiet_seconds=0.01))
    async with aclosing(following.follow(world.owner_id, None)) as stream:
        assert [await anext(stream) for _ in range(3)] == [(), [], []]
        [happened] = await happens(world)
        assert await read(stream, 1) == [happened]
