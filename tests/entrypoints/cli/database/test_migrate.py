"""A database is brought to this release's schema."""

from pathlib import Path

from recado.migrations import HEAD
from tests.entrypoints.cli.conftest import Recado, spoil


class TestMigrate:
    def test_makes_a_database_and_finds_it_done_the_second_time(self, recado: Recado, tmp_path: Path) -> None:
        fresh = f"sqlite:///{tmp_path / 'fresh.db'}"
        first = recado.one("migrate", RECADO_DATABASE_URL=fresh)
        assert first == {"before": None, "after": HEAD, "migrated": True}
        second = recado.says("migrate", RECADO_DATABASE_URL=fresh)
        assert second == f"The database is at schema {HEAD}, the schema of this release.\n"

    def test_a_database_of_a_later_release_gets_a_sentence(self, recado: Recado, file: Path) -> None:
        spoil(file, "UPDATE alembic_version SET version_num = '9999'")
        assert "the database is at schema 9999" in recado.refuses("migrate", status=2)
