"""PostgreSQL as a database: which writes share a commit, which run again, and what happens when the server is lost."""

import asyncio
import contextlib
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from functools import partial

import psycopg
import pytest
from sqlalchemy import make_url, text
from sqlalchemy.exc import IntegrityError

from recado.core.clock import FrozenClock, SystemClock
from recado.core.database.postgres import writer
from recado.core.database.postgres.connections import postgres_engine
from recado.core.database.postgres.database import READERS, PostgresDatabase
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.errors import StorageUnavailable
from tests.support.patience import PATIENCE
from tests.support.servers.postgres import PostgresServer, postgres
from tests.support.servers.proxy import proxied

_THINGS = """
CREATE TABLE things (id serial PRIMARY KEY, value text NOT NULL UNIQUE);
DO $$ BEGIN
    EXECUTE format('GRANT ALL ON things TO %1$I; GRANT ALL ON SEQUENCE things_id_seq TO %1$I',
        'recado_system_' || current_database());
END $$
"""
_INSERT = text("INSERT INTO things (value) VALUES (:value)")


class Refused(Exception):
    """An error that a unit of work raises."""


@pytest.fixture
async def things(postgres_database: PostgresDatabase) -> AsyncIterator[PostgresDatabase]:
    """A database with a table for things, all of them different."""
    with closing(postgres_database.open_connection()) as connection:
        connection.execute(_THINGS)
        yield postgres_database
        connection.execute("DROP TABLE things")


def add(uow: UnitOfWork, value: str) -> str:
    uow.execute(_INSERT, {"value": value})
    return value


def add_all(uow: UnitOfWork, values: Sequence[str]) -> list[str]:
    """Like the frequent functions: one statement for all inputs, and so one error for all."""
    uow.execute(_INSERT, [{"value": value} for value in values])
    return list(values)


async def stored(database: PostgresDatabase) -> list[str]:
    rows = await database.read(lambda uow: uow.all(text("SELECT value FROM things ORDER BY id")), owner=None)
    return [row["value"] for row in rows]


def backend(uow: UnitOfWork) -> int:
    """Return the server's process behind this transaction."""
    return int(uow.execute(text("SELECT pg_backend_pid()")).scalar_one())


class TestWriting:
    async def test_stores_what_a_function_did_or_nothing_of_it(self, things: PostgresDatabase) -> None:
        def refuse(uow: UnitOfWork) -> None:
            add(uow, "half of it")
            raise Refused

        with pytest.raises(Refused):
            await things.write(refuse, owner=None)
        await things.write(lambda uow: add(uow, "whole"), owner=None)
        assert await stored(things) == ["whole"]

    async def test_halves_a_batch_until_only_the_bad_input_fails(self, things: PostgresDatabase) -> None:
        await things.write(lambda uow: add(uow, "7"), owner=None)
        store = things.batched(add_all)

        results = await asyncio.gather(*[store(f"{n}") for n in range(32)], return_exceptions=True)

        assert [n for n, result in enumerate(results) if isinstance(result, BaseException)] == [7]
        assert isinstance(results[7], IntegrityError)
        assert sorted(await stored(things), key=int) == [f"{n}" for n in range(32)]

    async def test_runs_one_of_two_again_that_wait_for_each_other(self, things: PostgresDatabase) -> None:
        for value in ("a", "b"):
            await things.write(partial(add, value=value), owner=None)
        both_hold_one = threading.Barrier(2)
        runs = 0

        def crosswise(uow: UnitOfWork, first: str, second: str) -> None:
            nonlocal runs
            runs += 1
            uow.execute(text("UPDATE things SET value = value WHERE value = :value"), {"value": first})
            if runs <= 2:
                both_hold_one.wait(PATIENCE)
            uow.execute(text("UPDATE things SET value = value WHERE value = :value"), {"value": second})

        ways = [partial(crosswise, first="a", second="b"), partial(crosswise, first="b", second="a")]
        await asyncio.gather(*[things.write(way, owner=None) for way in ways])
        assert runs == 3

    async def test_calls_listeners_only_when_something_changed(self, things: PostgresDatabase) -> None:
        commits: list[str] = []
        things.on_commit(lambda: commits.append("changed"))
        await things.write(lambda uow: uow.first(text("SELECT 1")), owner=None)
        await things.write(lambda uow: add(uow, "1"), owner=None)
        await things.write(lambda uow: uow.first(text("SELECT 1")), owner=None)
        await things.close()
        assert commits == ["changed"]

    async def test_reads_use_no_more_connections_than_there_are_readers(self, things: PostgresDatabase) -> None:
        for _ in range(5):
            pids = await asyncio.gather(
                *[things.read(lambda uow: uow.execute_raw("SELECT pg_backend_pid()"), owner=None) for _ in range(20)]
            )
        assert len({pid for [[pid]] in pids}) <= READERS
        assert len(things._read_connections) <= READERS

    async def test_notifies_after_the_commit(self, things: PostgresDatabase) -> None:
        with closing(things.open_connection()) as listener:
            listener.execute(f"LISTEN {writer.JOBS_CHANNEL}".encode())
            await things.write(lambda uow: add(uow, "1"), owner=None)
            await things.write(lambda uow: uow.notify(), owner=None)
            await things.close()
            heard = list(listener.notifies(timeout=PATIENCE, stop_after=1))
        assert len(heard) == 1


