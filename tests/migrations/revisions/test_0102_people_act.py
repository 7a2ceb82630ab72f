"""From 0101 to 0102: what there was stays as it was, and bears no names."""

from pathlib import Path

import pytest
from sqlalchemy import Connection, MetaData, create_engine, make_url, text

from recado.bootstrap import metadata
from recado.core.database.postgres.connections import postgres_engine
from recado.core.database.sqlite.driver import sqlite_module
from recado.migrations.postgres import migrate_postgres
from recado.migrations.runner import migrate_sqlite
from tests.support.servers.postgres import PostgresServer

pytestmark = pytest.mark.proof

BEFORE, AFTER = "0101", "0102"
TABLES = ("contacts", "lanes", "message_queue")
"""Those that are filled here. Later releases have tables that these revisions do not make."""


def fill(connection: Connection, an_id: str, moment: str) -> None:
    """Store a contact, and a dead letter, as release 0101 did."""
    connection.execute(
        text(f"INSERT INTO contacts (id, owner_id, name, created_at) VALUES ({an_id}, {an_id}, 'Ana', {moment})")
    )
    connection.execute(
        text(
            "INSERT INTO message_queue (id, name, payload, status, attempts, created_at, owner_id, lane, priority,"
            f" due_at, timed_at, crashes, crashes_alone, faults, dispatches) VALUES ({an_id}, 'answer.send', '{{}}',"
            f" 'dead', 1, {moment}, {an_id}, {an_id}, 1, {moment}, {moment}, 0, 0, 0, 0)"
        )
    )


def found(connection: Connection) -> tuple[object, ...]:
    contact = connection.execute(text("SELECT name, named_by, blocked_at FROM contacts")).one()
    job = connection.execute(text("SELECT status, handled_by, kind FROM message_queue_view")).one()
    return (*contact, *job)


def test_on_sqlite(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'recado.db'}"
    migrate_sqlite(url, metadata, head=BEFORE)
    engine = create_engine(url, module=sqlite_module())
    with engine.begin() as connection:
        fill(connection, "x'00000000000000000000000000000001'", "0")
    assert migrate_sqlite(url, metadata, head=AFTER).before == BEFORE
    with engine.connect() as connection:
        assert found(connection) == ("Ana", None, None, "dead", None, "job")
    engine.dispose()


def test_on_postgresql(postgres_server: PostgresServer) -> None:
    url = postgres_server.make(empty=True)
    migrate_postgres(url, filled_tables, head=BEFORE)
    engine = postgres_engine(make_url(url))
    with engine.begin() as connection:
        without_walls(connection)
        fill(connection, "'00000000-0000-0000-0000-000000000001'", "now()")
    assert migrate_postgres(url, filled_tables, head=AFTER).before == BEFORE
    with engine.begin() as connection:
        without_walls(connection)
        assert found(connection) == ("Ana", None, None, "dead", None, "job")
    engine.dispose()


def without_walls(connection: Connection) -> None:
    for table in TABLES:
        connection.execute(text(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY"))


def filled_tables() -> MetaData:
    """Return the tables that get row-level security here."""
    chosen = MetaData()
    chosen.info.update(metadata().info)
    for name in TABLES:
        metadata().tables[name].to_metadata(chosen)
    return chosen
