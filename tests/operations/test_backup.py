"""A backup is a complete database that only its owner can read, or it does not exist."""

import os
import select
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from recado.bootstrap import metadata
from recado.core.database.sqlite.driver import sqlite_module
from recado.core.errors import Conflict, InvalidInput, NotFound, StorageUnavailable
from recado.migrations import HEAD
from recado.migrations.runner import migrate_sqlite
from recado.operations.backup import STEP_PAGES, BackupReport, back_up


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


def copied(live: Path, target: Path, progress: Callable[[float], None] = quiet) -> BackupReport:
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

        assert made == BackupReport(str(target), target.stat().st_size, made.seconds, HEAD)
        assert stat.S_IMODE(target.stat().st_mode) == 0o600
        assert [each.name for each in target.parent.iterdir()] == ["copy.db"]
        assert rows_in(target) == 2 * STEP_PAGES

    def test_is_of_one_moment_although_others_write_between_its_steps(self, live: Path, tmp_path: Path) -> None:
        """A copy that restarts at each write of others would never end beside a busy server."""
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
        with pytest.raises(Conflict, match="exists already and is not overwritten"):
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
        with pytest.raises(StorageUnavailable, match="the copy is corrupt"):
            copied(live, tmp_path / "copy.db")
        assert [each.name for each in tmp_path.iterdir() if "copy" in each.name] == []

    def test_without_a_source_or_a_folder_is_refused(self, live: Path, tmp_path: Path) -> None:
        with pytest.raises(NotFound, match="there is no database at"):
            copied(tmp_path / "none.db", tmp_path / "copy.db")
        with pytest.raises(InvalidInput, match="there is no directory"):
            copied(live, tmp_path / "nowhere" / "copy.db")


class TestABackupThatIsEnded:
    """By a signal in the middle of its copy, in a process of its own."""

    @pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
    def test_leaves_nothing_and_reports_it(self, live: Path, tmp_path: Path, told: signal.Signals) -> None:
        with half_way(live, tmp_path / "copy.db") as process:
            assert [leftovers(tmp_path), (tmp_path / "copy.db").exists()] == [1, False]
            process.send_signal(told)
            _, said = process.communicate(timeout=PATIENCE)
        assert process.returncode == 1
        assert said.decode().endswith(f"no backup was made: it was stopped by {told.name}\n")
        assert [leftovers(tmp_path), (tmp_path / "copy.db").exists()] == [0, False]

    def test_and_could_not_clean_up_is_cleaned_up_by_the_next_to_the_same_place(
        self, live: Path, tmp_path: Path
    ) -> None:
        with half_way(live, tmp_path / "copy.db") as process:
            process.kill()
        assert leftovers(tmp_path) == 1
        copied(live, tmp_path / "of another name.db")
        assert leftovers(tmp_path) == 0

    def test_is_nothing_to_another_that_is_under_way(self, live: Path, tmp_path: Path) -> None:
        with half_way(live, tmp_path / "one.db") as process:
            copied(live, tmp_path / "another.db")
            assert leftovers(tmp_path) == 1
            process.communicate(b"go on", timeout=PATIENCE)
        assert (process.returncode, leftovers(tmp_path)) == (0, 0)
        assert rows_in(tmp_path / "one.db") == rows_in(tmp_path / "another.db") == 2 * STEP_PAGES

    def test_by_a_full_disk_leaves_nothing(self, live: Path, tmp_path: Path) -> None:
        with half_way(live, tmp_path / "copy.db", file_size=STEP_PAGES * 4096) as process:
            _, said = process.communicate(b"go on", timeout=PATIENCE)
        assert (process.returncode, leftovers(tmp_path)) == (1, 0)
        assert b"no backup was made: " in said.splitlines()[-1]


PATIENCE = 60
HALF_WAY = """
import resource, signal, sys
from pathlib import Path
from recado.core.errors import DomainError
from recado.operations.backup import back_up

def wait(share):
    sys.stdout.write("half way\\n")
    sys.stdout.flush()
    sys.stdin.read()

for each in (signal.SIGHUP, signal.SIGINT):  # A background job of a shell ignores them, and so does all it starts.
    signal.signal(each, signal.SIG_DFL)
source, target, file_size = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_FSIZE, (int(file_size), int(file_size)))
try:
    back_up(f"sqlite:///{source}", Path(target), wait)
except DomainError as error:
    sys.exit(str(error))
"""


@contextmanager
def half_way(live: Path, target: Path, file_size: int = -1) -> "Iterator[subprocess.Popen[bytes]]":
    """A process that has copied a part of the database, and waits for its standard input before it goes on."""
    words = [sys.executable, "-c", HALF_WAY, str(live), str(target), str(file_size)]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"half way\n"
            yield process
        finally:
            process.kill()


def leftovers(directory: Path) -> int:
    """Return the number of other files than the database, its logs and backups."""
    return sum(not each.name.startswith("recado.db") and each.suffix != ".db" for each in directory.iterdir())


class TestWhatABackupMakesMeanwhile:
    @pytest.mark.parametrize("umask", [0, 0o777])
    def test_can_be_entered_and_read_by_its_owner_only(self, live: Path, tmp_path: Path, umask: int) -> None:
        modes: set[tuple[str, int]] = set()

        def look(_share: float) -> None:
            [folder] = [each for each in tmp_path.iterdir() if each.suffix == ".part"]
            modes.update((each.name, stat.S_IMODE(each.stat().st_mode)) for each in folder.iterdir())
            modes.add(("folder", stat.S_IMODE(folder.stat().st_mode)))

        before = os.umask(umask)
        try:
            copied(live, tmp_path / "copy.db", look)
        finally:
            os.umask(before)
        assert {("folder", 0o700), ("copy", 0o600)} <= modes
        assert {mode for _, mode in modes} == {0o600, 0o700}
        assert stat.S_IMODE((tmp_path / "copy.db").stat().st_mode) == 0o600

    def test_is_not_confused_with_other_files_there(self, live: Path, tmp_path: Path) -> None:
        kept = [tmp_path / name for name in (".copy.db.part", "recado-backup-1.part", ".recado-backup-1")]
        for each in kept:
            each.mkdir()
        copied(live, tmp_path / "copy.db")
        assert [each for each in kept if not each.is_dir()] == []


