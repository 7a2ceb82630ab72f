"""A slot becomes one job, with any number of workers and any clocks."""

import asyncio
import contextlib
import itertools
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from uuid import UUID

import pytest
from sqlalchemy import select, text

from recado.bootstrap import SCHEDULES, Container, open_database
from recado.core.clock import FrozenClock
from recado.core.database.engine import Database
from recado.core.database.types import Moment
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.errors import Busy, NotFound
from recado.core.ids import SYSTEM_OWNER, UuidV7
from recado.core.queue.cron import Cron, Sweep
from recado.core.queue.job import Done
from recado.core.queue.lane import schedule_lane
from recado.core.queue.schedules import At, Schedule
from recado.core.queue.service import QueueService
from recado.core.queue.storage import slots
from recado.core.queue.storage.tables import cron_slots
from recado.settings import Settings
from tests.support.commits import all_listeners_called
from tests.world import OURS, ScriptedAgents, World

ON_BOTH_DATABASES = True

T = TypeVar("T")

HALF_MINUTE = Schedule("sweep.half", timedelta(seconds=30))
MINUTE = Schedule("sweep.minute", timedelta(minutes=1))


async def stored_slots(database: Database) -> list[tuple[str, int]]:
    """Return the slots in the table: the name, and seconds since 1970."""
    rows = await database.read(
        lambda uow: uow.all(select(cron_slots).order_by(cron_slots.c.name, cron_slots.c.slot)), owner=None
    )
    return [(row["name"], seconds(row["slot"])) for row in rows]


async def jobs(database: Database) -> Counter[str]:
    """Return the number of jobs of each name."""
    statement = text("SELECT name, count(*) AS n FROM message_queue GROUP BY name")
    rows = await database.read(lambda uow: uow.all(statement), owner=None)
    return Counter({row["name"]: row["n"] for row in rows})


def seconds(moment: datetime) -> int:
    return int(moment.timestamp())