_NOTES_WHAT_THE_COMMIT_WAITS_FOR = """
CREATE TABLE IF NOT EXISTS waited (level text);
CREATE OR REPLACE FUNCTION note_level() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
    INSERT INTO waited VALUES (current_setting('synchronous_commit'));
    RETURN new;
END $$;
CREATE CONSTRAINT TRIGGER note AFTER INSERT ON things DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION note_level();
"""
_WAITED = {"off": "on", "local": "on", "on": "on", "remote_write": "remote_write", "remote_apply": "remote_apply"}


def told(url: str, setting: str) -> str:
    """Return the URL with a setting in it, as people write it."""
    return make_url(url).update_query_dict({"options": f"-c {setting}"}).render_as_string(hide_password=False)


class TestACommit:
    """A deferred trigger runs last before the commit and notes the setting that the commit uses."""

    @pytest.fixture
    def noted(self, things: PostgresDatabase) -> Iterator[PostgresDatabase]:
        with closing(things.open_connection()) as connection:
            connection.execute(_NOTES_WHAT_THE_COMMIT_WAITS_FOR)
            yield things
            connection.execute("DROP TABLE waited")

    @pytest.mark.parametrize("level", _WAITED)
    async def test_waits_for_the_disk_whatever_is_set(
        self, noted: PostgresDatabase, postgres_url: str, level: str
    ) -> None:
        database = PostgresDatabase(told(postgres_url, f"synchronous_commit={level}"))
        await database.write(lambda uow: add(uow, "1"), owner=None)
        await asyncio.gather(*[database.batched(add_all)(f"{n}") for n in range(2, 5)])
        await asyncio.wrap_future(database.write_from_thread(lambda uow: add(uow, "5")))
        await database.close()
        with closing(noted.open_connection()) as connection:
            found = connection.execute("SELECT level FROM waited").fetchall()
        assert found == [(_WAITED[level],)] * 5

    async def test_waits_for_the_disk_though_the_setting_changes_meanwhile(self, noted: PostgresDatabase) -> None:
        def meddle(uow: UnitOfWork) -> None:
            uow.execute_raw("SET synchronous_commit = off")  # As if the server's configuration had been reloaded.
            add(uow, "1")

        await noted.write(meddle, owner=None)
        await noted.write(lambda uow: add(uow, "2"), owner=None)
        await noted.close()
        with closing(noted.open_connection()) as connection:
            assert connection.execute("SELECT DISTINCT level FROM waited").fetchall() == [("on",)]

    async def test_of_a_separate_connection_and_of_a_migration_waits_too(
        self, noted: PostgresDatabase, postgres_url: str
    ) -> None:
        url = told(postgres_url, "synchronous_commit=off")
        with closing(PostgresDatabase(url).open_connection()) as connection:
            connection.execute("INSERT INTO things (value) VALUES ('bare')")
        engine = postgres_engine(make_url(url))
        with engine.begin() as migration:
            migration.execute(_INSERT, {"value": "migrated"})
        engine.dispose()
        with closing(noted.open_connection()) as connection:
            assert connection.execute("SELECT level FROM waited").fetchall() == [("on",), ("on",)]


