"""A slot becomes one job, however many workers look at it and whatever their clocks say."""

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select, text

from recado.bootstrap import SCHEDULES, Container, open_database
from recado.core.clock import FrozenClock
from recado.core.database.engine import Database
from recado.core.ids import SYSTEM_OWNER, UuidV7
from recado.core.queue import cron
from recado.core.queue.cron import Cron, Sweep
from recado.core.queue.job import Done
from recado.core.queue.schedules import Schedule
from recado.core.queue.service import QueueService
from recado.core.queue.tables import cron_slots
from recado.settings import Settings
from tests.world import OURS, ScriptedAgents, ScriptedChannel, World

ON_BOTH_DATABASES = True

HALF_MINUTE = Schedule("sweep.half", timedelta(seconds=30))
MINUTE = Schedule("sweep.minute", timedelta(minutes=1))


async def slots(database: Database) -> list[tuple[str, int]]:
    """What was inserted: the name, and seconds since 1970."""
    rows = await database.read(
        lambda uow: uow.all(select(cron_slots).order_by(cron_slots.c.name, cron_slots.c.slot)), owner=None
    )
    return [(row["name"], seconds(row["slot"])) for row in rows]


async def jobs(database: Database) -> Counter[str]:
    """How many jobs of each name there are."""
    statement = text("SELECT name, count(*) AS n FROM message_queue GROUP BY name")
    rows = await database.read(lambda uow: uow.all(statement), owner=None)
    return Counter({row["name"]: row["n"] for row in rows})


def seconds(moment: datetime) -> int:
    return int(moment.timestamp())


class TestSlots:
    async def test_each_is_one_job_whoever_looks_and_however_its_clock_goes(self, database: Database) -> None:
        """Twenty crons whose clocks differ by up to fifteen seconds look at the same ten minutes, in any order."""
        start, order = datetime.fromisoformat("2026-03-14T12:00:15Z"), random.Random(11)  # noqa: S311
        clocks = [FrozenClock(start + timedelta(seconds=order.uniform(-15, 15))) for _ in range(20)]
        crons = [Cron(database, clock, UuidV7(clock), [HALF_MINUTE, MINUTE]) for clock in clocks]
        made = 0
        for _ in range(60):
            for each in order.sample(crons, len(crons)):
                made += await each.insert_slots()
            for clock in clocks:
                clock.advance(timedelta(seconds=10))
        found = await slots(database)
        halves = [at for name, at in found if name == "sweep.half"]
        assert [later - earlier for earlier, later in itertools.pairwise(halves)] == [30] * 20
        assert await jobs(database) == Counter(name for name, _ in found)
        assert made == len(found) == 21 + 11

    async def test_of_one_moment_are_one_job_though_all_look_at_once(
        self, database: Database, clock: FrozenClock
    ) -> None:
        crons = [Cron(database, clock, UuidV7(clock), [HALF_MINUTE]) for _ in range(30)]
        made = await asyncio.gather(*[each.insert_slots() for each in crons])
        assert (sorted(made), await jobs(database)) == ([0] * 29 + [1], Counter({"sweep.half": 1}))

    async def test_in_a_clocks_future_are_never_inserted(self, database: Database, clock: FrozenClock) -> None:
        each = Cron(database, clock, UuidV7(clock), [HALF_MINUTE, MINUTE])
        for _ in range(50):
            clock.advance(timedelta(seconds=7))
            await each.insert_slots()
            assert max(at for _, at in await slots(database)) <= seconds(clock.now())

    async def test_that_were_missed_are_made_up_for_by_the_latest(
        self, database: Database, clock: FrozenClock, ids: UuidV7
    ) -> None:
        each = Cron(database, clock, ids, [HALF_MINUTE])
        await each.insert_slots()
        before = seconds(clock.now())
        clock.advance(timedelta(hours=3, seconds=47))
        assert await each.insert_slots() == 1
        assert [at - before for _, at in await slots(database)] == [0, 3 * 3600 + 30]

    async def test_are_looked_at_once_by_each_cron(self, database: Database, clock: FrozenClock) -> None:
        """The relay asks every second; only a new slot is worth a write."""
        each, writes = Cron(database, clock, UuidV7(clock), [HALF_MINUTE]), list[int]()
        await each.insert_slots()
        await database.write(lambda _: None, owner=None)  # The writer has told everybody of what came before.
        database.on_commit(lambda: writes.append(1))
        for _ in range(29):
            clock.advance(timedelta(seconds=1))
            assert await each.insert_slots() == 0
        await database.write(lambda _: None, owner=None)
        assert writes == []

    async def test_are_not_repeated_by_a_clock_that_goes_back(self, database: Database) -> None:
        noon = datetime.fromisoformat("2026-03-14T12:00:00Z")
        for hours in (0, 1, 0, 1):
            clock = FrozenClock(noon + timedelta(hours=hours))
            await Cron(database, clock, UuidV7(clock), [HALF_MINUTE]).insert_slots()
        assert await jobs(database) == Counter({"sweep.half": 2})

    async def test_are_forgotten_when_nobody_could_insert_them_any_more(
        self, database: Database, clock: FrozenClock, ids: UuidV7
    ) -> None:
        await Cron(database, clock, ids, [HALF_MINUTE]).insert_slots()
        await database.write(lambda uow: cron.forget_slots(uow, clock.now()), owner=None)
        assert len(await slots(database)) == 1
        await database.write(lambda uow: cron.forget_slots(uow, clock.now() + timedelta(seconds=1)), owner=None)
        assert await slots(database) == []


