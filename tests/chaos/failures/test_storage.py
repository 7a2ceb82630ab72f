"""A disk that is full, a write that fails and a file that somebody else holds: 503 or 200, and nothing half stored."""

import asyncio
import resource
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from recado.core.clock import FrozenClock
from recado.core.database.engine import Database
from recado.core.database.sqlite.database import SqliteDatabase
from recado.core.database.sqlite.driver import sqlite_module
from recado.core.errors import StorageUnavailable
from recado.core.ids import UuidV7
from tests.end_to_end.webhooks import Hook, lines, post
from tests.support.patience import PATIENCE
from tests.support.processes import BAKERY, Road, customer
from tests.world import ANA, World


@pytest.fixture
async def world(database: SqliteDatabase, clock: FrozenClock, ids: UuidV7) -> World:
    return await World.open(database, clock, ids)


def integrity(file: Path) -> list[tuple[str]]:
    with closing(sqlite_module().connect(file, timeout=PATIENCE)) as connection:
        found: list[tuple[str]] = connection.execute("PRAGMA integrity_check").fetchall()
        return found


def file_of(database: Database) -> Path:
    return Path(database.url.removeprefix("sqlite:///"))


class TestAFullDatabase:
    async def test_refuses_what_does_not_fit_and_goes_on_when_there_is_room(self, world: World) -> None:
        """The writer's connection may use no further page; a fresh one, which it opens after the error, may."""
        told = [await world.receives("antes")]
        [row] = await world.rows("PRAGMA page_count")
        await world.breaks(f"PRAGMA max_page_count = {row['page_count'] + 2}")
        with pytest.raises(StorageUnavailable, match="full"):
            for number in range(200):
                told += [await world.receives(f"oi {number} " + "x" * 900)]
        told.append(await world.receives("depois"))
        await world.passes(20)
        assert set(await world.outcomes_of(*told)) <= {"answered", "superseded"}
        [stored] = await world.rows("SELECT count(*) AS n FROM messages")
        assert stored["n"] == len(told), "what was refused left nothing behind"
        assert (integrity(file_of(world.database)), (await world.verify()).violations) == ([("ok",)], [])

    async def test_fails_everybody_who_shared_the_commit(self, world: World) -> None:
        [row] = await world.rows("PRAGMA page_count")
        await world.breaks(f"PRAGMA max_page_count = {row['page_count']}")
        big = [world.receives(f"{n} " + "x" * 5_000, type(ANA)(f"whatsapp:+5511987{n:06}")) for n in range(30)]
        results = await asyncio.gather(*big, return_exceptions=True)
        refused = [each for each in results if isinstance(each, StorageUnavailable)]
        [stored] = await world.rows("SELECT count(*) AS n FROM messages")
        assert len(refused) >= 1
        assert stored["n"] == len(results) - len(refused)


class TestAHeldDatabase:
    """Another process is in the middle of something: `BEGIN EXCLUSIVE` and no end of it for a while."""

    async def test_is_waited_for(self, world: World, database: SqliteDatabase) -> None:
        with closing(database.open_connection()) as other:
            other.execute("BEGIN EXCLUSIVE")
            asyncio.get_running_loop().call_later(0.3, other.execute, "ROLLBACK")
            sid = await world.receives("oi")
        await world.passes(2)
        assert await world.outcome_of(sid) == "answered"


@pytest.fixture
def road(tmp_path: Path) -> Iterator[Road]:
    with Road.open(tmp_path) as road:
        road.serve()
        yield road


@pytest.mark.slow
class TestARealServer:
    def test_answers_503_on_a_full_disk_and_recovers_by_itself(self, road: Road) -> None:
        """No file of the process may grow: to SQLite that is a failing write. Any user may do that to their own."""
        hooks = [Hook.of(road, BAKERY, customer(n), f"oi {n}") for n in range(30)]
        told = [hook for hook in hooks[:10] if post(road, hook) == 200]
        assert len(told) == 10
        soft, hard = resource.prlimit(road.api.pid, resource.RLIMIT_FSIZE)
        full = (road.directory / "recado.db-wal").stat().st_size
        resource.prlimit(road.api.pid, resource.RLIMIT_FSIZE, (full, hard))
        assert [post(road, hook) for hook in hooks[10:20]] == [503] * 10
        assert [road.rows_of(hook.sid) for hook in hooks[:20]] == [1] * 10 + [0] * 10
        resource.prlimit(road.api.pid, resource.RLIMIT_FSIZE, (soft, hard))
        assert [post(road, hook) for hook in hooks[10:]] == [200] * 20, "Twilio tries again, and there is room"
        assert integrity(road.directory / "recado.db") == [("ok",)]
        worker = road.worker(drain=True)
        assert worker.ends() == 0, worker.said
        assert road.verified().outcomes == {"answered": 30}

    def test_a_worker_on_a_full_disk_sends_nothing_twice(self, road: Road) -> None:
        for n in range(10):
            assert post(road, Hook.of(road, BAKERY, customer(n), f"oi {n}")) == 200
        worker = road.worker()
        road.answers_to(customer(0))
        soft, hard = resource.prlimit(worker.pid, resource.RLIMIT_FSIZE)
        full = (road.directory / "recado.db-wal").stat().st_size
        resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (full, hard))
        for n in range(10, 20):
            assert post(road, Hook.of(road, BAKERY, customer(n), f"oi {n}")) == 200
        assert worker.lives, worker.said
        resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (soft, hard))
        road.quiet(accepted=20)
        heard = sorted((each.to, each.body) for each in road.answers())
        assert heard == sorted((customer(n), f"echo: oi {n}") for n in range(20))
        assert road.verified().outcomes == {"answered": 20}

    def test_waits_three_seconds_for_a_database_that_another_process_holds(self, road: Road) -> None:
        hook = Hook.of(road, BAKERY, customer(1), "oi")
        with closing(sqlite_module().connect(road.directory / "recado.db", isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            status = asyncio.run(_post_meanwhile(road, hook, other, 3.0))
        assert (status, road.rows_of(hook.sid)) == (200, 1)

    def test_answers_503_when_it_is_held_too_long(self, road: Road) -> None:
        hook = Hook.of(road, BAKERY, customer(1), "oi")
        with closing(sqlite_module().connect(road.directory / "recado.db", isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            assert post(road, hook) == 503
            other.execute("ROLLBACK")
        assert road.rows_of(hook.sid) == 0
        assert (post(road, hook), road.rows_of(hook.sid)) == (200, 1)


async def _post_meanwhile(road: Road, hook: Hook, other: sqlite3.Connection, seconds: float) -> int | None:
    asyncio.get_running_loop().call_later(seconds, other.execute, "ROLLBACK")
    async with lines(road, 1) as [line]:
        return await line.post(hook)
