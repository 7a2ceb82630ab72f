"""What nearly every test is handed: a clock that stands still, ids that repeat, and a real database in a file."""

import random
import shutil
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from recado.bootstrap import metadata
from recado.core.clock import FrozenClock
from recado.core.database.engine import Database
from recado.core.database.postgres.database import PostgresDatabase
from recado.core.database.sqlite.database import SqliteDatabase
from recado.core.ids import UuidV7
from recado.core.metrics import Meters
from recado.migrations.runner import migrate_sqlite
from tests.support.servers.brokers import RedisServer, redis
from tests.support.servers.postgres import PostgresServer, postgres

NOON = datetime(2026, 3, 14, 12, 0, tzinfo=UTC)

# A machine that does other work may take a second for one example: time is measured by benches, not by tests.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock(at=NOON)


@pytest.fixture
def ids(clock: FrozenClock) -> UuidV7:
    return UuidV7(clock, random.Random(7).getrandbits)  # noqa: S311 - ids that repeat are the point


@pytest.fixture
def meters() -> Meters:
    """What the test's process counts."""
    return Meters()


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file as the revisions make it; made once, since copying is faster than creating.

    Between two indexes that cost the same, SQLite chooses by the order in which they were made.
    """
    path = tmp_path_factory.mktemp("database") / "empty.db"
    migrate_sqlite(f"sqlite:///{path}", metadata)
    return path


def pytest_configure() -> None:
    """Refuse to run beside files of variables: commands that tests type here would read them."""
    found = [name for name in ("recado.env", ".env") if Path(name).is_file()]
    if found:
        raise pytest.UsageError(f"move {' and '.join(found)} away: the commands that tests type would read that")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A module that says `ON_BOTH_DATABASES = True` is run on SQLite and on PostgreSQL.

    What the API calls is tried on both in the fast suite. Its own tests on PostgreSQL are among the long ones.
    """
    both = getattr(metafunc.module, "ON_BOTH_DATABASES", False)
    if both and "database" in metafunc.fixturenames and metafunc.definition.get_closest_marker("sqlite_only") is None:
        of_api = metafunc.module.__name__.startswith("tests.entrypoints.api.")
        on_postgres = pytest.param("postgres", marks=[pytest.mark.slow] if of_api else [])
        metafunc.parametrize("database", ["sqlite", on_postgres], indirect=True)


@pytest.fixture
def database(request: pytest.FixtureRequest) -> Database:
    """The database a test runs on: a SQLite file unless its module asks for both."""
    name = "postgres_database" if getattr(request, "param", "sqlite") == "postgres" else "sqlite_database"
    found: Database = request.getfixturevalue(name)
    return found


@pytest.fixture
async def sqlite_database(empty_database: Path, tmp_path: Path, meters: Meters) -> AsyncIterator[SqliteDatabase]:
    path = shutil.copy(empty_database, tmp_path / "recado.db")
    database = SqliteDatabase(f"sqlite:///{path}", meters)
    yield database
    await database.close()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    with redis() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    with postgres() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_url(postgres_server: PostgresServer) -> str:
    """One database for all tests of a run, since wiping is faster than creating."""
    return postgres_server.make()


@pytest.fixture
async def postgres_database(
    postgres_server: PostgresServer, postgres_url: str, meters: Meters
) -> AsyncIterator[PostgresDatabase]:
    database = PostgresDatabase(postgres_url, meters)
    yield database
    await database.close()
    postgres_server.wipe(postgres_url)
