"""Readiness: each part is broken for real, and reported in time."""

import asyncio
import resource
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import make_url, text, update

from recado.core.clock import FrozenClock
from recado.core.database.engine import Database
from recado.core.database.postgres.database import PostgresDatabase
from recado.core.database.sqlite.database import SqliteDatabase
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.errors import StorageUnavailable
from recado.core.ids import UuidV7
from recado.core.sealing import Sealer
from recado.identity import tables
from recado.identity.keys import KeyRing, SystemKeys
from recado.migrations import HEAD
from recado.migrations.startup import schema_problem
from recado.operations.readiness import BrokerMonitor, Readiness
from recado.operations.storage.readiness import trial_write
from tests.support.keys import KEY_RING, register_owner
from tests.support.servers.postgres import PostgresServer

ON_BOTH_DATABASES = True
ANOTHER = KeyRing(Sealer(b"\x01" * 32))
PATIENCE = 0.2
"""The time limit of these probes: what blocks here blocks until the test releases it."""


def probe(database: Database, clock: FrozenClock, keys: KeyRing = KEY_RING, patience: float = 30.0) -> Readiness:
    broker = BrokerMonitor("none", lambda: None, clock)
    return Readiness(database, keys, clock, broker, schema_problem, answer_seconds=patience)


async def why(readiness: Readiness) -> str | None:
    return (await readiness.check()).why


async def does(database: Database, sql: str) -> None:
    await database.write(lambda uow: uow.execute(text(sql)).close(), owner=None)


@pytest.fixture
async def owners(database: Database, clock: FrozenClock, ids: UuidV7) -> AsyncIterator[list[UUID]]:
    """Three owners with sealed keys, the newest last."""
    registered = [ids.new() for _ in range(3)]
    for owner_id in registered:
        await database.write(partial(register_owner, owner_id=owner_id, now=clock.now()), owner=owner_id)
    yield registered


class TestAKey:
    async def test_that_opens_the_stored_keys_is_ready(
        self, database: Database, clock: FrozenClock, owners: list[UUID]
    ) -> None:
        assert owners
        assert await why(probe(database, clock)) is None

    async def test_that_is_another_is_named(self, database: Database, clock: FrozenClock, owners: list[UUID]) -> None:
        assert owners
        told = await why(probe(database, clock, ANOTHER))
        assert told is not None
        assert "RECADO_SECRET_KEY is not the key that sealed the owners' keys" in told

    async def test_is_not_doubted_where_nothing_is_sealed(self, database: Database, clock: FrozenClock) -> None:
        assert await why(probe(database, clock, ANOTHER)) is None

    @pytest.mark.parametrize("broken", [0, 1, 2])
    async def test_is_not_doubted_for_a_row_that_was_changed(
        self, database: Database, clock: FrozenClock, owners: list[UUID], broken: int
    ) -> None:
        await database.write(lambda uow: spoil(uow, owners[broken]), owner=None)
        assert await why(probe(database, clock)) is None

    async def test_that_does_not_open_a_key_of_the_installation_is_named(
        self, database: Database, clock: FrozenClock, owners: list[UUID]
    ) -> None:
        assert owners
        await SystemKeys(database, Sealer(bytes(32)), clock).get_or_make("callbacks")
        assert await why(probe(database, clock)) is None
        await database.write(lambda uow: uow.changed(update(tables.system_keys).values(key_id="0" * 16)), owner=None)
        told = await why(probe(database, clock))
        assert told is not None
        assert "the key 'callbacks' of this installation was sealed with another RECADO_SECRET_KEY" in told


def spoil(uow: UnitOfWork, owner_id: UUID) -> None:
    changed = update(tables.owners).where(tables.owners.c.id == owner_id).values(data_key_sealed=b"nonsense")
    assert uow.changed(changed) == 1


class TestASchema:
    async def test_of_a_later_release_is_named(self, database: Database, clock: FrozenClock) -> None:
        with other_revision(database, "9999"):
            assert "at schema 9999" in str(await why(probe(database, clock)))

    async def test_of_an_unreleased_version_is_named(self, database: Database, clock: FrozenClock) -> None:
        with other_revision(database, "0000"):
            assert "an unreleased version made: start with a new database" in str(await why(probe(database, clock)))

    async def test_that_is_gone_is_a_sentence_too(self, database: Database, clock: FrozenClock) -> None:
        apart(database, "ALTER TABLE alembic_version RENAME TO elsewhere")
        try:
            assert "alembic_version" in str(await why(probe(database, clock)))
        finally:
            apart(database, "ALTER TABLE elsewhere RENAME TO alembic_version")


@contextmanager
def other_revision(database: Database, revision: str) -> Iterator[None]:
    """Set the revision of another release."""
    apart(database, f"UPDATE alembic_version SET version_num = '{revision}'")
    try:
        yield
    finally:
        apart(database, f"UPDATE alembic_version SET version_num = '{HEAD}'")


def apart(database: Database, sql: str) -> None:
    """A statement of an administrator, which the roles of the product may not run."""
    if isinstance(database, PostgresDatabase):
        with closing(database.open_connection()) as connection:
            connection.execute(sql.encode())
    elif isinstance(database, SqliteDatabase):
        with closing(database.open_connection()) as file:
            file.execute(sql)