class TestAPlaceForABackup:
    def test_that_is_a_directory_or_a_file_in_a_file_is_refused(self, live: Path, tmp_path: Path) -> None:
        with pytest.raises(Conflict, match="is a directory: name a file in it"):
            copied(live, tmp_path)
        with pytest.raises(InvalidInput, match="there is no directory"):
            copied(live, live / "copy.db")

    def test_where_nothing_can_be_made_is_named(self, live: Path) -> None:
        with pytest.raises(StorageUnavailable, match=r"no backup was made: /proc: .+"):
            copied(live, Path("/proc/copy.db"))

    def test_of_a_name_that_is_too_long_is_refused_before_the_copy(self, live: Path, tmp_path: Path) -> None:
        def never(_share: float) -> None:
            raise AssertionError

        with pytest.raises(StorageUnavailable, match=r"no backup was made: .*: File name too long"):
            copied(live, tmp_path / ("x" * 300), never)


# --- PostgreSQL -------------------------------------------------------------------------------------------------------


class TestTheToolOfPostgres:
    """`pg_dump` is found on PATH, where a script stands in for it."""

    def test_that_is_older_than_the_server_is_named_with_what_to_install(
        self, postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tool = stands_in(tmp_path, "echo 'pg_dump (PostgreSQL) 13.22 (Debian 13.22-1)'", monkeypatch)
        with pytest.raises(InvalidInput) as refused:
            back_up(postgres_url, tmp_path / "copy.dump", quiet)
        assert str(refused.value) == (
            f"no backup was made: {tool} belongs to PostgreSQL 13, older than the server's 18: "
            "install the PostgreSQL 18 client (Debian: postgresql-client-18) or a later one, and let its pg_dump come "
            "first on PATH"
        )
        assert [each.name for each in tmp_path.iterdir()] == ["tools"]

    def test_that_is_missing_is_asked_for_in_the_servers_version(
        self, postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(NotFound, match=r"not on PATH: install the PostgreSQL 18 client \(Debian: postgresql-clie"):
            back_up(postgres_url, tmp_path / "copy.dump", quiet)

    def test_that_fails_has_the_word(self, postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        stands_in(
            tmp_path,
            "[ $1 = --version ] && echo 'pg_dump (PostgreSQL) 18.1' && exit\n"
            "echo 'pg_dump: warning: it is late' >&2; echo 'pg_dump: error: out of luck' >&2\n"
            "echo 'pg_dump: detail: no four-leaf clover' >&2; exit 1",
            monkeypatch,
        )
        with pytest.raises(StorageUnavailable, match=r"^no backup was made: out of luck; no four-leaf clover$"):
            back_up(postgres_url, tmp_path / "copy.dump", quiet)
        assert [each.name for each in tmp_path.iterdir()] == ["tools"]

    def test_is_told_the_password_in_a_variable_wherever_the_url_has_it(
        self, postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stands_in(
            tmp_path,
            f'[ $1 = --version ] || {{ echo "$* PGPASSWORD=$PGPASSWORD" > {tmp_path}/told; exit 1; }}',
            monkeypatch,
        )
        with pytest.raises(StorageUnavailable, match="pg_dump ended with 1"):
            back_up(f"{postgres_url}?password=canary", tmp_path / "copy.dump", quiet)
        words, secret = (tmp_path / "told").read_text().rsplit(" ", 1)
        assert (secret, "canary" in words) == ("PGPASSWORD=canary\n", False)

    def test_ends_with_a_backup_that_is_killed(
        self, postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lives, never = tmp_path / "lives", tmp_path / "never"
        os.mkfifo(lives)
        os.mkfifo(never)
        version = "[ $1 = --version ] && echo 'pg_dump (PostgreSQL) 18.1' && exit\n"
        stands_in(tmp_path, f"{version}exec 3>{lives} 4<>{never}; echo begun >&3; read word <&4", monkeypatch)
        line = os.open(lives, os.O_RDONLY | os.O_NONBLOCK)
        with subprocess.Popen([sys.executable, "-c", DUMP, postgres_url, str(tmp_path / "copy.dump")]) as process:
            assert heard(line) == b"begun\n"
            process.kill()
        assert heard(line) == b"", "pg_dump runs on"
        os.close(line)


def heard(line: int) -> bytes:
    """Return the next line, or nothing when the other end is gone."""
    assert select.select([line], [], [], PATIENCE)[0], "nothing was said"
    return os.read(line, 100)


DUMP = """
import subprocess, sys
from pathlib import Path
from recado.operations.backup import back_up
back_up(sys.argv[1], Path(sys.argv[2]), print)
"""


def stands_in(directory: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    tool = directory / "tools" / "pg_dump"
    tool.parent.mkdir()
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o700)
    monkeypatch.setenv("PATH", str(tool.parent))
    return tool


def _add_row(path: Path) -> None:
    with closing(sqlite_module().connect(path, isolation_level=None, timeout=10)) as connection:
        connection.execute("INSERT INTO filling (bytes) VALUES (zeroblob(3900))")
