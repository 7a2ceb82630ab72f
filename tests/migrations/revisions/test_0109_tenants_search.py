"""From 0108 to 0109: a tenant's search gets its function, and finds what was written before."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import create_engine, inspect

from recado.bootstrap import metadata
from recado.conversation.search_tables import SEARCH_FUNCTION
from recado.core.database.postgres.database import PostgresDatabase
from recado.core.database.sqlite.driver import sqlite_module
from recado.core.database.unit_of_work import UnitOfWork
from recado.migrations.postgres import SchemaTooOld, await_schema, migrate_postgres
from recado.migrations.runner import migrate_sqlite
from tests.migrations.revisions.history import tables_at
from tests.support.servers.postgres import PostgresServer

pytestmark = pytest.mark.proof

BEFORE, AFTER = "0108", "0109"
ANA, CONVERSATION = UUID(int=1), UUID(int=2)
WRITTEN = "INSERT INTO search_documents (owner_id, conversation_id, message_id, words) VALUES ($1, $2, $3, $4)"
CALL = f"SELECT conversation_id FROM {SEARCH_FUNCTION.name}(CAST('bolo' AS tsquery), NULL, 2, 0, 50)"


def search(uow: UnitOfWork) -> Sequence[UUID]:
    found = uow.execute_raw(CALL)
    return tuple(id_ for (id_,) in found)


async def test_on_postgresql(postgres_server: PostgresServer) -> None:
    url = postgres_server.make(empty=True)
    migrate_postgres(url, partial(tables_at, BEFORE), head=BEFORE)
    database = PostgresDatabase(url)
    words = f"o{ANA.hex} c{CONVERSATION.hex} bolo"
    await database.write(lambda uow: uow.execute_raw(WRITTEN, ANA, CONVERSATION, UUID(int=3), words), owner=None)
    with pytest.raises(SchemaTooOld):
        await_schema(url, wait_seconds=0, head=AFTER)
    assert migrate_postgres(url, partial(tables_at, AFTER), head=AFTER).before == BEFORE
    assert await database.read(search, owner=ANA) == (CONVERSATION,)
    assert await database.read(search, owner=UUID(int=9)) == ()
    await database.close()


def test_on_sqlite_it_changes_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'recado.db'}"
    migrate_sqlite(url, metadata, head=BEFORE)
    engine = create_engine(url, module=sqlite_module())
    before = inspect(engine).get_table_names()
    assert migrate_sqlite(url, metadata, head=AFTER).before == BEFORE
    assert inspect(engine).get_table_names() == before
    engine.dispose()
