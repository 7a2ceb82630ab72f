"""From 0105 to 0106: an owner may have endpoints; what was told before is kept."""

from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, make_url, text

from recado.bootstrap import metadata
from recado.core.database.postgres.connections import postgres_engine
from recado.core.database.sqlite.driver import sqlite_module
from recado.migrations.postgres import migrate_postgres
from recado.migrations.runner import migrate_sqlite
from tests.migrations.revisions.history import tables_at
from tests.support.servers.postgres import PostgresServer

pytestmark = pytest.mark.proof

BEFORE, AFTER = "0105", "0106"


def fill(connection: Connection, an_id: str, moment: str) -> None:
    """Store an event as the revision before did."""
    connection.execute(
        text(
            "INSERT INTO events (seq, number, id, owner_id, type, lane, data, at) VALUES"
            f" (7, 7, {an_id}, {an_id}, 'message.received', {an_id}, '{{}}', {moment})"
        )
    )


def found(connection: Connection) -> tuple[object, ...]:
    [number] = connection.execute(text("SELECT number FROM events")).scalars()
    return number, connection.execute(text("SELECT count(*) FROM event_endpoints")).scalar_one()


def test_on_sqlite(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'recado.db'}"
    migrate_sqlite(url, metadata, head=BEFORE)
    engine = create_engine(url, module=sqlite_module())
    with engine.begin() as connection:
        fill(connection, "x'00000000000000000000000000000001'", "0")
    assert migrate_sqlite(url, metadata, head=AFTER).before == BEFORE
    with engine.connect() as connection:
        assert found(connection) == (7, 0)
    engine.dispose()


def test_on_postgresql(postgres_server: PostgresServer) -> None:
    url = postgres_server.make(empty=True)
    migrate_postgres(url, partial(tables_at, BEFORE), head=BEFORE)
    engine = postgres_engine(make_url(url))
    with engine.begin() as connection:
        without_walls(connection, "events")
        fill(connection, "'00000000-0000-0000-0000-000000000001'", "now()")
    assert migrate_postgres(url, partial(tables_at, AFTER), head=AFTER).before == BEFORE
    with engine.begin() as connection:
        without_walls(connection, "events", "event_endpoints")
        assert found(connection) == (7, 0)
    engine.dispose()


def without_walls(connection: Connection, *tables: str) -> None:
    for table in tables:
        connection.execute(text(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY"))
