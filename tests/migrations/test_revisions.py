"""The revisions lead to exactly the tables that the code uses."""

from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, text

from recado.bootstrap import metadata
from recado.core.database.sqlite.driver import sqlite_module
from recado.migrations import HEAD
from recado.migrations.new_revision import newest_revision
from recado.migrations.runner import migrate_sqlite

_WALLS = "SELECT sql FROM sqlite_master WHERE type IN ('index', 'trigger', 'view') AND sql IS NOT NULL"


def test_the_newest_revision_is_the_one_a_start_compares_with() -> None:
    assert newest_revision() == HEAD


def test_a_migrated_database_has_the_tables_of_the_code(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'fresh.db'}"
    migrate_sqlite(url, metadata)
    engine = create_engine(url, module=sqlite_module())
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": False})
        differences = compare_metadata(context, metadata())
    assert [each for each in differences if "_fts" not in str(each)] == []
    engine.dispose()


def test_partial_indexes_and_full_text_are_as_the_code_makes_them(tmp_path: Path) -> None:
    """Alembic does not compare these, and both are constraints:

    an index that is not partial would refuse valid rows.
    """
    migrated, made = f"sqlite:///{tmp_path / 'migrated.db'}", f"sqlite:///{tmp_path / 'made.db'}"
    migrate_sqlite(migrated, metadata)
    engine = create_engine(made, module=sqlite_module())
    metadata().create_all(engine)
    engine.dispose()
    assert _walls(migrated) == _walls(made)


def _walls(url: str) -> set[str]:
    engine = create_engine(url, module=sqlite_module())
    with engine.connect() as connection:
        found = connection.execute(text(_WALLS)).all()
        walls = {" ".join(row[0].replace('"', "").replace("IF NOT EXISTS ", "").split()) for row in found}
    engine.dispose()
    return walls
