"""What nearly every test is handed: a clock that stands still, ids that repeat, and a real database in a file."""

import random
import shutil
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import make_url

from recado.bootstrap import metadata
from recado.core.clock import FrozenClock
from recado.core.database.engine import SqliteDatabase, sqlite_engine
from recado.core.ids import UuidV7

NOON = datetime(2026, 3, 14, 12, 0, tzinfo=UTC)


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock(at=NOON)


@pytest.fixture
def ids(clock: FrozenClock) -> UuidV7:
    return UuidV7(clock, random.Random(7).getrandbits)  # noqa: S311 - ids that repeat are the point


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with every table the product has; made once, since copying is faster than creating."""
    path = tmp_path_factory.mktemp("database") / "empty.db"
    engine = sqlite_engine(make_url(f"sqlite:///{path}"))
    with engine.begin() as connection:
        metadata().create_all(connection)
    engine.dispose()
    return path


@pytest.fixture
async def database(empty_database: Path, tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    path = shutil.copy(empty_database, tmp_path / "recado.db")
    database = SqliteDatabase(f"sqlite:///{path}")
    yield database
    await database.close()
