"""Numbers are given under a lock, to its very end: what commits meanwhile comes after what has a number."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial

import pytest

from recado.core.clock import FrozenClock
from recado.core.database.changes import Changes
from recado.core.database.postgres.database import PostgresDatabase
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.event_log import repository
from recado.core.event_log.numbering import Numbering
from recado.core.event_log.reading import EventReading
from recado.core.ids import UuidV7
from recado.events.publishing import EventPublisher
from tests.core.event_log.test_log import event
from tests.support.patience import PATIENCE
from tests.world import World


@pytest.fixture
async def world(postgres_database: PostgresDatabase, clock: FrozenClock, ids: UuidV7) -> World:
    return await World.open(postgres_database, clock, ids)


class Held:
    """A transaction that has done its work and does not commit until it may."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._done, self._may_commit = threading.Event(), threading.Event()

    async def begin(self, work: Callable[[UnitOfWork], object]) -> None:
        def held(uow: UnitOfWork) -> None:
            work(uow)
            self._done.set()
            self._may_commit.wait(PATIENCE)

        self._writing = asyncio.create_task(self._world.database.write(held, owner=None))
        assert await asyncio.to_thread(self._done.wait, PATIENCE)

    async def commit(self) -> None:
        self._may_commit.set()
        await self._writing


async def somebody_waits(world: World) -> None:
    """Return when a transaction waits for another one."""
    waiting: list[object] = []
    while not waiting:
        waiting = list(
            await world.rows("""SELECT 1 FROM pg_locks JOIN pg_stat_activity USING (pid)
            WHERE NOT granted AND datname = current_database()""")
        )


async def test_what_commits_while_numbers_are_given_comes_after_what_has_one(world: World) -> None:
    """The slow transaction has its place in the order of storing before the quick one, and commits after it."""
    slow, quick = event(world), event(world)
    storing, numbering = Held(world), Held(world)
    async with asyncio.timeout(PATIENCE), AsyncExitStack() as stack:
        for held in (storing, numbering):
            stack.push_async_callback(held.commit)
        await storing.begin(partial(repository.append, new=[slow]))
        await world.database.write(partial(repository.append, new=[quick]), owner=None)
        await numbering.begin(repository.number_new)
        await storing.commit()
        second = asyncio.create_task(Numbering(world.database).run())
        await somebody_waits(world)
        await numbering.commit()
        await second
    page = await EventReading(world.database).page(world.owner_id)
    assert [each.id for each in page.items] == [quick.id, slow.id], "a reader may have read the quick one already"


async def test_a_server_numbers_what_a_process_without_a_publisher_has_stored(world: World) -> None:
    stored, reading = event(world), EventReading(world.database)
    publisher = EventPublisher(Numbering(world.database), world.fanout, Changes())
    publisher.start()
    await world.database.write(partial(repository.append, new=[stored]), owner=None)
    async with asyncio.timeout(PATIENCE):
        while not (page := await reading.page(world.owner_id)).items:
            """It looks once a second."""
    await publisher.aclose()
    assert [each.id for each in page.items] == [stored.id]
