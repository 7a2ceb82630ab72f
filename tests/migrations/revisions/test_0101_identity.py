"""From 0100 to 0101: the first administrator of each organisation becomes its owner."""

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

BAKERY, LIBRARY = "0a", "0b"
USERS = [(1, BAKERY, "admin"), (2, BAKERY, "admin"), (3, LIBRARY, "viewer"), (4, LIBRARY, "admin")]
BEFORE, AFTER = "0100", "0101"


def fill(connection: Connection, literal: str, moment: str) -> None:
    """Store two organisations and four users as release 0100 did."""
    for owner in (BAKERY, LIBRARY):
        connection.execute(
            text(
                "INSERT INTO owners (id, name, email, locale, send_policy, data_key_sealed, data_key_id,"
                f" lane_salt_sealed, created_at) VALUES ({literal.format(owner)}, 'A', '{owner}@a.example', 'pt-BR',"
                f" 'prefer_silence', '1', '1', '1', {moment})"
            )
        )
    for number, owner, role in USERS:
        ids = f"{literal.format(f'{number:02}')}, {literal.format(owner)}"
        connection.execute(
            text(
                "INSERT INTO users (id, owner_id, email, role, password_hash, active, created_at) VALUES"
                f" ({ids}, '{number}@a.example', '{role}', 'x', true, {moment})"
            )
        )


def roles(connection: Connection) -> list[str]:
    return [row[0] for row in connection.execute(text("SELECT role FROM users ORDER BY id"))]


def test_on_sqlite(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'recado.db'}"
    migrate_sqlite(url, metadata, head=BEFORE)
    engine = create_engine(url, module=sqlite_module())
    with engine.begin() as connection:
        fill(connection, "x'000000000000000000000000000000{}'", "0")
    assert migrate_sqlite(url, metadata, head=AFTER).before == BEFORE
    with engine.connect() as connection:
        assert roles(connection) == ["owner", "admin", "viewer", "owner"]
    engine.dispose()


def test_on_postgresql(postgres_server: PostgresServer) -> None:
    url = postgres_server.make(empty=True)
    migrate_postgres(url, partial(tables_at, BEFORE), head=BEFORE)
    engine = postgres_engine(make_url(url))
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(text("ALTER TABLE owners NO FORCE ROW LEVEL SECURITY"))
        connection.execute(text("ALTER TABLE users NO FORCE ROW LEVEL SECURITY"))
        fill(connection, "'00000000-0000-0000-0000-0000000000{}'", "now()")
    assert migrate_postgres(url, partial(tables_at, AFTER), head=AFTER).before == BEFORE
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE users NO FORCE ROW LEVEL SECURITY"))
        assert roles(connection) == ["owner", "admin", "viewer", "owner"]
    engine.dispose()
