"""The files of a SQLite database, moved, deleted or replaced under a process that has them open."""

import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from recado.core.database.sqlite.database import SqliteDatabase
from recado.core.database.sqlite.driver import sqlite_module
from recado.core.database.sqlite.files import DatabaseFiles
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.errors import ConfigurationError, NotConfirmed, StorageUnavailable
from tests.support.patience import PATIENCE

_INSERT = text("INSERT INTO things (value) VALUES (:value)")


@pytest.fixture
async def things(database: SqliteDatabase) -> SqliteDatabase:
    await database.write(lambda uow: uow.execute(text("CREATE TABLE things (value TEXT)")).close(), owner=None)
    await add(database, "before")
    assert await stored(database) == ["before"]
    return database


async def add(database: SqliteDatabase, value: str) -> None:
    await database.write(lambda uow: uow.execute(_INSERT, {"value": value}).close(), owner=None)


async def stored(database: SqliteDatabase) -> list[str]:
    rows = await database.read(lambda uow: uow.all(text("SELECT value FROM things")), owner=None)
    return [row["value"] for row in rows]


def file_of(database: SqliteDatabase) -> Path:
    return Path(database.url.removeprefix("sqlite:///"))


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def beside(file: Path, suffix: str) -> Path:
    return file.with_name(file.name + suffix)


def moved(file: Path) -> None:
    file.rename(file.with_name("elsewhere"))


def deleted(file: Path) -> None:
    file.unlink()


def replaced(file: Path) -> None:
    """Replace it by a copy of itself, as a restored backup does: a valid database, and another file."""
    copy = file.with_name("copy")
    shutil.copy(file, copy)
    copy.rename(file)


