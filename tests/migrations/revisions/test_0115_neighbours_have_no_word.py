"""From 0114 to 0115: on PostgreSQL what neighbours share is found by no word, and what was written still is."""

from collections.abc import Sequence
from functools import partial
from uuid import UUID

import pytest

from recado.conversation.reading.search import found_in
from recado.core.database.postgres.database import PostgresDatabase
from recado.core.database.unit_of_work import UnitOfWork
from recado.migrations.postgres import migrate_postgres
from tests.migrations.revisions.history import tables_at
from tests.support.servers.postgres import PostgresServer

pytestmark = pytest.mark.proof

BEFORE, AFTER = "0114", "0115"
ANA, CONVERSATION = UUID(int=1), UUID(int=2)
WRITTEN = "INSERT INTO search_documents (owner_id, conversation_id, message_id, words) VALUES ($1, $2, $3, $4)"

SHARED = "SELECT seq FROM search_documents WHERE search @@ 'b0'"


def search(uow: UnitOfWork, word: str) -> Sequence[UUID]:
    return found_in(uow, [word], None, None, 50).conversations


async def test_on_postgresql(postgres_server: PostgresServer) -> None:
    url = postgres_server.make(empty=True)
    migrate_postgres(url, partial(tables_at, BEFORE), head=BEFORE)
    database = PostgresDatabase(url)
    words = f"o{ANA.hex} c{CONVERSATION.hex} bolo"
    await database.write(lambda uow: uow.execute_raw(WRITTEN, ANA, CONVERSATION, UUID(int=3), words), owner=None)
    assert await database.read(lambda uow: uow.execute_raw(SHARED), owner=ANA) == [(1,)]
    assert migrate_postgres(url, partial(tables_at, AFTER), head=AFTER).before == BEFORE
    assert await database.read(partial(search, word="b0"), owner=ANA) == ()
    assert await database.read(partial(search, word="bolo"), owner=ANA) == (CONVERSATION,)
    await database.close()
