"""SQLite as a database: which writes share a commit, which fail alone, and when a write counts as stored."""

import asyncio
import re
import shutil
import sys
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

import recado
from recado.core.database.inbox import INBOX_ITEMS
from recado.core.database.sqlite.connections import BATCH_SECONDS
from recado.core.database.sqlite.database import SqliteDatabase
from recado.core.database.sqlite.driver import sqlite_module
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.errors import Busy, StorageUnavailable
from tests.support.patience import PATIENCE

_INSERT = text("INSERT INTO things (value) VALUES (:value)")


class Refused(Exception):
    """An error that a unit of work raises."""


@pytest.fixture
async def things(database: SqliteDatabase) -> SqliteDatabase:
    """A database with a table for things, all of them different."""
    table = text("CREATE TABLE things (id INTEGER PRIMARY KEY, value TEXT NOT NULL UNIQUE)")
    await database.write(lambda uow: uow.execute(table).close(), owner=None)
    return database


def add(uow: UnitOfWork, value: str) -> str:
    uow.execute(_INSERT, {"value": value})
    return value


def add_all(uow: UnitOfWork, values: Sequence[str]) -> list[str]:
    """Like the frequent functions: one statement for all inputs, and so one error for all."""
    uow.execute(_INSERT, [{"value": value} for value in values])
    return list(values)


def _nothing(uow: UnitOfWork) -> None:
    uow.first(text("SELECT 1"))


def refuse(uow: UnitOfWork) -> None:
    add(uow, "half of it")
    raise Refused


async def stored(database: SqliteDatabase) -> list[str]:
    rows = await database.read(lambda uow: uow.all(text("SELECT value FROM things ORDER BY id")), owner=None)
    return [row["value"] for row in rows]


async def stored_after(database: SqliteDatabase) -> list[str]:
    """Return what is stored after all waiting writes."""
    await database.write(_nothing, owner=None)
    return await stored(database)


@asynccontextmanager
async def held_up(database: SqliteDatabase) -> AsyncIterator[None]:
    """Keep the writer busy, so that all writes made meanwhile wait together."""
    begun, go_on = threading.Event(), threading.Event()

    def wait(_uow: UnitOfWork) -> None:
        begun.set()
        go_on.wait(PATIENCE)
        threading.Event().wait(BATCH_SECONDS)  # It has held the lock long enough to be a batch of its own.

    waiting = asyncio.ensure_future(database.write(wait, owner=None))
    await asyncio.get_running_loop().run_in_executor(None, begun.wait, 10)
    try:
        yield
    finally:
        go_on.set()
        await waiting


class TestAGroupCommit:
    async def test_is_one_for_all_that_waits(self, things: SqliteDatabase) -> None:
        store = things.batched(add_all)
        commits: list[int] = []
        async with held_up(things):
            waiting = [asyncio.ensure_future(store(f"{n}")) for n in range(100)]
            await asyncio.sleep(0)
            things.on_commit(lambda: commits.append(1))

        assert await asyncio.gather(*waiting) == [f"{n}" for n in range(100)]
        await things.write(_nothing, owner=None)  # Listeners are called after the waiting futures.
        assert len(commits) == 1

    async def test_keeps_the_other_functions_of_a_batch_when_one_raises(self, things: SqliteDatabase) -> None:
        async with held_up(things):
            first = asyncio.ensure_future(things.write(lambda uow: add(uow, "first"), owner=None))
            bad = asyncio.ensure_future(things.write(refuse, owner=None))
            last = asyncio.ensure_future(things.write(lambda uow: add(uow, "last"), owner=None))
            await asyncio.sleep(0)

        assert (await first, await last) == ("first", "last")
        with pytest.raises(Refused):
            await bad
        assert await stored(things) == ["first", "last"]

    async def test_halves_a_batch_until_only_the_bad_input_fails(self, things: SqliteDatabase) -> None:
        await things.write(lambda uow: add(uow, "7"), owner=None)
        store = things.batched(add_all)
        async with held_up(things):
            waiting = [asyncio.ensure_future(store(f"{n}")) for n in range(32)]
            await asyncio.sleep(0)

        results = await asyncio.gather(*waiting, return_exceptions=True)

        assert [n for n, result in enumerate(results) if isinstance(result, BaseException)] == [7]
        assert isinstance(results[7], IntegrityError)
        assert sorted(await stored(things), key=int) == [f"{n}" for n in range(32)]

    async def test_calls_hooks_of_what_was_stored_only(self, things: SqliteDatabase) -> None:
        called: list[str] = []

        def stores(uow: UnitOfWork) -> None:
            uow.after_commit(lambda: called.append("stored"))

        def fails(uow: UnitOfWork) -> None:
            uow.after_commit(lambda: called.append("never"))
            raise Refused

        await things.write(stores, owner=None)
        with pytest.raises(Refused):
            await things.write(fails, owner=None)

        assert called == ["stored"]

    async def test_calls_listeners_only_when_something_changed(self, things: SqliteDatabase) -> None:
        rung: list[int] = []
        things.on_commit(lambda: rung.append(1))

        await things.write(_nothing, owner=None)
        await things.write(_nothing, owner=None)  # By now the first listener has been called, if it is called at all.
        assert rung == []
        await things.write(lambda uow: add(uow, "news"), owner=None)
        await things.write(_nothing, owner=None)
        assert rung == [1]


