import fcntl
import json
import os
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import MetaData, make_url, text

from recado.bootstrap import metadata
from recado.core.database.sqlite.connections import sqlite_engine
from recado.core.database.sqlite.driver import sqlite_module
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.errors import Busy, ConfigurationError
from recado.migrations import HEAD, OLDEST
from recado.migrations.new_revision import newest_revision
from recado.migrations.runner import (
    VERSIONS,
    MigrationResult,
    NotRecadoDatabase,
    ReferencesBroken,
    SchemaTooNew,
    create_schema,
    migrate_sqlite,
    revision_of,
)
from tests.migrations.conftest import Versions

MIGRATE = """
import json, sys
from pathlib import Path
from sqlalchemy import MetaData
from recado.migrations.runner import migrate_sqlite

result = migrate_sqlite(sys.argv[1], MetaData, versions=Path(sys.argv[2]), head="0002")
print(json.dumps([result.migrated, result.after, "alembic" in sys.modules]))
"""


def migrated(url: str, versions: Versions, head: str = "0002") -> MigrationResult:
    return migrate_sqlite(url, MetaData, versions=versions.path, head=head)


def no_metadata() -> MetaData:
    raise AssertionError("the tables were loaded although there was nothing to do")


def run(path: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite_module().connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys=ON")
        rows: list[tuple[object, ...]] = connection.execute(sql).fetchall()
        return rows


class TestMigrating:
    def test_a_fresh_file_gets_every_revision(self, url: str, path: Path, versions: Versions) -> None:
        assert migrated(url, versions) == MigrationResult(None, "0002", migrated=True)
        assert run(path, "SELECT id, name, city FROM shops") == []
        assert run(path, "PRAGMA journal_mode") == [("wal",)]

    def test_a_fresh_file_and_its_logs_are_for_its_owner_only(self, url: str, path: Path, versions: Versions) -> None:
        before = os.umask(0o022)
        try:
            migrated(url, versions)
            with closing(sqlite_module().connect(path, isolation_level=None)) as connection:
                connection.execute("INSERT INTO shops (id) VALUES (1)")
                files = sorted(each for each in path.parent.glob(f"{path.name}*") if each.suffix != ".lock")
                modes = {each.name.removeprefix(path.name): stat.S_IMODE(each.stat().st_mode) for each in files}
        finally:
            os.umask(before)
        assert modes == {"": 0o600, "-shm": 0o600, "-wal": 0o600}

    @pytest.mark.parametrize("umask", [0o000, 0o777])
    def test_whatever_the_umask_a_fresh_file_is_its_owners(
        self, url: str, path: Path, versions: Versions, umask: int
    ) -> None:
        before = os.umask(umask)
        try:
            migrated(url, versions)
        finally:
            os.umask(before)
        assert {oct(stat.S_IMODE(each.stat().st_mode)) for each in path.parent.glob(f"{path.name}*")} == {"0o600"}

    def test_a_file_is_made_only_where_that_is_meant(self, url: str, path: Path, versions: Versions) -> None:
        with pytest.raises(ConfigurationError, match="cannot be opened"):
            migrate_sqlite(url, MetaData, versions=versions.path, head="0002", create=False)
        assert not path.exists()

    @pytest.mark.parametrize("emptied", [False, True], ids=["missing", "emptied"])
    def test_a_log_whose_file_is_gone_is_left_alone(
        self, url: str, path: Path, versions: Versions, *, emptied: bool
    ) -> None:
        """SQLite would delete it, even where the file exists and is empty."""
        log = Path(f"{path}-wal")
        log.write_bytes(b"what was stored last")
        if emptied:
            path.touch()
        with pytest.raises(ConfigurationError, match="while its log"):
            migrated(url, versions)
        assert (path.exists(), log.read_bytes()) == (emptied, b"what was stored last")

    def test_a_file_of_another_program_is_left_alone(self, url: str, path: Path, versions: Versions) -> None:
        run(path, "CREATE TABLE bookmarks (url)")
        with pytest.raises(NotRecadoDatabase, match=r"has tables \(bookmarks\) and no revision of Recado's"):
            migrated(url, versions)
        assert run(path, "SELECT name FROM sqlite_master") == [("bookmarks",)]

    def test_a_file_that_was_there_keeps_its_mode(self, url: str, path: Path, versions: Versions) -> None:
        path.touch(mode=0o660)
        path.chmod(0o660)
        migrated(url, versions)
        assert stat.S_IMODE(path.stat().st_mode) == 0o660

    def test_an_older_file_gets_what_it_lacks_and_keeps_its_rows(
        self, url: str, path: Path, versions: Versions
    ) -> None:
        migrated(url, versions, head="0001")
        run(path, "INSERT INTO shops VALUES (1, 'Padaria')")
        run(path, "INSERT INTO loaves VALUES (7, 1)")
        assert migrated(url, versions) == MigrationResult("0001", "0002", migrated=True)
        assert run(path, "SELECT name, city FROM shops") == [("Padaria", None)]
        # The table was copied and the old one dropped; what referred to it must still be there.
        assert run(path, "SELECT id FROM loaves") == [(7,)]

    def test_a_file_that_is_as_it_should_be_is_left_alone(self, url: str, versions: Versions) -> None:
        migrated(url, versions)
        again = migrate_sqlite(url, no_metadata, versions=versions.path, head="0002")
        assert again == MigrationResult("0002", "0002", migrated=False)

    def test_a_revision_that_fails_leaves_no_trace_of_those_before_it(
        self, url: str, path: Path, versions: Versions
    ) -> None:
        versions.add("0003", "def upgrade() -> None:\n    op.execute('UPDATE missing SET x = 1')\n")
        with pytest.raises(sqlite_module().OperationalError, match="no such table: missing"):
            migrated(url, versions, head="0003")
        assert revision_of(path) is None
        assert run(path, "SELECT name FROM sqlite_master") == []

    def test_a_revision_that_breaks_references_is_undone(self, url: str, path: Path, versions: Versions) -> None:
        migrated(url, versions)
        run(path, "INSERT INTO shops (id) VALUES (1)")
        run(path, "INSERT INTO loaves VALUES (7, 1)")
        versions.add("0003", "def upgrade() -> None:\n    op.execute('DELETE FROM shops')\n")
        with pytest.raises(ReferencesBroken, match="a row of loaves would refer to a missing row of shops"):
            migrated(url, versions, head="0003")
        assert revision_of(path) == "0002"
        assert run(path, "SELECT id FROM shops") == [(1,)]


class TestManyAtOnce:
    def test_of_processes_that_start_on_a_fresh_file_exactly_one_migrates(
        self, url: str, path: Path, versions: Versions
    ) -> None:
        command = [sys.executable, "-c", MIGRATE, url, str(versions.path)]
        started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
        results = [json.loads(process.communicate(timeout=60)[0].splitlines()[-1]) for process in started]
        assert sorted(migrated for migrated, _, _ in results) == [False, False, False, True]
        assert {after for _, after, _ in results} == {"0002"}
        assert run(path, "SELECT count(*) FROM alembic_version") == [(1,)]

    def test_a_start_with_nothing_to_do_never_loads_alembic(self, url: str, versions: Versions) -> None:
        migrated(url, versions)
        command = [sys.executable, "-c", MIGRATE, url, str(versions.path)]
        ran = subprocess.run(command, capture_output=True, text=True, check=True)
        assert json.loads(ran.stdout) == [False, "0002", False]

    def test_nobody_writes_while_a_migration_is_under_way(self, url: str, path: Path, versions: Versions) -> None:
        migrated(url, versions, head="0001")

        def write_meanwhile() -> MetaData:
            with closing(sqlite_module().connect(path, isolation_level=None, timeout=0)) as other:
                with pytest.raises(sqlite_module().OperationalError, match="locked"):
                    other.execute("INSERT INTO shops (id) VALUES (1)")
                return MetaData()

        assert migrate_sqlite(url, write_meanwhile, versions=versions.path, head="0002").migrated

    def test_a_reader_does_not_keep_a_migration_waiting(self, url: str, path: Path, versions: Versions) -> None:
        migrated(url, versions, head="0001")
        with closing(sqlite_module().connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM shops").fetchall()
            assert migrated(url, versions).migrated


class TestOtherReleases:
    def at(self, revision: str, path: Path) -> None:
        run(path, "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        run(path, f"INSERT INTO alembic_version VALUES ('{revision}')")

    def test_a_release_runs_on_the_schema_of_the_next(self, url: str, path: Path, versions: Versions) -> None:
        self.at("0003", path)
        assert migrated(url, versions) == MigrationResult("0003", "0003", migrated=False)

    def test_a_release_refuses_the_schema_after_the_next(self, url: str, path: Path, versions: Versions) -> None:
        self.at("0004", path)
        with pytest.raises(SchemaTooNew, match="at schema 0004 and this release knows 0002: start the release that"):
            migrated(url, versions)

    def test_a_schema_of_another_product_is_refused(self, url: str, path: Path, versions: Versions) -> None:
        self.at("ae1027a6acf", path)
        with pytest.raises(SchemaTooNew, match="none of Recado's"):
            migrated(url, versions)


class TestFilesThatCannotBeUsed:
    def test_a_file_that_is_no_database(self, url: str, path: Path, versions: Versions) -> None:
        path.write_bytes(b"Dear diary, " * 100)
        with pytest.raises(ConfigurationError, match="is not a database: set RECADO_DATABASE_URL"):
            migrated(url, versions)

    def test_a_directory_that_does_not_exist(self, tmp_path: Path, versions: Versions) -> None:
        with pytest.raises(ConfigurationError, match="there is no such directory"):
            migrated(f"sqlite:///{tmp_path}/nowhere/recado.db", versions)

    @pytest.mark.parametrize("url", ["sqlite:///recado.db?mode=ro", "sqlite:///file:recado.db"])
    def test_a_url_with_more_than_a_path(self, url: str, versions: Versions) -> None:
        with pytest.raises(ConfigurationError, match="after sqlite:/// comes a path and nothing else"):
            migrated(url, versions)

    def test_memory(self, versions: Versions) -> None:
        with pytest.raises(ConfigurationError, match="use create_schema"):
            migrated("sqlite://", versions)

    def test_a_process_that_migrates_and_never_ends(self, url: str, path: Path, versions: Versions) -> None:
        with Path(f"{path}.lock").open("w") as other:
            fcntl.flock(other, fcntl.LOCK_EX)
            with pytest.raises(Busy, match="another process has been migrating"):
                migrate_sqlite(url, MetaData, versions=versions.path, head="0002", wait_seconds=0.01)

    def test_a_process_that_holds_the_file_for_itself(self, url: str, path: Path, versions: Versions) -> None:
        migrated(url, versions)
        with closing(sqlite_module().connect(path, isolation_level=None)) as other:
            other.execute("PRAGMA locking_mode=EXCLUSIVE")
            other.execute("BEGIN EXCLUSIVE")
            with pytest.raises(Busy, match="another process has held"):
                revision_of(path, wait_seconds=0.01)

    def test_a_writer_that_never_ends(self, url: str, path: Path, versions: Versions) -> None:
        migrated(url, versions, head="0001")
        with closing(sqlite_module().connect(path, isolation_level=None)) as writer:
            writer.execute("BEGIN IMMEDIATE")
            with pytest.raises(Busy, match="another process has held"):
                migrate_sqlite(url, MetaData, versions=versions.path, head="0002", wait_seconds=0.01)


def test_a_schema_in_memory_is_made_in_a_unit_of_work() -> None:
    engine = sqlite_engine(make_url("sqlite://"))
    with engine.begin() as connection:
        create_schema(UnitOfWork(connection), metadata())
    with engine.connect() as connection:
        names = set(connection.execute(text("SELECT name FROM sqlite_master")).scalars())
    engine.dispose()
    assert {"owners", "users", "message_queue"} <= names


class TestOurOwnRevisions:
    def test_the_constant_is_the_newest_one(self) -> None:
        assert newest_revision() == HEAD

    def test_they_are_numbered_without_a_gap(self) -> None:
        numbers = sorted(int(file.name[:4]) for file in VERSIONS.glob("[0-9]*.py"))
        assert numbers == list(range(int(OLDEST), int(HEAD or 0) + 1))
