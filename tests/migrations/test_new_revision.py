from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import Column, MetaData, String, Table
from sqlalchemy.sql.schema import SchemaItem

from recado.core.database.types import Id, Json, Moment, ProviderId
from recado.migrations.new_revision import HEAD_FILE, main, new_revision, newest_revision
from recado.migrations.runner import migrate_sqlite


def shops(*more: SchemaItem) -> MetaData:
    metadata = MetaData(naming_convention={"pk": "pk_%(table_name)s"})
    id_: Column[UUID] = Column("id", Id, primary_key=True)
    Table("shops", metadata, id_, Column("sid", ProviderId), Column("at", Moment), Column("tags", Json), *more)
    return metadata


@pytest.fixture
def head_file(tmp_path: Path) -> Path:
    copy = tmp_path / "head.py"
    copy.write_text('HEAD: Final[str | None] = None\n"""The newest."""\n')
    return copy


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    directory = tmp_path / "versions"
    directory.mkdir()
    return directory


def test_the_first_revision_makes_every_table(url: str, path: Path, empty: Path, head_file: Path) -> None:
    written = new_revision("first tables", shops(), versions=empty, head_file=head_file)
    assert written == empty / "0001_first_tables.py"
    assert "types.Id()" in written.read_text()
    assert head_file.read_text() == 'HEAD: Final[str | None] = "0001"\n"""The newest."""\n'
    assert migrate_sqlite(url, shops, versions=empty, head="0001").after == "0001"
    assert path.exists()


def test_the_next_revision_has_the_next_number_and_only_the_difference(empty: Path, head_file: Path) -> None:
    new_revision("first tables", shops(), versions=empty, head_file=head_file)
    written = new_revision("add names", shops(Column("name", String)), versions=empty, head_file=head_file)
    assert written == empty / "0002_add_names.py"
    assert "create_table" not in written.read_text()
    assert "add_column" in written.read_text()
    assert newest_revision(empty) == "0002"


def test_no_difference_writes_nothing(empty: Path, head_file: Path) -> None:
    new_revision("first tables", shops(), versions=empty, head_file=head_file)
    before = head_file.read_text()
    assert new_revision("nothing", shops(), versions=empty, head_file=head_file) is None
    assert head_file.read_text() == before
    assert newest_revision(empty) == "0001"


def test_full_text_tables_made_by_hand_are_left_alone(empty: Path, head_file: Path) -> None:
    written = new_revision("first tables", shops(), versions=empty, head_file=head_file)
    assert written is not None
    by_hand = "\n    op.execute('CREATE VIRTUAL TABLE words_fts USING fts5(word)')\n"
    written.write_text(written.read_text().rstrip() + by_hand)
    assert new_revision("nothing", shops(), versions=empty, head_file=head_file) is None


def test_the_constant_can_be_found_in_its_file(tmp_path: Path, empty: Path) -> None:
    copy = tmp_path / "migrations_init.py"
    copy.write_text(HEAD_FILE.read_text())
    new_revision("first tables", shops(), versions=empty, head_file=copy)
    assert '\nHEAD: Final[str | None] = "0001"\n' in copy.read_text()


@pytest.mark.parametrize("arguments", [[], [" "], ["two", "messages"]])
def test_a_revision_needs_a_message(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert "python -m recado.migrations.new_revision" in capsys.readouterr().err