class TestSettingsOfOthers:
    """Settings that a server, a role or a URL may have."""

    @pytest.mark.parametrize(
        "setting", ["default_transaction_isolation=serializable", "statement_timeout=1", "lock_timeout=1"]
    )
    async def test_change_nothing_of_a_transaction(
        self, things: PostgresDatabase, postgres_url: str, setting: str
    ) -> None:
        names = ("transaction_isolation", "statement_timeout", "lock_timeout")
        database = PostgresDatabase(told(postgres_url, setting))
        ours, theirs = [
            await each.write(lambda uow: [uow.execute_raw(f"SHOW {name}") for name in names], owner=None)
            for each in (things, database)
        ]
        await database.close()
        assert theirs == ours

    @pytest.mark.parametrize("style", ["German", "SQL,DMY", "Postgres"])
    async def test_for_the_format_of_moments_have_no_effect(self, postgres_url: str, style: str) -> None:
        database = PostgresDatabase(told(postgres_url, f"DateStyle={style}"))
        [[moment]] = await database.write(lambda uow: uow.execute_raw("SELECT now()"), owner=None)
        assert isinstance(moment, datetime)
        await database.close()

    async def test_let_a_long_statement_take_its_time(self, things: PostgresDatabase) -> None:
        def look(uow: UnitOfWork) -> object:
            uow.allow_long_statements()
            return uow.execute_raw("SHOW statement_timeout")

        assert await things.read(look, owner=None) == [("5min",)]
        assert await things.read(lambda uow: uow.execute_raw("SHOW statement_timeout"), owner=None) == [("8s",)]

    async def test_in_the_url_count_where_we_have_none(self, postgres_url: str) -> None:
        database = PostgresDatabase(told(postgres_url, "work_mem=7MB"))
        assert await database.write(lambda uow: uow.execute_raw("SHOW work_mem"), owner=None) == [("7MB",)]
        await database.close()

    async def test_that_make_it_read_only_are_named(self, things: PostgresDatabase, postgres_url: str) -> None:
        database = PostgresDatabase(told(postgres_url, "default_transaction_read_only=on"), outage_seconds=0)
        with pytest.raises(StorageUnavailable, match="can only be read"):
            await database.write(lambda uow: add(uow, "1"), owner=None)
        await database.close()
        assert await stored(things) == []


class TestTime:
    async def test_is_the_server_s_however_wrong_the_host_is(self, postgres_url: str) -> None:
        wrong = FrozenClock(SystemClock().now() - timedelta(hours=7))
        database = PostgresDatabase(postgres_url, host_clock=wrong)
        assert abs(database.clock.now() - SystemClock().now()) < timedelta(minutes=1)
        wrong.advance(timedelta(hours=3))
        await database.write(lambda uow: uow.first(text("SELECT 1")), owner=None)
        assert abs(database.clock.now() - SystemClock().now()) < timedelta(minutes=1), "each write sets it right"
        await database.close()


class TestAConnectionThatIsLost:
    async def test_in_mid_transaction_is_made_anew_and_the_function_run_again(self, things: PostgresDatabase) -> None:
        runs: list[int] = []

        def loses_its_connection_once(uow: UnitOfWork) -> str:
            runs.append(backend(uow))
            add(uow, "half")
            if len(runs) == 1:
                with closing(things.open_connection()) as other:
                    other.execute("SELECT pg_terminate_backend(%s, 5000)", [runs[0]])
            return add(uow, "whole")

        assert await things.write(loses_its_connection_once, owner=None) == "whole"
        assert (len(runs), await stored(things)) == (2, ["half", "whole"])

    async def test_while_reading_is_made_anew(self, things: PostgresDatabase) -> None:
        pid = await things.read(backend, owner=None)
        with closing(things.open_connection()) as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        assert await stored(things) == []

    async def test_in_the_commit_before_it_took_place_is_no_reason_to_give_up(self, things: PostgresDatabase) -> None:
        """A deferred trigger runs last in a commit: there the connection dies, and nothing is stored."""
        with closing(things.open_connection()) as other:
            other.execute(_DIES_IN_THE_COMMIT)
        runs = 0

        def once(uow: UnitOfWork) -> str:
            nonlocal runs
            runs += 1
            return add(uow, f"run {runs}")

        assert await things.write(once, owner=None) == "run 2"
        assert await stored(things) == ["run 2"]

    async def test_in_the_commit_after_it_took_place_stores_nothing_twice(
        self, things: PostgresDatabase, postgres_url: str
    ) -> None:
        """The server has stored the transaction, and its answer is lost: it is asked about the transaction's number."""
        url = make_url(postgres_url)
        assert url.port is not None
        with proxied(url.port) as line:
            through = PostgresDatabase(url.set(port=line.port).render_as_string(hide_password=False))
            runs = 0

            def once(uow: UnitOfWork) -> str:
                nonlocal runs
                runs += 1
                return add(uow, f"run {runs}")

            line.lose_the_answer_to(b"COMMIT")
            assert await through.write(once, owner=None) == "run 1"
            await through.close()
        assert (line.cut, runs, await stored(things)) == (1, 1, ["run 1"])


