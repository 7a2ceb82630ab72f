"""What a process may do about a missing SQLite file: nothing, unless it says so."""

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from recado.bootstrap import metadata
from recado.core.errors import ConfigurationError, NotFound
from recado.migrations import HEAD
from recado.migrations.runner import SchemaUnreleased
from recado.migrations.startup import Creation, migrate, prepare_database, schema_problem
from tests.support.rights import modes_count


class TestAFileThatIsNotThere:
    def test_is_not_made_unless_that_is_said(self, url: str, path: Path) -> None:
        with pytest.raises(NotFound, match="is not there: RECADO_DATABASE_URL names another file"):
            prepare_database(url, metadata)
        assert list(path.parent.iterdir()) == []

    def test_is_not_made_after_waiting_in_vain(self, url: str, path: Path) -> None:
        with pytest.raises(NotFound, match="to make it, type: recado migrate"):
            prepare_database(url, metadata, creation=Creation.AWAITED, wait_seconds=0.0)
        assert list(path.parent.iterdir()) == []

    def test_is_found_by_a_process_that_waits_for_it(self, url: str) -> None:
        other = threading.Thread(target=migrate, args=(url, metadata))
        other.start()
        assert prepare_database(url, metadata, creation=Creation.AWAITED).after == HEAD
        other.join()

    def test_is_made_where_that_is_allowed(self, url: str) -> None:
        assert prepare_database(url, metadata, creation=Creation.ALLOWED).migrated

    def test_cannot_be_made_without_rights(self, url: str, path: Path) -> None:
        path.parent.chmod(0o500)
        try:
            with modes_count(), pytest.raises(ConfigurationError, match="cannot be written by this user"):
                prepare_database(url, metadata, creation=Creation.ALLOWED)
        finally:
            path.parent.chmod(0o700)


class TestAFileThatIsEmpty:
    """Another process has made it and is about to fill it, or somebody typed `touch`."""

    def test_is_not_filled_unless_that_is_said(self, url: str, path: Path) -> None:
        path.touch()
        with pytest.raises(NotFound, match="holds no database of Recado's"):
            prepare_database(url, metadata)
        assert path.stat().st_size == 0

    def test_is_filled_where_that_is_allowed(self, url: str, path: Path) -> None:
        path.touch()
        assert prepare_database(url, metadata, creation=Creation.ALLOWED).migrated


def test_a_database_of_an_unreleased_version_is_refused_with_what_to_do(url: str, path: Path) -> None:
    migrate(url, metadata)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '0001'")
    with pytest.raises(SchemaUnreleased, match="at schema 0001, which an unreleased version made: start with a new"):
        prepare_database(url, metadata)
    assert "start with a new database" in (schema_problem("0001") or "")


def test_what_is_no_ordinary_file_is_not_waited_for(path: Path) -> None:
    path.mkdir()
    with pytest.raises(ConfigurationError, match="is a directory: set RECADO_DATABASE_URL to a file"):
        prepare_database(f"sqlite:///{path}", metadata, creation=Creation.AWAITED)
