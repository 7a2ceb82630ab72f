"""From 0106 to 0107: what owners use is counted by day, once a day."""

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

BEFORE, AFTER = "0106", "0107"
SQLITE, POSTGRES = "x'{:032x}'", "'00000000-0000-0000-0000-{:012x}'"


def add_day(connection: Connection, literal: str) -> None:
    connection.execute(
        text(
            "INSERT INTO usage_days (owner_id, day, messages_received, messages_sent, agent_runs, input_tokens,"
            f" output_tokens) VALUES ({literal.format(1)}, '2026-03-14', 1, 1, 1, 10000000000, 1)"
        )
    )


def check(connection: Connection, literal: str) -> None:
    add_day(connection, literal)
    with pytest.raises(IntegrityError), connection.begin_nested():
        add_day(connection, literal)
    indexes = {each["name"] for each in inspect(connection).get_indexes("orphan_signers")}
    assert "ix_orphan_signers_owner" in indexes


def test_on_sqlite(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'recado.db'}"
    migrate_sqlite(url, metadata, head=BEFORE)
    assert migrate_sqlite(url, metadata, head=AFTER).before == BEFORE
    engine = create_engine(url, module=sqlite_module())
    with engine.begin() as connection:
        check(connection, SQLITE)
    engine.dispose()


def test_on_postgresql(postgres_server: PostgresServer) -> None:
    url = postgres_server.make(empty=True)
    migrate_postgres(url, partial(tables_at, BEFORE), head=BEFORE)
    assert migrate_postgres(url, partial(tables_at, AFTER), head=AFTER).before == BEFORE
    engine = postgres_engine(make_url(url))
    with engine.begin() as connection:
        check(connection, POSTGRES)
    engine.dispose()
