"""A backup is a whole database that nobody else can read, or it is not there."""

import shutil
import sqlite3
import stat
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from recado.bootstrap import metadata
from recado.core.database.sqlite import sqlite_module
from recado.core.errors import Conflict, InvalidInput, NotFound, StorageUnavailable
from recado.migrations import HEAD
from recado.migrations.runner import migrate_sqlite
from recado.operations.backup import STEP_PAGES, BackedUp, back_up


def quiet(share: float) -> None:
    del share


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of this release that is copied in more than one step."""
    path = tmp_path_factory.mktemp("filled") / "recado.db"
    migrate_sqlite(f"sqlite:///{path}", metadata)
    with closing(sqlite_module().connect(path, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE filling (n INTEGER PRIMARY KEY, bytes BLOB)")
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
            "INSERT INTO filling SELECT i, zeroblob(3900) FROM n",
            [2 * STEP_PAGES],
        )
    return path


@pytest.fixture
def live(filled: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(filled, tmp_path / "recado.db"))


def copied(live: Path, target: Path, progress: Callable[[float], None] = quiet) -> BackedUp:
    return back_up(f"sqlite:///{live}", target, progress)


def rows_in(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        count: int = connection.execute("SELECT count(*) FROM filling").fetchone()[0]
        return count


class TestACopyOfSqlite:
    def test_is_whole_private_and_one_file(self, live: Path, tmp_path: Path) -> None:
        target = tmp_path / "away" / "copy.db"
        target.parent.mkdir()

        made = copied(live, target)

        assert made == BackedUp(str(target), target.stat().st_size, made.seconds, HEAD)
        assert stat.S_IMODE(target.stat().st_mode) == 0o600
        assert [each.name for each in target.parent.iterdir()] == ["copy.db"]
        assert rows_in(target) == 2 * STEP_PAGES

    def test_is_of_one_moment_although_others_write_between_its_steps(self, live: Path, tmp_path: Path) -> None:
        """A copy that began anew with each foreign write would never end beside a busy server."""
        shares: list[float] = []

        def write_meanwhile(share: float) -> None:
            shares.append(share)
            writing = threading.Thread(target=_add_row, args=(live,))
            writing.start()
            writing.join()

        copied(live, tmp_path / "copy.db", write_meanwhile)

        assert shares == sorted(set(shares))
        assert len(shares) >= 2
        assert rows_in(tmp_path / "copy.db") == 2 * STEP_PAGES
        assert rows_in(live) == 2 * STEP_PAGES + len(shares)

    def test_never_takes_the_place_of_a_file(self, live: Path, tmp_path: Path) -> None:
        target = tmp_path / "copy.db"
        target.write_text("the backup of yesterday")
        with pytest.raises(Conflict, match="is there already and stays as it is"):
            copied(live, target)
        assert target.read_text() == "the backup of yesterday"

    def test_nor_of_one_that_comes_while_it_is_made(self, live: Path, tmp_path: Path) -> None:
        target = tmp_path / "copy.db"

        def another(_share: float) -> None:
            target.write_text("another's")

        with pytest.raises(Conflict):
            copied(live, target, another)
        assert target.read_text() == "another's"

    def test_of_a_damaged_database_is_refused_and_leaves_nothing(self, live: Path, tmp_path: Path) -> None:
        with closing(sqlite3.connect(live)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with live.open("r+b") as file:
            file.seek(live.stat().st_size // 2)
            file.write(b"\xff" * 50_000)
        with pytest.raises(StorageUnavailable, match="not sound"):
            copied(live, tmp_path / "copy.db")
        assert [each.name for each in tmp_path.iterdir() if "copy" in each.name] == []

    def test_of_nothing_or_to_nowhere_gets_a_sentence(self, live: Path, tmp_path: Path) -> None:
        with pytest.raises(NotFound, match="there is no database at"):
            copied(tmp_path / "none.db", tmp_path / "copy.db")
        with pytest.raises(InvalidInput, match="there is no directory"):
            copied(live, tmp_path / "nowhere" / "copy.db")


def _add_row(path: Path) -> None:
    with closing(sqlite_module().connect(path, isolation_level=None, timeout=10)) as connection:
        connection.execute("INSERT INTO filling (bytes) VALUES (zeroblob(3900))")