class TestWhatIsWritten:
    async def test_is_on_disk_before_any_future_is_resolved(self, things: SqliteDatabase, tmp_path: Path) -> None:
        """A copy of the files at that moment contains it, whatever becomes of this process."""
        await things.write(lambda uow: add(uow, "durable"), owner=None)

        for suffix in ("", "-wal"):
            shutil.copy(tmp_path / f"recado.db{suffix}", tmp_path / f"copy.db{suffix}")
        with closing(sqlite_module().connect(tmp_path / "copy.db")) as copy:
            assert copy.execute("SELECT value FROM things").fetchall() == [("durable",)]

    async def test_waits_for_the_disk_at_each_commit(self, things: SqliteDatabase) -> None:
        def settings(uow: UnitOfWork) -> list[object]:
            names = ("synchronous", "journal_mode", "foreign_keys", "busy_timeout")
            return [uow.execute(text(f"PRAGMA {name}")).scalar_one() for name in names]

        assert await things.write(settings, owner=None) == [2, "wal", 1, 0]

    async def test_of_a_thread_is_durable_too(self, things: SqliteDatabase) -> None:
        future = things.write_from_thread(lambda uow: add(uow, "heartbeat"))

        assert await asyncio.wrap_future(future) == "heartbeat"
        assert await stored(things) == ["heartbeat"]

    async def test_waits_still_when_the_database_is_closed(self, things: SqliteDatabase, tmp_path: Path) -> None:
        writing = asyncio.ensure_future(things.write(lambda uow: add(uow, "last words"), owner=None))
        await asyncio.sleep(0)
        await things.close()

        assert await writing == "last words"
        with pytest.raises(StorageUnavailable):
            await things.write(lambda uow: add(uow, "too late"), owner=None)
        with closing(sqlite_module().connect(tmp_path / "recado.db")) as connection:
            assert connection.execute("SELECT value FROM things").fetchall() == [("last words",)]


class TestAWriteWhoseCallerHasGone:
    async def test_is_withdrawn_only_if_it_will_be_sent_again(self, things: SqliteDatabase) -> None:
        """A webhook that was answered 503 is sent again; the results of a worker that is being stopped are not."""
        webhook, finish = things.batched(add_all, refusable=True), things.batched(add_all)
        async with held_up(things):
            writes = [
                asyncio.ensure_future(webhook("a webhook")),
                asyncio.ensure_future(finish("how a job ended")),
                asyncio.ensure_future(things.write(lambda uow: add(uow, "what Twilio said"), owner=None)),
            ]
            await asyncio.sleep(0)
            for write in writes:
                write.cancel()
        assert sorted(await stored_after(things)) == ["how a job ended", "what Twilio said"]


class TestTheLastFailure:
    async def test_is_what_the_last_write_met_until_one_is_stored(self, things: SqliteDatabase) -> None:
        [[pages]] = await things.write(lambda uow: uow.execute_raw("PRAGMA page_count"), owner=None)
        await things.write(lambda uow: uow.execute_raw(f"PRAGMA max_page_count = {pages}"), owner=None)
        with pytest.raises(StorageUnavailable):
            await things.write(lambda uow: add(uow, "x" * 100_000), owner=None)
        assert "full" in str(things.last_failure)
        await things.write(lambda uow: uow.execute_raw("SELECT 1"), owner=None)
        assert "full" in str(things.last_failure), "nothing is stored well on a full disk too"
        await things.write(lambda uow: add(uow, "small"), owner=None)
        assert things.last_failure is None

    async def test_is_none_of_a_function_s_own(self, things: SqliteDatabase) -> None:
        with pytest.raises(Refused):
            await things.write(refuse, owner=None)
        assert things.last_failure is None


