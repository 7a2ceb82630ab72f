"""SQLite's log is copied into the file while the writer works, and neither waits for the other."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from recado.core.database.sqlite.checkpoints import (
    FOLLOWING_PAGES,
    LONG_PAGES,
    LONGEST_PAGES,
    PAGES,
    Checkpoints,
    is_due,
)
from recado.core.database.sqlite.database import SqliteDatabase
from recado.core.database.sqlite.driver import sqlite_module
from recado.core.database.unit_of_work import UnitOfWork
from tests.support.patience import PATIENCE
from tests.support.processes import until

PAGE = 4_096


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "recado.db"


@pytest.fixture
def connect(file: Path) -> Callable[[], sqlite3.Connection]:
    def connect() -> sqlite3.Connection:
        connection: sqlite3.Connection = sqlite_module().connect(
            file, isolation_level=None, check_same_thread=False, timeout=0
        )
        return connection

    return connect


@pytest.fixture
def writer(connect: Callable[[], sqlite3.Connection]) -> Iterator[sqlite3.Connection]:
    """A writer that copies nothing by itself."""
    with closing(connect()) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA wal_autocheckpoint=0")
        connection.execute("CREATE TABLE pages (n INTEGER PRIMARY KEY, filling)")
        yield connection


def fill(connection: sqlite3.Connection, pages: int) -> None:
    connection.execute(
        "INSERT INTO pages (filling) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
        "SELECT zeroblob(4000) FROM n",
        (pages,),
    )


def size_of(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


@pytest.mark.parametrize(
    ("pages", "copied", "now"),
    [
        (PAGES - 1, 0, False),
        (PAGES, 0, True),
        (LONG_PAGES - 1, LONG_PAGES - PAGES, False),
        (LONG_PAGES, LONG_PAGES - FOLLOWING_PAGES, True),
        (LONG_PAGES, LONG_PAGES - FOLLOWING_PAGES + 1, False),
    ],
)
def test_a_long_log_is_followed_more_closely(pages: int, copied: int, now: bool) -> None:
    assert is_due(pages, copied) is now


def test_what_the_writer_has_left_to_copy_is_little() -> None:
    assert FOLLOWING_PAGES < PAGES < LONG_PAGES < LONGEST_PAGES


def test_the_log_is_copied_into_the_file_while_a_writer_is_in_mid_transaction(
    connect: Callable[[], sqlite3.Connection], writer: sqlite3.Connection, file: Path
) -> None:
    fill(writer, PAGES)
    small = file.stat().st_size
    writer.execute("BEGIN IMMEDIATE")
    fill(writer, 10)
    checkpoints = Checkpoints(connect, sqlite_module().Error)
    assert checkpoints.copy_if_due()
    assert file.stat().st_size > small + PAGES * PAGE / 2
    writer.execute("COMMIT")
    assert writer.execute("SELECT count(*) FROM pages").fetchone() == (PAGES + 10,)


def test_a_short_log_is_left_alone(connect: Callable[[], sqlite3.Connection], writer: sqlite3.Connection) -> None:
    fill(writer, 10)
    assert not Checkpoints(connect, sqlite_module().Error).copy_if_due()


def test_a_file_that_cannot_be_opened_now_is_tried_again(
    connect: Callable[[], sqlite3.Connection], writer: sqlite3.Connection
) -> None:
    tried = threading.Semaphore(0)
    opened = threading.Event()

    def at_the_second_try() -> sqlite3.Connection:
        tried.release()
        if not opened.is_set():
            raise sqlite_module().OperationalError("unable to open database file")
        return connect()

    fill(writer, PAGES)
    checkpoints = Checkpoints(at_the_second_try, sqlite_module().Error, rest_seconds=0.0)
    checkpoints.committed()
    assert tried.acquire(timeout=PATIENCE)
    opened.set()
    checkpoints.committed()
    assert tried.acquire(timeout=PATIENCE)
    checkpoints.close()
    assert writer.execute("PRAGMA wal_checkpoint(NOOP)").fetchone()[2] >= PAGES


async def test_a_database_has_its_log_copied_long_before_its_writer_would_have_to(
    connect: Callable[[], sqlite3.Connection], file: Path
) -> None:
    def many(uow: UnitOfWork) -> None:
        uow.execute_raw("INSERT INTO pages (filling) SELECT zeroblob(4000) FROM pages LIMIT 300")

    database = SqliteDatabase(f"sqlite:///{file}")
    with closing(connect()) as looking:
        looking.execute("PRAGMA journal_mode=WAL")
        looking.execute("CREATE TABLE pages (n INTEGER PRIMARY KEY, filling)")
        fill(looking, 300)
        for _ in range(PAGES // 300 + 2):
            await database.write(many, owner=None)

        def copied() -> bool:
            pages, done = looking.execute("PRAGMA wal_checkpoint(NOOP)").fetchone()[1:]
            assert pages < LONGEST_PAGES
            return bool(done >= PAGES)

        await asyncio.to_thread(until, copied)
    await database.close()


async def test_a_writer_that_never_rests_does_not_let_the_log_grow_for_ever(file: Path) -> None:
    def many(uow: UnitOfWork) -> None:
        uow.execute_raw("INSERT INTO pages (filling) SELECT zeroblob(4000) FROM pages LIMIT 300")

    database = SqliteDatabase(f"sqlite:///{file}")
    with closing(sqlite_module().connect(file)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE pages (n INTEGER PRIMARY KEY, filling)")
        fill(connection, 300)
        connection.commit()
    log, longest = Path(f"{file}-wal"), 0
    for _ in range(100):
        await database.write(many, owner=None)
        longest = max(longest, size_of(log))
    await database.close()
    assert longest < 1.6 * LONGEST_PAGES * PAGE  # 64 MB: the thread may be copying just when the writer would.
    assert size_of(log) == 0