async def test_a_transaction_that_was_idle_too_long_is_run_again(things: PostgresDatabase) -> None:
    runs = 0

    def stands_still_once(uow: UnitOfWork) -> str:
        nonlocal runs
        runs += 1
        if runs == 1:
            mine = backend(uow)
            uow.execute_raw("SET LOCAL idle_in_transaction_session_timeout = 1")  # Milliseconds.
            with closing(things.open_connection()) as other:
                give_up = time.monotonic() + PATIENCE
                while other.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", [mine]).fetchall():
                    assert time.monotonic() < give_up
            uow.execute_raw("SELECT 1")
        return add(uow, f"run {runs}")

    assert await things.write(stands_still_once, owner=None) == "run 2"
    assert await stored(things) == ["run 2"]


async def at_last(database: PostgresDatabase, work: Callable[[UnitOfWork], object]) -> None:
    """Without retries of its own a busy machine may need several connections."""
    async with asyncio.timeout(PATIENCE):
        while True:
            with contextlib.suppress(StorageUnavailable):
                await database.write(work, owner=None)
                return


class TestTheLastFailure:
    async def test_is_what_the_last_write_met_until_one_is_stored(
        self, things: PostgresDatabase, postgres_url: str
    ) -> None:
        database = PostgresDatabase(postgres_url, outage_seconds=0)

        def loses_its_connection(uow: UnitOfWork) -> None:
            with closing(things.open_connection()) as other:
                other.execute("SELECT pg_terminate_backend(%s, 5000)", [backend(uow)])
            add(uow, "never")

        with pytest.raises(StorageUnavailable):
            await database.write(loses_its_connection, owner=None)
        assert "cannot be reached" in str(database.last_failure)
        await at_last(database, lambda uow: uow.execute_raw("SELECT 1"))
        assert "cannot be reached" in str(database.last_failure), "nothing was stored yet"
        await at_last(database, lambda uow: add(uow, "stored"))
        assert database.last_failure is None
        with pytest.raises(IntegrityError):
            await database.write(lambda uow: add(uow, "stored"), owner=None)
        assert database.last_failure is None, "the database was ready to store it"
        await database.close()


_DIES_IN_THE_COMMIT = """
CREATE OR REPLACE FUNCTION dies() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
    IF new.value = 'run 1' THEN
        PERFORM pg_terminate_backend(pg_backend_pid());
    END IF;
    RETURN new;
END $$;
CREATE CONSTRAINT TRIGGER dies AFTER INSERT ON things DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION dies();
"""


class TestAServerThatIsGone:
    @pytest.fixture
    def server(self) -> Iterator[PostgresServer]:
        with postgres(durable=True) as server:
            yield server

    async def test_keeps_what_was_confirmed_and_is_waited_for(self, server: PostgresServer) -> None:
        database = PostgresDatabase(server.make(), outage_seconds=60)
        with closing(database.open_connection()) as connection:
            connection.execute(_THINGS)
        await database.write(lambda uow: add(uow, "before"), owner=None)
        server.crash()
        waiting = asyncio.ensure_future(database.write(lambda uow: add(uow, "meanwhile"), owner=None))
        await asyncio.to_thread(server.start)
        assert await waiting == "meanwhile"
        assert await stored(database) == ["before", "meanwhile"]
        await database.close()
        database = PostgresDatabase(database.url, outage_seconds=0)
        server.signal(signal.SIGQUIT)
        with pytest.raises(StorageUnavailable, match="cannot be reached"):
            await database.write(lambda uow: add(uow, "too late"), owner=None)
        with pytest.raises(StorageUnavailable, match="cannot be reached"):
            await stored(database)
        await database.close()

    async def test_does_not_show_its_password(self) -> None:
        database = PostgresDatabase("postgresql://ana:hunter2@127.0.0.1:1/recado")
        with pytest.raises(StorageUnavailable) as refused:
            database.open_connection()
        assert "hunter2" not in str(refused.value)
        assert isinstance(refused.value.__cause__, psycopg.OperationalError)