class TestARead:
    async def test_cannot_write(self, things: SqliteDatabase) -> None:
        with pytest.raises(StorageUnavailable, match="readonly"):
            await things.read(lambda uow: add(uow, "sneaky"), owner=None)
        assert await stored(things) == []

    async def test_sees_one_moment(self, things: SqliteDatabase) -> None:
        looked, written = threading.Event(), threading.Event()

        def count_twice(uow: UnitOfWork) -> list[int]:
            first = len(uow.all(text("SELECT 1 FROM things")))
            looked.set()
            written.wait(PATIENCE)
            return [first, len(uow.all(text("SELECT 1 FROM things")))]

        reading = asyncio.ensure_future(things.read(count_twice, owner=None))
        await asyncio.get_running_loop().run_in_executor(None, looked.wait, 10)
        await things.write(lambda uow: add(uow, "meanwhile"), owner=None)
        written.set()

        assert await reading == [0, 0]
        assert await stored(things) == ["meanwhile"]


class TestAFullDisk:
    async def test_fails_every_member_of_its_batch_and_nothing_else(self, things: SqliteDatabase) -> None:
        await things.write(lambda uow: add(uow, "before"), owner=None)
        store = things.batched(_until_full)
        async with held_up(things):
            waiting = [asyncio.ensure_future(store(value)) for value in ("small", "x" * 3_000_000, "also small")]
            await asyncio.sleep(0)

        results = await asyncio.gather(*waiting, return_exceptions=True)

        assert [type(result) for result in results] == [StorageUnavailable] * 3
        assert "disk is full" in str(results[0])
        assert await stored(things) == ["before"]

    async def test_is_over_when_there_is_room_again(self, things: SqliteDatabase) -> None:
        with pytest.raises(StorageUnavailable):
            await things.batched(_until_full)("x" * 3_000_000)

        await things.write(lambda uow: add(uow, "y" * 3_000_000), owner=None)

        assert [len(value) for value in await stored(things)] == [3_000_000]


def _until_full(uow: UnitOfWork, values: Sequence[str]) -> list[str]:
    """The writer's connection may not let the file grow; a new connection has no such limit."""
    uow.execute(text("PRAGMA cache_size=1"))
    uow.execute(text("PRAGMA max_page_count=1"))
    return [add(uow, value) for value in values]


class TestTooMuch:
    async def test_is_refused_at_once_while_the_rest_is_stored(self, things: SqliteDatabase) -> None:
        store, outside = things.batched(add_all), things.batched(add_all, refusable=True)
        async with held_up(things):
            waiting = [asyncio.ensure_future(store(f"{n}")) for n in range(INBOX_ITEMS)]
            await asyncio.sleep(0)
            with pytest.raises(Busy):
                await outside("one too many")

        await asyncio.gather(*waiting)
        assert len(await stored(things)) == INBOX_ITEMS


class TestSeveralProcesses:
    async def test_never_see_a_locked_database(self, things: SqliteDatabase) -> None:
        processes = [
            await asyncio.create_subprocess_exec(
                sys.executable, "-c", _WRITERS, things.url, str(number), stderr=asyncio.subprocess.PIPE
            )
            for number in range(3)
        ]

        ended = await asyncio.gather(*[process.communicate() for process in processes])

        assert [process.returncode for process in processes] == [0, 0, 0], [error.decode() for _, error in ended]
        assert len(await stored(things)) == 3 * 67 * 5


_WRITERS = """
import asyncio, sys
from sqlalchemy import text
from recado.core.database.sqlite.database import SqliteDatabase

INSERT = text("INSERT INTO things (value) VALUES (:value)")

async def main(url, process):
    database = SqliteDatabase(url)

    async def write(writer):
        for turn in range(5):
            values = {"value": f"{process} {writer} {turn}"}
            await database.write(lambda uow: uow.execute(INSERT, values).close(), owner=None)

    await asyncio.gather(*[write(writer) for writer in range(67)])
    await database.close()

asyncio.run(main(*sys.argv[1:]))
"""


def test_no_process_of_ours_is_ever_forked() -> None:
    """A SQLite connection that was carried over a fork lost acknowledged rows; processes are spawned instead."""
    forks = re.compile(r"\bfork(pty)?\(|(import|from) (multiprocessing|pty)\b|ProcessPoolExecutor")
    root = Path(recado.__file__).parent

    assert [path.name for path in root.rglob("*.py") if forks.search(path.read_text(encoding="utf-8"))] == []
