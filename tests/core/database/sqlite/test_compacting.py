"""Of what was deleted nothing is left in SQLite's file, while others read and write."""

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from recado.core.database.sqlite.compacting import compact
from recado.core.database.sqlite.database import SqliteDatabase
from recado.core.database.sqlite.driver import sqlite_module
from recado.core.errors import Busy, StorageUnavailable

CANARY = "zebrafone"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "recado.db"


@pytest.fixture
def writer(file: Path) -> Iterator[sqlite3.Connection]:
    """Another process, which stores rows in a random order, changes them and deletes all that name the canary."""
    chance = random.Random(3)  # noqa: S311 - chance that repeats itself
    with closing(sqlite_module().connect(file, isolation_level=None, timeout=0)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE texts (id BLOB PRIMARY KEY, text)")
        connection.execute("BEGIN")
        for number in range(2_000):
            word = CANARY if number % 3 else "neighbour"
            row = (chance.randbytes(8), word * chance.randint(1, 60))
            connection.execute("INSERT INTO texts VALUES (?, ?)", row)
            connection.execute("UPDATE texts SET text = ? WHERE id = ?", (word * chance.randint(1, 60), row[0]))
        connection.execute("COMMIT")
        connection.execute("DELETE FROM texts WHERE text LIKE 'zebra%'")
        yield connection


def is_somewhere(file: Path) -> bool:
    return any(CANARY.encode() in each.read_bytes() for each in file.parent.iterdir())


def test_nothing_is_left_and_everything_else_is_there(file: Path, writer: sqlite3.Connection) -> None:
    assert is_somewhere(file)
    before = writer.execute("SELECT * FROM texts").fetchall()
    assert compact(f"sqlite:///{file}").rewritten
    assert not is_somewhere(file)
    assert writer.execute("SELECT * FROM texts").fetchall() == before
    assert Path(f"{file}-wal").stat().st_size == 0


def test_a_large_file_stays_as_it_is_and_its_log_is_emptied(file: Path, writer: sqlite3.Connection) -> None:
    left = compact(f"sqlite:///{file}", most_bytes=4_096)
    assert (left.rewritten, left.bytes > 4_096, Path(f"{file}-wal").stat().st_size) == (False, True, 0)
    assert writer.execute("SELECT count(*) FROM texts").fetchone() == (667,)


@pytest.mark.parametrize("statement", ["BEGIN IMMEDIATE", "BEGIN"])
def test_who_holds_the_file_is_waited_for_and_not_for_ever(
    file: Path, writer: sqlite3.Connection, statement: str
) -> None:
    writer.execute(statement)
    writer.execute("SELECT * FROM texts").fetchone()
    with pytest.raises(Busy):
        compact(f"sqlite:///{file}", lock_seconds=0.05)
    writer.execute("ROLLBACK")
    assert compact(f"sqlite:///{file}").rewritten


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailable, match="unable to open"):
        compact(f"sqlite:///{tmp_path / 'other.db'}")
    assert list(tmp_path.iterdir()) == []


async def test_our_own_writer_overwrites_what_it_deletes(file: Path) -> None:
    """In pages that it writes anyway, so it costs nobody anything."""
    with closing(sqlite_module().connect(file)) as connection:
        connection.execute("CREATE TABLE texts (id INTEGER PRIMARY KEY, text)")
    database = SqliteDatabase(f"sqlite:///{file}")
    stored = f"INSERT INTO texts VALUES (1, '{CANARY}'), (2, 'x')"
    await database.write(lambda uow: uow.execute_raw(stored), owner=None)
    await database.write(lambda uow: uow.execute_raw("DELETE FROM texts WHERE id = 1"), owner=None)
    await database.close()
    assert not is_somewhere(file)
