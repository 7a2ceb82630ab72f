"""On PostgreSQL a tenant searches through a function that runs as the system, and is shown nothing of others by it."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Final
from uuid import UUID

import pytest
from sqlalchemy.exc import ProgrammingError

from recado.conversation.reading.search import found_in
from recado.conversation.repository import owner_word
from recado.conversation.search_tables import SEARCH_FUNCTION
from recado.core.database.postgres.database import PostgresDatabase
from recado.core.database.postgres.roles import roles_of
from recado.core.database.unit_of_work import UnitOfWork
from tests.support.servers.postgres import PostgresServer

if TYPE_CHECKING:
    import psycopg

ANA, BIA = UUID(int=0xA), UUID(int=0xB)
MESSAGES: Final = 20_000
"""Of each of them. They all say `oi`, and one in a thousand `bolo`."""
FILL: Final = """
INSERT INTO search_documents (owner_id, conversation_id, message_id, words)
SELECT owner, gen_random_uuid(), gen_random_uuid(),
    'o' || replace(owner::text, '-', '') || ' oi' || CASE WHEN n % 1000 = 0 THEN ' bolo' ELSE '' END
FROM generate_series(1, $1::int) AS n, unnest($2::uuid[]) AS owner
"""
SCANS: Final = """
SELECT pg_stat_get_xact_numscans('ix_search_documents_search'::regclass),
    pg_stat_get_xact_numscans('search_documents'::regclass)
"""
CALL: Final = "SELECT seq FROM recado_search(CAST($1 AS tsquery), NULL, 1000000, 0, 1000000)"


@pytest.fixture(scope="module")
def url(postgres_server: PostgresServer) -> str:
    url = postgres_server.make()
    asyncio.run(filled(url))
    with closing(PostgresDatabase(url).open_connection()) as login:
        login.execute("ANALYZE search_documents")
    return url


async def filled(url: str) -> None:
    database = PostgresDatabase(url)
    await database.write(lambda uow: uow.execute_raw(FILL, MESSAGES, [ANA, BIA]), owner=None)
    await database.close()


@pytest.fixture
async def database(url: str) -> AsyncIterator[PostgresDatabase]:
    database = PostgresDatabase(url)
    yield database
    await database.close()


@pytest.fixture
def login(url: str) -> "Iterator[psycopg.Connection[tuple[object, ...]]]":
    """A connection as the URL's login, on which no transaction has begun."""
    with closing(PostgresDatabase(url).open_connection()) as connection:
        yield connection


def scans(uow: UnitOfWork) -> tuple[int, int]:
    """Return how often this transaction has asked the index of words, and how often it has read the whole table."""
    [(of_index, of_table)] = uow.execute_raw(SCANS)
    return int(of_index), int(of_table)


def owners_of(found: list[tuple[int]], uow: UnitOfWork) -> set[object]:
    """Return whose messages the numbers are. (Asked as the system.)"""
    numbers = [row[0] for row in found]
    return {row[0] for row in uow.execute_raw("SELECT owner_id FROM search_documents WHERE seq = ANY($1)", numbers)}


async def test_a_search_reads_the_index_of_words_and_not_the_table(database: PostgresDatabase) -> None:
    def search(uow: UnitOfWork) -> tuple[int, int, int]:
        found = found_in(uow, ["bolo"], None, None, 50)
        return len(found.conversations), *scans(uow)

    conversations, of_index, of_table = await database.read(search, owner=ANA)
    assert conversations == MESSAGES / 1000
    assert of_index > 0
    assert of_table == 0


async def test_a_tenant_cannot_ask_the_index_by_itself(database: PostgresDatabase) -> None:
    """This is why there is a function. Should a release of PostgreSQL do better, the function can go."""

    def search(uow: UnitOfWork) -> int:
        uow.execute_raw("SELECT seq FROM search_documents WHERE search @@ 'bolo'")
        of_index, _ = scans(uow)
        return of_index

    assert await database.read(search, owner=ANA) == 0
    assert await database.read(search, owner=None) > 0


@pytest.mark.parametrize(
    "words", ["oi", f"{owner_word(BIA)}", f"oi | {owner_word(BIA)}", f"!{owner_word(ANA)}", f"!{owner_word(ANA)} | oi"]
)
async def test_a_tenant_finds_nothing_of_others_whatever_it_looks_for(database: PostgresDatabase, words: str) -> None:
    found = await database.read(lambda uow: uow.execute_raw(CALL, words), owner=ANA)
    assert await database.read(partial(owners_of, found), owner=None) <= {ANA}
    assert len(found) in (0, MESSAGES)


async def test_a_tenant_that_names_another_owner_finds_nothing(database: PostgresDatabase) -> None:
    def attack(uow: UnitOfWork) -> list[tuple[object, ...]]:
        uow.execute_raw("SELECT set_config('recado.owner', $1, true)", str(BIA))
        return uow.execute_raw(CALL, "oi")

    for door in (database.read, database.write):
        assert await door(attack, owner=ANA) == []


@pytest.mark.parametrize("who", ["tenant", "system", "login"])
def test_without_a_tenant_nothing_is_found(login: "psycopg.Connection[tuple[object, ...]]", who: str) -> None:
    roles = roles_of(login.info.dbname)
    role = {"tenant": roles.tenant, "system": roles.system, "login": "none"}[who]
    login.execute(f'SET ROLE "{role}"'.encode())
    assert login.execute(CALL.replace("$1", "'oi'").encode()).fetchall() == []
    login.execute("SET recado.owner = '00000000-0000-0000-0000-00000000000a'")
    assert login.execute(CALL.replace("$1", "'oi'").encode()).fetchall() == []


@pytest.mark.parametrize(
    "statement",
    [
        f"CREATE OR REPLACE FUNCTION recado_search({SEARCH_FUNCTION.arguments})"
        " RETURNS TABLE (seq bigint, conversation_id uuid) LANGUAGE sql AS 'SELECT 1::bigint, NULL::uuid'",
        "DROP FUNCTION recado_search",
        "ALTER FUNCTION recado_search SECURITY INVOKER",
    ],
)
async def test_a_tenant_cannot_change_the_function(database: PostgresDatabase, statement: str) -> None:
    with pytest.raises(ProgrammingError, match=r"must be owner of function|permission denied"):
        await database.write(lambda uow: uow.execute_raw(statement), owner=ANA)


async def test_the_system_s_own_transactions_search_for_nobody(database: PostgresDatabase) -> None:
    with pytest.raises(RuntimeError, match="of one owner"):
        await database.read(lambda uow: found_in(uow, ["oi"], None, None, 50), owner=None)