class TestTheirJobs:
    async def test_run_one_after_the_other_as_the_system_and_after_everything_a_customer_waits_for(
        self, database: Database, clock: FrozenClock, ids: UuidV7
    ) -> None:
        rounds: list[datetime] = []

        async def work() -> None:
            rounds.append(clock.now())

        queue = QueueService(database, clock, ids, random.Random(1), [Sweep("sweep.half", work)])  # noqa: S311
        each = Cron(database, clock, ids, [HALF_MINUTE])
        for _ in range(2):
            await each.insert_slots()
            clock.advance(timedelta(seconds=30))
        [job] = await queue.claim(10, suspects=4)
        assert (job.name, job.lane, job.owner_id) == ("sweep.half", "cron:sweep.half", SYSTEM_OWNER)
        result = await queue.handler(job.name).run(job)
        await queue.finish(job, result)
        assert (result, len(rounds)) == (Done(), 1)
        assert len(await queue.claim(10, suspects=4)) == 1

    async def test_are_all_known_to_the_product(self, database: Database, clock: FrozenClock) -> None:
        """Every schedule has its handler, and a round on an empty database comes to its end."""
        container = product(database, clock)
        assert await container.cron().insert_slots() == len(SCHEDULES)
        for job in await container.queue().claim(10, suspects=4):
            assert job.name.startswith("sweep.")
            assert await container.queue().handler(job.name).run(job) == Done()
            await container.queue().finish(job, Done())
        assert (await container.queue().stats()).waiting == 0


class TestATick:
    @pytest.fixture
    async def world(self, database: Database, clock: FrozenClock, ids: UuidV7) -> World:
        return await World.open(database, clock, ids)

    async def test_is_idempotent_though_several_run_at_once(self, world: World, clock: FrozenClock) -> None:
        """Five customers and three schedules, four timers that fire at the same moment, twice."""
        people = [type(OURS)(f"whatsapp:+55119876543{n:02}") for n in range(5)]
        for who in people:
            await world.receives("oi", who)
        clock.advance(timedelta(seconds=2))
        async with ticking(world, 4) as containers:
            first = await asyncio.gather(*[each.worker().tick(20) for each in containers])
            again = await asyncio.gather(*[each.worker().tick(20) for each in containers])
        assert sum(ticked.jobs for ticked in first) == len(SCHEDULES) + 2 * len(people)
        assert [(ticked.jobs, ticked.leases_freed) for ticked in again] == [(0, 0)] * 4
        assert [world.sent_texts(who) for who in people] == [["echo: oi"]] * 5
        assert (await world.verify()).violations == []


def product(database: Database, clock: FrozenClock) -> Container:
    """The whole product over a database of a test's."""
    settings = Settings(database_url=database.url, public_url="https://bot.example", secret_key=bytes(32))
    container = Container(settings=settings)
    container.clock.override(clock)
    container.database.override(database)
    return container


@asynccontextmanager
async def ticking(world: World, count: int) -> AsyncIterator[Sequence[Container]]:
    """Processes of their own, as far as the database can tell, in front of the world's provider and agent."""
    databases = [open_database(world.database.url) for _ in range(count)]
    containers = [product(each, world.clock) for each in databases]
    agents, channel = ScriptedAgents(), world.channel
    assert isinstance(channel, ScriptedChannel)
    for container in containers:
        container.agents.override(agents)
        container.channel.override(channel)
    yield containers
    for container in containers:
        container.heartbeat().close()
        await container.database().close()
