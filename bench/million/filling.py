"""Stores the million messages past the product, in bulk, and finds them again."""

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol
from uuid import UUID

import harness
from harness import progress
from million.rows import LONG_TURNS, TURNS, Owners, Row, rows

if TYPE_CHECKING:
    from recado.bootstrap import Container

STEP = 20_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TABLES = (
    "contacts", "contact_addresses", "conversations", "inbox_items", "messages", "answers", "answer_parts",
    "search_documents",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Filled:
    """A database with its conversations."""

    name: str
    url: str
    owners: Owners
    conversations: int

    @property
    def messages(self) -> int:
        return messages_in(self.conversations)


def messages_in(conversations: int) -> int:
    """Return how many messages there are, of both sides."""
    return 2 * ((conversations - 1) * TURNS + LONG_TURNS)


def filled(name: str, url: str, conversations: int) -> Filled:
    """Return a database that holds them. One that does already is taken as it is."""
    found = Filled(name, url, _owners(url), conversations)
    with closing(_ToPostgres(url) if url.startswith("postgresql") else _ToSqlite(url)) as target:
        stored = target.count("search_documents")
        if stored == found.messages:
            progress(f"{name}: {stored:,} messages are there")
        elif stored:
            harness.give_up(f"{name}: holds {stored:,} messages and not {found.messages:,}: name another --place")
        else:
            _fill(target, found)
    return found


def _owners(url: str) -> Owners:
    """Return the two organisations, which are registered first where there are none."""
    from recado.bootstrap import Container, metadata
    from recado.migrations.startup import migrate
    from recado.settings import load_settings

    env = harness.environment(url, "http://127.0.0.1:1")
    settings = load_settings(env, purpose="serve")
    migrate(url, metadata)
    if asyncio.run(_count(Container(settings=settings))) == 0:
        harness.install(env)
        asyncio.run(_register_another(Container(settings=settings)))
    return asyncio.run(_known(Container(settings=settings)))


async def _count(container: "Container") -> int:
    owners = await container.owners().owners()
    await container.database().close()
    return len(owners)


async def _register_another(container: "Container") -> None:
    from recado.identity.owners import Registration

    await container.owners().register_organization(Registration("Padaria Bia", "bia@example.com", "uma senha boa 123"))
    await container.database().close()


async def _known(container: "Container") -> Owners:
    big, small = sorted(await container.owners().owners(), key=lambda each: each.created_at)
    [number] = (await container.channels_reading().numbers(big.id)).items
    [user] = (await container.identity_reading().users(big.id)).items
    await container.database().close()
    return Owners(big.id, small.id, number.id, user.id)


class _Target(Protocol):
    def count(self, table: str) -> int: ...
    def begin(self) -> None: ...
    def store(self, table: str, found: Sequence[Row]) -> None: ...
    def finish(self) -> None: ...


def _fill(target: _Target, wanted: Filled) -> None:
    started, stored = time.perf_counter(), 0
    waiting: dict[str, list[Row]] = {}

    def store() -> None:
        for table, found in waiting.items():
            target.store(table, found)
        waiting.clear()
        progress(f"{wanted.name}: {stored:,} of {wanted.messages:,} messages, {time.perf_counter() - started:.0f} s")

    target.begin()
    for table, row in rows(wanted.conversations, wanted.owners):
        waiting.setdefault(table, []).append(row)
        stored += table == "search_documents"
        if stored % STEP == 0 and table == "search_documents":
            store()
    store()
    progress(f"{wanted.name}: indexes")
    target.finish()
    os.sync()
    progress(f"{wanted.name}: filled in {time.perf_counter() - started:.0f} s")


class _ToSqlite:
    def __init__(self, url: str) -> None:
        from recado.core.database.sqlite.driver import sqlite_module

        self._file = sqlite_module().connect(url.removeprefix("sqlite:///"), isolation_level=None)

    def count(self, table: str) -> int:
        [[count]] = self._file.execute(f"SELECT count(*) FROM {table}").fetchall()
        return int(count)

    def begin(self) -> None:
        """Take away what follows each row: the index of words is made at the end."""
        self._file.execute("PRAGMA synchronous=OFF")
        self._file.execute("PRAGMA cache_size=-524288")
        for name in ("added", "removed", "changed"):
            self._file.execute(f"DROP TRIGGER search_documents_{name}")

    def store(self, table: str, found: Sequence[Row]) -> None:
        names, marks = ", ".join(found[0]), ", ".join("?" * len(found[0]))
        converted = [_conversion(name, value) for name, value in _samples(found).items()]
        self._file.execute("BEGIN")
        self._file.executemany(
            f"INSERT INTO {table} ({names}) VALUES ({marks})",
            [
                [v if v is None else convert(v) for v, convert in zip(row.values(), converted, strict=True)]
                for row in found
            ],
        )
        self._file.execute("COMMIT")

    def finish(self) -> None:
        from recado.conversation.search_tables import SEARCH_ON_SQLITE

        self._file.execute("INSERT INTO search_fts(search_fts) VALUES ('rebuild')")
        for trigger in SEARCH_ON_SQLITE[1:]:
            self._file.execute(trigger)
        self._file.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        self._file.close()


class _ToPostgres:
    def __init__(self, url: str) -> None:
        import psycopg

        self._connection = psycopg.connect(url, autocommit=True)

    def count(self, table: str) -> int:
        """Ask as the superuser that the server of benches is run by, whom no policy holds."""
        [[count]] = self._connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchall()
        return int(count)

    def begin(self) -> None:
        self._connection.execute("SET session_replication_role = replica")
        self._connection.execute("SET maintenance_work_mem = '512MB'")
        self._connection.execute("DROP INDEX ix_search_documents_search")

    def store(self, table: str, found: Sequence[Row]) -> None:
        copy = f"COPY {table} ({', '.join(found[0])}) FROM STDIN".encode()
        with self._connection.cursor() as cursor, cursor.copy(copy) as copying:
            for row in found:
                copying.write_row([_for_postgres(name, value) for name, value in row.items()])

    def finish(self) -> None:
        from recado.conversation.search_tables import SEARCH_ON_POSTGRESQL

        self._connection.execute(SEARCH_ON_POSTGRESQL[-1].encode())
        self._connection.execute("VACUUM ANALYZE")
        self._connection.execute("CHECKPOINT")

    def close(self) -> None:
        self._connection.close()


def _samples(found: Sequence[Row]) -> Row:
    """Return a value of each column that is not None, if there is one."""
    samples = dict(found[0])
    for name in [name for name, value in samples.items() if value is None]:
        samples[name] = next((row[name] for row in found if row[name] is not None), None)
    return samples


def _provider_id(value: str) -> bytes:
    return value[:2].encode() + bytes.fromhex(value[2:])


def _conversion(name: str, value: object) -> Callable[[object], object]:
    """Return how SQLite's values of a column are made."""
    match value:
        case UUID():
            return lambda each: each.bytes if isinstance(each, UUID) else each
        case datetime():
            return lambda each: (each - EPOCH) // timedelta(microseconds=1) if isinstance(each, datetime) else each
        case str() if name in ("account_ref", "provider_message_id"):
            return lambda each: _provider_id(str(each))
        case _:
            return lambda each: each


def _for_postgres(name: str, value: object) -> object:
    if isinstance(value, str) and name in ("account_ref", "provider_message_id"):
        return _provider_id(value)
    return value