def emptied(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.truncate(0)


def its_directory_moved(file: Path) -> None:
    file.parent.rename(file.parent.with_name(file.parent.name + "-elsewhere"))


_DATABASE = [moved, deleted, replaced, emptied, its_directory_moved]
_BESIDE = [(suffix, what) for suffix in ("-wal", "-shm") for what in (moved, deleted, replaced)]


class TestAFileThatIsNotTheOneThatWasOpened:
    @pytest.mark.parametrize("what", _DATABASE)
    async def test_takes_nothing_and_gives_nothing(self, things: SqliteDatabase, what: Callable[[Path], None]) -> None:
        what(file_of(things))
        for _ in range(2):
            with pytest.raises(StorageUnavailable, match=r"is not there|another file|is empty"):
                await add(things, "into nothing")
            assert things.last_failure is not None
            with pytest.raises(StorageUnavailable, match=r"is not there|another file|is empty"):
                await stored(things)

    @pytest.mark.parametrize(("suffix", "what"), _BESIDE)
    async def test_takes_nothing_though_it_is_only_beside_the_database(
        self, things: SqliteDatabase, suffix: str, what: Callable[[Path], None]
    ) -> None:
        what(beside(file_of(things), suffix))
        for _ in range(2):
            with pytest.raises(StorageUnavailable, match=f"{suffix} (was moved|is gone)"):
                await add(things, "into nothing")
            with pytest.raises(StorageUnavailable, match=f"{suffix} (was moved|is gone)"):
                await stored(things)

    @pytest.mark.parametrize("suffixes", [("-wal",), ("-wal", "-shm")])
    async def test_is_noticed_by_a_connection_that_is_made_afterwards(
        self, things: SqliteDatabase, suffixes: Sequence[str]
    ) -> None:
        """While this process has the old log open, a new log may belong to any other process."""
        reading = SqliteDatabase(things.url)
        assert await stored(reading) == ["before"]
        for suffix in suffixes:
            replaced(beside(file_of(things), suffix))
        with pytest.raises(StorageUnavailable, match=r"-wal was moved"):
            await add(reading, "into nothing")
        await reading.close()

    @pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
    async def test_serves_again_by_itself_when_it_is_back_and_has_lost_nothing(
        self, things: SqliteDatabase, suffix: str
    ) -> None:
        file = beside(file_of(things), suffix)
        moved(file)
        with pytest.raises(StorageUnavailable):
            await add(things, "meanwhile")
        file.with_name("elsewhere").rename(file)
        await add(things, "after")
        assert await stored(things) == ["before", "after"]
        assert things.last_failure is None

    async def test_in_the_middle_of_a_transaction_is_noticed_before_any_future_is_resolved(
        self, things: SqliteDatabase
    ) -> None:
        def loses_it(uow: UnitOfWork) -> None:
            uow.execute(_INSERT, {"value": "perhaps"}).close()
            moved(file_of(things))

        with pytest.raises(NotConfirmed, match="not known"):
            await things.write(loses_it, owner=None)
        file_of(things).with_name("elsewhere").rename(file_of(things))
        await add(things, "after")
        assert await stored(things) == ["before", "perhaps", "after"], "whoever sends again meets it"

    async def test_makes_no_new_one(self, things: SqliteDatabase, tmp_path: Path) -> None:
        moved(file_of(things))
        fresh = SqliteDatabase(things.url)
        for database in (things, fresh):
            with pytest.raises(StorageUnavailable):
                await add(database, "into nothing")
            with pytest.raises(StorageUnavailable):
                await stored(database)
            with pytest.raises(sqlite_module().OperationalError):
                database.open_connection()
        await fresh.close()
        assert not file_of(things).exists()
        assert names(tmp_path) == {"elsewhere", "recado.db-wal", "recado.db-shm"}


def empty_the_log(things: SqliteDatabase) -> None:
    """Copy the whole log into the database, as soon as the thread that copies does not."""
    deadline = time.monotonic() + PATIENCE
    with closing(things.open_connection()) as connection:
        while connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() != (0, 0, 0):
            assert time.monotonic() < deadline


def with_other_bytes(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.write(b"x" * file.stat().st_size)


def with_its_head_and_other_pages(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.seek(100)
        opened.write(b"x" * (file.stat().st_size - 100))


@pytest.mark.parametrize("overwritten", [with_other_bytes, with_its_head_and_other_pages])
class TestAFileThatWasOverwrittenInPlace:
    """The file names do not show the change; SQLite reports that the content makes no sense."""

    async def test_serves_no_process_that_had_it_open(
        self, things: SqliteDatabase, overwritten: Callable[[Path], None]
    ) -> None:
        await add(things, "copied into the database")
        empty_the_log(things)
        overwritten(file_of(things))
        with pytest.raises(StorageUnavailable):
            await add(things, "lost")
        with pytest.raises(StorageUnavailable):
            await things.read(lambda uow: uow.all(text("SELECT * FROM alembic_version, owners")), owner=None)

    async def test_is_refused_to_a_process_that_opens_it(
        self, things: SqliteDatabase, overwritten: Callable[[Path], None]
    ) -> None:
        await things.close()
        overwritten(file_of(things))
        other = SqliteDatabase(things.url)
        with pytest.raises(StorageUnavailable):
            await stored(other)
        with pytest.raises(StorageUnavailable):
            await add(other, "lost")
        await other.close()


class TestALogThatWasDeleted:
    async def test_is_copied_into_the_database_while_a_process_has_it(self, things: SqliteDatabase) -> None:
        """What was confirmed is only in the log; if the process were killed now, it would be lost."""
        file = file_of(things)
        beside(file, "-wal").unlink()
        with pytest.raises(StorageUnavailable):
            await add(things, "refused")
        shutil.copy(file, file.with_name("copy.db"))
        with closing(sqlite_module().connect(file.with_name("copy.db"))) as copy:
            assert copy.execute("SELECT value FROM things").fetchall() == [("before",)]

    async def test_is_copied_too_when_a_connection_that_was_just_being_made_left_an_empty_one(
        self, things: SqliteDatabase
    ) -> None:
        file = file_of(things)
        beside(file, "-wal").unlink()
        with closing(sqlite_module().connect(file)) as late, pytest.raises(sqlite_module().OperationalError):
            late.execute("SELECT value FROM things").fetchall()
        assert beside(file, "-wal").stat().st_size == 0
        with pytest.raises(StorageUnavailable):
            await add(things, "refused")
        shutil.copy(file, file.with_name("copy.db"))
        with closing(sqlite_module().connect(file.with_name("copy.db"))) as copy:
            assert copy.execute("SELECT value FROM things").fetchall() == [("before",)]

    async def test_is_no_loss_once_every_process_has_been_restarted(self, things: SqliteDatabase) -> None:
        beside(file_of(things), "-wal").unlink()
        await things.close()
        fresh = SqliteDatabase(things.url)
        await add(fresh, "after")
        assert await stored(fresh) == ["before", "after"]
        await fresh.close()


_OPENS_AND_CLOSES_IT = """
import itertools, sys
from contextlib import closing
from recado.core.database.sqlite.database import sqlite_module
for n in itertools.count():
    with closing(sqlite_module().connect(sys.argv[1], isolation_level=None, timeout=60)) as connection:
        connection.execute("INSERT INTO things VALUES ('again')")
    if n == 0:
        print(flush=True)
"""


class TestTheFilesBesideIt:
    def test_come_and_go_with_every_command_and_that_is_no_loss(self, tmp_path: Path) -> None:
        """The last process to close deletes both: a check of one after the other may find only one of them."""
        file = tmp_path / "recado.db"
        with closing(sqlite_module().connect(file)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("CREATE TABLE things (value TEXT)")
        files = DatabaseFiles(str(file))
        words = [sys.executable, "-c", _OPENS_AND_CLOSES_IT, str(file)]
        with subprocess.Popen(words, stdout=subprocess.PIPE) as other:
            assert other.stdout is not None
            other.stdout.readline()
            try:
                for _ in range(40_000):
                    files.before_opening()
            finally:
                other.kill()

    async def test_are_for_no_other_user_of_this_machine(self, empty_database: Path, tmp_path: Path) -> None:
        file = tmp_path / "mine.db"
        shutil.copy(empty_database, file)
        file.chmod(0o600)
        database = SqliteDatabase(f"sqlite:///{file}")
        await database.write(lambda uow: uow.execute_raw("SELECT 1"), owner=None)
        modes = [stat.S_IMODE(beside(file, suffix).stat().st_mode) for suffix in ("", "-wal", "-shm")]
        await database.close()
        assert modes == [0o600] * 3


@pytest.mark.parametrize("url", ["sqlite:///recado.db?mode=ro", "sqlite:///file:recado.db?uri=true"])
def test_a_url_says_a_path_and_nothing_else(url: str) -> None:
    with pytest.raises(ConfigurationError, match="RECADO_DATABASE_URL"):
        SqliteDatabase(url)
