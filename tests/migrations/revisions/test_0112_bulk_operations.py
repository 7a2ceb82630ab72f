"""From 0111 to 0112: bulk operations have a table, and lists of dead letters of one job name an index."""

from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, inspect, make_url, text
from sqlalchemy.exc import IntegrityError

from recado.bootstrap import metadata
from recado.core.database.postgres.connections import postgres_engine
from recado.core.database.sqlite.driver import sqlite_module
from recado.migrations.postgres import migrate_postgres
from recado.migrations.runner import migrate_sqlite
from tests.migrations.revisions.history import tables_at
from tests.support.servers.postgres import PostgresServer

pytestmark = pytest.mark.proof

BEFORE, AFTER = "0111", "0112"
SQLITE, POSTGRES = "x'{:032x}'", "'00000000-0000-0000-0000-{:012x}'"


def order(connection: Connection, literal: str, kind: str, number: int, at: str) -> None:
    ids = ", ".join(literal.format(each) for each in (number, 1, 9, 0))
    connection.execute(
        text(
            "INSERT INTO bulk_operations (id, owner_id, until, position, kind, force, total, succeeded, refused,"
            f" refusals, actor_kind, actor_name, created_at) VALUES ({ids}, '{kind}', true, 1, 0, 0, '[]', 'user',"
            f" 'Bia', {at})"
        )
    )


def check(connection: Connection, literal: str, at: str) -> None:
    order(connection, literal, "retry", 1, at)
    with pytest.raises(IntegrityError), connection.begin_nested():
        order(connection, literal, "forget", 2, at)
    assert "ix_message_queue_letters_named" in {
        each["name"] for each in inspect(connection).get_indexes("message_queue")
    }
    assert connection.execute(text("SELECT count(*) FROM message_queue_view")).scalar_one() == 0


def test_on_sqlite(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'recado.db'}"
    migrate_sqlite(url, metadata, head=BEFORE)
    assert migrate_sqlite(url, metadata, head=AFTER).before == BEFORE
    engine = create_engine(url, module=sqlite_module())
    with engine.begin() as connection:
        check(connection, SQLITE, "0")
    engine.dispose()


def test_on_postgresql(postgres_server: PostgresServer) -> None:
    url = postgres_server.make(empty=True)
    migrate_postgres(url, partial(tables_at, BEFORE), head=BEFORE)
    assert migrate_postgres(url, partial(tables_at, AFTER), head=AFTER).before == BEFORE
    engine = postgres_engine(make_url(url))
    with engine.begin() as connection:
        check(connection, POSTGRES, "now()")
    engine.dispose()