class TestSlots:
    async def test_each_is_one_job_for_any_number_of_workers_and_clocks(self, database: Database) -> None:
        """Twenty crons with clocks up to fifteen seconds apart play the same ten minutes, in any order."""
        start, order = datetime.fromisoformat("2026-03-14T12:00:15Z"), random.Random(11)  # noqa: S311
        clocks = [FrozenClock(start + timedelta(seconds=order.uniform(-15, 15))) for _ in range(20)]
        crons = [Cron(database, clock, UuidV7(clock), [HALF_MINUTE, MINUTE]) for clock in clocks]
        made = 0
        for _ in range(60):
            for each in order.sample(crons, len(crons)):
                made += await each.insert_slots()
            for clock in clocks:
                clock.advance(timedelta(seconds=10))
        found = await stored_slots(database)
        halves = [at for name, at in found if name == "sweep.half"]
        assert [later - earlier for earlier, later in itertools.pairwise(halves)] == [30] * 20
        assert await jobs(database) == Counter(name for name, _ in found)
        assert made == len(found) == 21 + 11

    async def test_of_one_moment_are_one_job_though_all_read_at_once(
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
            assert max(at for _, at in await stored_slots(database)) <= seconds(clock.now())

    async def test_that_were_missed_are_made_up_for_by_the_latest(
        self, database: Database, clock: FrozenClock, ids: UuidV7
    ) -> None:
        each = Cron(database, clock, ids, [HALF_MINUTE])
        await each.insert_slots()
        before = seconds(clock.now())
        clock.advance(timedelta(hours=3, seconds=47))
        assert await each.insert_slots() == 1
        assert [at - before for _, at in await stored_slots(database)] == [0, 3 * 3600 + 30]

    async def test_are_read_once_by_each_cron(self, database: Database, clock: FrozenClock) -> None:
        """Maintenance asks every second; only a new slot causes a write."""
        each, writes = Cron(database, clock, UuidV7(clock), [HALF_MINUTE]), list[int]()
        await each.insert_slots()
        await all_listeners_called(database)
        database.on_commit(lambda: writes.append(1))
        for _ in range(29):
            clock.advance(timedelta(seconds=1))
            assert await each.insert_slots() == 0
        await all_listeners_called(database)
        assert writes == []

    async def test_are_not_repeated_by_a_clock_that_goes_back(self, database: Database) -> None:
        noon = datetime.fromisoformat("2026-03-14T12:00:00Z")
        hourly = Schedule("hourly", At("0 * * * *"))
        for hours in (0, 1, 0, 1):
            clock = FrozenClock(noon + timedelta(hours=hours))
            await Cron(database, clock, UuidV7(clock), [hourly]).insert_slots()
        assert await jobs(database) == Counter({"hourly": 2})

    async def test_go_on_by_a_clock_that_was_an_hour_ahead_for_an_hour(self, database: Database) -> None:
        """In a process that ran all the time, and in one that starts afterwards."""
        noon = datetime.fromisoformat("2026-03-14T12:00:00Z")
        clock = FrozenClock(noon + timedelta(hours=1))
        minutely, hourly = Schedule("minutely", timedelta(minutes=1)), Schedule("hourly", At("0 * * * *"))
        cron = Cron(database, clock, UuidV7(clock), [minutely, hourly])
        for _ in range(60):
            await cron.insert_slots()
            clock.advance(timedelta(minutes=1))
        before = await jobs(database)

        clock.advance(timedelta(hours=-1))
        other = Cron(database, clock, UuidV7(clock), [minutely, hourly])
        for _ in range(60):
            await cron.insert_slots()
            await other.insert_slots()
            clock.advance(timedelta(minutes=1))

        assert await jobs(database) - before == Counter({"minutely": 49}), "all but those of the next ten minutes"

    async def test_are_later_than_the_last_whoever_inserted_that(self, database: Database, clock: FrozenClock) -> None:
        """A clock that is behind, or was set back, repeats no slot that a faster clock has passed."""
        ahead, behind = FrozenClock(clock.now() + timedelta(seconds=61)), FrozenClock(clock.now())
        assert await Cron(database, ahead, UuidV7(ahead), [HALF_MINUTE]).insert_slots() == 1
        slow, made = Cron(database, behind, UuidV7(behind), [HALF_MINUTE]), []
        for _ in range(4):
            made.append(await slow.insert_slots())
            behind.advance(timedelta(seconds=30))
        assert (made, await jobs(database)) == ([0, 0, 0, 1], Counter({"sweep.half": 2}))

    async def test_are_forgotten_but_for_the_last_of_each_schedule(
        self, database: Database, clock: FrozenClock
    ) -> None:
        """Without it, a process that starts would take an old slot for a missed one."""
        monthly = Schedule("monthly", At("0 3 1 * *", "America/Sao_Paulo"))
        await Cron(database, clock, UuidV7(clock), [monthly, HALF_MINUTE]).insert_slots()
        for _ in range(3):
            clock.advance(timedelta(days=1))
            await Cron(database, clock, UuidV7(clock), [monthly, HALF_MINUTE]).insert_slots()
        await database.write(lambda uow: slots.forget_old(uow, clock.now()), owner=None)
        assert [name for name, _ in await stored_slots(database)] == ["monthly", "sweep.half"]
        assert await Cron(database, clock, UuidV7(clock), [monthly, HALF_MINUTE]).insert_slots() == 0

    async def test_in_a_time_zone_follow_its_clocks(self, database: Database) -> None:
        clock = FrozenClock(datetime.fromisoformat("2026-03-14T12:00:00-03:00"))
        nightly = Cron(database, clock, UuidV7(clock), [Schedule("nightly", At("0 3 * * *", "America/Sao_Paulo"))])
        for _ in range(4):
            await nightly.insert_slots()
            clock.advance(timedelta(hours=12))
        assert [f"{datetime.fromtimestamp(at, UTC):%d %H:%M}" for _, at in await stored_slots(database)] == [
            "14 06:00",
            "15 06:00",
        ]


class TestManySlots:
    """Eight workers with databases of their own, clocks that differ by minutes, and now and then one that jumps."""

    async def test_are_one_job_each(self, database: Database) -> None:
        await eight_workers(database, names=10, minutes=12)

    @pytest.mark.slow
    async def test_are_one_job_each_though_there_are_a_hundred_thousand(self, database: Database) -> None:
        assert await eight_workers(database, names=500, minutes=250) >= 100_000


async def surely(cron: Cron) -> int:
    """Insert slots as maintenance does, with another try when the database is too busy."""
    while True:
        with contextlib.suppress(Busy):
            return await cron.insert_slots()


async def eight_workers(database: Database, *, names: int, minutes: int) -> int:
    """Play it and check that each slot has exactly one job, in order. Return the number of slots."""
    order, noon = random.Random(23), datetime.fromisoformat("2026-03-14T12:00:30Z")  # noqa: S311
    own = [Schedule(f"work.{n}", timedelta(minutes=1)) for n in range(names)]
    clocks = [FrozenClock(noon + timedelta(seconds=order.uniform(-150, 150))) for _ in range(8)]
    databases = [open_database(database.url) for _ in clocks]
    crons = [Cron(each, at, UuidV7(at), own) for each, at in zip(databases, clocks, strict=True)]
    made, latest = 0, 0
    for _ in range(minutes):
        for at in clocks:
            at.advance(timedelta(minutes=1))
        mad, jump = order.choice(clocks), timedelta(seconds=order.choice((-90, 0, 90)))
        mad.advance(jump)
        latest = max(latest, *(seconds(at.now()) // 60 * 60 for at in clocks))
        made += sum(await asyncio.gather(*[surely(each) for each in order.sample(crons, len(crons))]))
        mad.advance(-jump)
    found = await stored_slots(database)
    assert await jobs(database) == Counter(name for name, _ in found)
    assert made == len(found)
    for name in {name for name, _ in found}:
        mine = [at for each, at in found if each == name]
        distances = [later - earlier for earlier, later in itertools.pairwise(mine)]
        assert max(distances[5:]) <= 180, "a clock that jumps ahead leaves out what lies between"
        assert (mine[-1], len(mine) >= minutes / 2) == (latest, True)
        assert await in_order(database, name)
    for each in databases:
        await each.close()
    return made


async def in_order(database: Database, name: str) -> bool:
    """Jobs were made in the order of their slots: `created_at` is what the clock said that inserted the slot."""
    statement = text("SELECT created_at FROM message_queue WHERE name = :name ORDER BY id").columns(created_at=Moment())
    rows = await database.read(lambda uow: uow.all(statement, {"name": name}), owner=None)
    return len(rows) == len({seconds(row["created_at"]) // 60 for row in rows})


class TestTheTable:
    async def test_is_filled_by_the_first_reader_and_read_by_the_others_now_and_then(
        self, database: Database, clock: FrozenClock
    ) -> None:
        reads = Counted(database)
        each = Cron(reads, clock, UuidV7(clock), [HALF_MINUTE])
        for _ in range(120):
            await each.insert_slots()
            clock.advance(timedelta(seconds=1))
        [row] = await database.read(lambda uow: uow.all(text("SELECT * FROM schedules")), owner=None)
        assert (row["name"], row["every_seconds"], row["time_zone"]) == ("sweep.half", 30, "UTC")
        assert reads.count <= 4

    async def test_of_one_process_is_in_force_in_the_others_within_a_minute(
        self, database: Database, clock: FrozenClock, ids: UuidV7
    ) -> None:
        worker, person = (Cron(database, clock, ids, [HALF_MINUTE]) for _ in range(2))
        await worker.insert_slots()
        await person.set("sweep.half", when=timedelta(hours=1))
        clock.advance(timedelta(minutes=1))
        assert await worker.insert_slots() == 0
        clock.advance(timedelta(hours=1))
        assert await worker.insert_slots() == 1

    async def test_can_turn_a_schedule_off_and_on_and_nothing_is_made_up_for(
        self, database: Database, clock: FrozenClock, ids: UuidV7
    ) -> None:
        worker = Cron(database, clock, ids, [HALF_MINUTE])
        await worker.insert_slots()
        listed = await worker.set("sweep.half", enabled=False)
        assert (listed.schedule.when, listed.next_slot) == (HALF_MINUTE.when, None)
        clock.advance(timedelta(hours=1, seconds=7))
        assert await worker.insert_slots() == 0
        await worker.set("sweep.half", enabled=True)
        clock.advance(timedelta(seconds=1))
        assert await Cron(database, clock, ids, [HALF_MINUTE]).insert_slots() == 0
        clock.advance(timedelta(minutes=1))
        assert await worker.insert_slots() == 1

    async def test_can_be_listed_with_the_last_and_the_next_slot(self, database: Database, clock: FrozenClock) -> None:
        each = Cron(database, clock, UuidV7(clock), [HALF_MINUTE, MINUTE])
        assert [(listed.last_slot, listed.schedule) for listed in await each.list()] == [
            (None, HALF_MINUTE),
            (None, MINUTE),
        ]
        begins = clock.now()
        await each.insert_slots()
        clock.advance(timedelta(seconds=10))
        [half, whole] = await each.list()
        assert (half.last_slot, half.next_slot) == (begins, begins + timedelta(seconds=30))
        assert (whole.last_slot, whole.next_slot) == (begins, begins + timedelta(minutes=1))

    async def test_gives_a_job_now_to_who_asks(self, database: Database, clock: FrozenClock, ids: UuidV7) -> None:
        each = Cron(database, clock, ids, [HALF_MINUTE])
        await each.insert_slots()
        await each.run("sweep.half")
        assert (await jobs(database), len(await stored_slots(database))) == (Counter({"sweep.half": 2}), 1)
        with pytest.raises(NotFound, match="recado cron list"):
            await each.run("sweep.hälfte")
        with pytest.raises(NotFound, match="recado cron list"):
            await each.set("sweep.hälfte", enabled=False)


class Counted:
    """A database that counts who reads it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.count = 0
        self.url = database.url
        self.last_failure = database.last_failure
        self.write = database.write
        self.batched = database.batched
        self.write_from_thread = database.write_from_thread
        self.on_commit = database.on_commit
        self.close = database.close

    async def read(self, work: Callable[[UnitOfWork], T], *, owner: UUID | None) -> T:
        self.count += 1
        return await self._database.read(work, owner=owner)


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
        [claim] = await queue.claim(10, max_isolated=4)
        job = claim.job
        assert (job.name, job.lane, job.owner_id) == ("sweep.half", schedule_lane("sweep.half"), SYSTEM_OWNER)
        result = await queue.handler(job.name).run(claim)
        await queue.finish(claim, result)
        assert (result, len(rounds)) == (Done(), 1)
        assert len(await queue.claim(10, max_isolated=4)) == 1

    async def test_are_all_known_to_the_product(self, database: Database, clock: FrozenClock) -> None:
        """Every schedule has its handler, and its job succeeds on an empty database."""
        container = product(database, clock)
        assert await container.cron().insert_slots() == len(SCHEDULES)
        for claim in await container.queue().claim(10, max_isolated=4):
            assert await container.queue().handler(claim.job.name).run(claim) == Done()
            await container.queue().finish(claim, Done())
        assert (await container.queue().stats()).waiting == 0


class TestABoundedRun:
    @pytest.fixture
    async def world(self, database: Database, clock: FrozenClock, ids: UuidV7) -> World:
        return await World.open(database, clock, ids)

    async def test_is_idempotent_though_several_run_at_once(self, world: World, clock: FrozenClock) -> None:
        """Five customers and all schedules, ten timers at the same moment, twice, and again a minute later."""
        people = [type(OURS)(f"whatsapp:+55119876543{n:02}") for n in range(5)]
        for who in people:
            await world.receives("oi", who)
        clock.advance(timedelta(seconds=2))
        async with ticking(world, 10) as containers:
            first = await asyncio.gather(*[each.worker().run_bounded(20) for each in containers])
            again = await asyncio.gather(*[each.worker().run_bounded(20) for each in containers])
            clock.advance(timedelta(minutes=1))
            later = await asyncio.gather(*[each.worker().run_bounded(20) for each in containers])
        made = Counter(name for name, _ in await stored_slots(world.database))
        assert {name: n for name, n in (await jobs(world.database)).items() if name in made} == made
        assert sum(report.jobs for report in later) == 3, "the jobs of every half and whole minute"
        assert sum(report.jobs for report in first) == len(SCHEDULES) + 2 * len(people)
        assert [(report.jobs, report.leases_freed) for report in again] == [(0, 0)] * 10
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
    agents = ScriptedAgents()
    for container in containers:
        container.agents.override(agents)
        container.channels.override(world.channels)
    yield containers
    for container in containers:
        container.heartbeat().close()
        await container.database().close()