class TestTrialWrites:
    async def test_are_made_once_for_all_callers_and_leave_nothing(
        self, database: Database, clock: FrozenClock
    ) -> None:
        commits = counted(database)
        readiness = probe(database, clock)
        assert await asyncio.gather(*(why(readiness) for _ in range(50))) == [None] * 50
        await eventually(lambda: len(commits) > 0)
        assert len(commits) == 1
        left = await database.read(lambda uow: uow.all(text("SELECT name FROM cron_slots")), owner=None)
        assert list(left) == []

    async def test_are_made_again_when_the_last_write_is_some_seconds_old(
        self, database: Database, clock: FrozenClock
    ) -> None:
        commits, readiness = counted(database), probe(database, clock)
        for waited, expected in ((0, 1), (4, 1), (1, 2)):
            clock.advance(timedelta(seconds=waited))
            assert await why(readiness) is None
            await eventually(lambda: len(commits) >= expected)  # noqa: B023 - awaited here
            assert len(commits) == expected

    async def test_of_others_count_as_well(self, database: Database, clock: FrozenClock) -> None:
        commits, readiness = counted(database), probe(database, clock)
        await database.write(lambda uow: trial_write(uow, clock.now()), owner=None)
        await eventually(lambda: len(commits) == 1)
        assert await why(readiness) is None
        assert len(commits) == 1


def counted(database: Database) -> list[None]:
    commits: list[None] = []
    database.on_commit(lambda: commits.append(None))
    return commits


async def eventually(condition: Callable[[], bool]) -> None:
    """Listeners are called after those who wait for the commit."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in a thread
            await asyncio.sleep(0.005)


class TestADatabaseThatHangs:
    async def test_in_reading_keeps_no_probe_waiting(self, database: Database, clock: FrozenClock) -> None:
        let_go = threading.Event()
        readers = [asyncio.create_task(database.read(lambda _: let_go.wait(20), owner=None)) for _ in range(4)]
        readiness = probe(database, clock, patience=PATIENCE)
        try:
            assert await why(readiness) == "the database did not answer within 0.2 s"
        finally:
            let_go.set()
            await asyncio.gather(*readers)
        assert await why(probe(database, clock)) is None

    async def test_in_writing_keeps_no_probe_waiting_and_recovers_by_itself(
        self, database: Database, clock: FrozenClock
    ) -> None:
        let_go = threading.Event()
        begun: list[None] = []

        def hang(_uow: UnitOfWork) -> None:
            begun.append(None)
            let_go.wait(20)

        writers = [asyncio.create_task(database.write(hang, owner=None)) for _ in range(4)]
        await eventually(lambda: len(begun) == (4 if isinstance(database, PostgresDatabase) else 1))
        readiness = probe(database, clock, patience=PATIENCE)
        try:
            told = await asyncio.gather(*(why(readiness) for _ in range(20)))
            assert set(told) == {"no write was stored within 0.2 s"}
        finally:
            let_go.set()
            await asyncio.gather(*writers)
        assert await why(probe(database, clock)) is None


class TestADiskThatIsFull:
    """No file of this process may grow: to SQLite that is a failing write."""

    @pytest.mark.sqlite_only
    async def test_is_reported_and_retried_once_a_second(
        self, sqlite_database: SqliteDatabase, clock: FrozenClock
    ) -> None:
        readiness = probe(sqlite_database, clock)
        await does(sqlite_database, "INSERT INTO queue_owners (owner_id, served_at) VALUES (x'00', 0)")
        await sqlite_database.write(
            lambda uow: uow.execute_raw("SELECT 1"), owner=None
        )  # By now the probe has heard of it.
        clock.advance(timedelta(seconds=10))
        with no_room(Path(f"{sqlite_database.url.removeprefix('sqlite:///')}-wal")):
            assert await why(readiness) is not None
        assert "cannot store now" in str(await why(readiness)), "it is not tried again within the same second"
        clock.advance(timedelta(seconds=1))
        assert await why(readiness) is None

    @pytest.mark.sqlite_only
    async def test_is_reported_at_once_after_a_failed_webhook(
        self, sqlite_database: SqliteDatabase, clock: FrozenClock
    ) -> None:
        readiness = probe(sqlite_database, clock)
        assert await why(readiness) is None
        log = Path(f"{sqlite_database.url.removeprefix('sqlite:///')}-wal")
        with no_room(log), pytest.raises(StorageUnavailable):
            await does(sqlite_database, "INSERT INTO queue_owners (owner_id, served_at) VALUES (x'00', 0)")
        assert "cannot store now" in str(await why(readiness))


@contextmanager
def no_room(log: Path) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (log.stat().st_size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class TestPostgres:
    @pytest.mark.sqlite_only
    async def test_that_is_read_only_is_reported(self, postgres_server: PostgresServer, clock: FrozenClock) -> None:
        url = postgres_server.make()
        postgres_server.command(f"ALTER DATABASE {make_url(url).database} SET default_transaction_read_only = on")
        database = PostgresDatabase(url, outage_seconds=0.1)
        assert await why(probe(database, clock)) == "PostgreSQL takes no writes: default_transaction_read_only is on"
        await database.close()

    @pytest.mark.sqlite_only
    async def test_that_is_gone_is_reported(self, clock: FrozenClock) -> None:
        database = PostgresDatabase("postgresql://recado@127.0.0.1:1/recado", outage_seconds=0.1)
        assert "cannot be reached" in str(await why(probe(database, clock)))
        await database.close()
