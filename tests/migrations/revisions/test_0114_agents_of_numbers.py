"""From 0113 to 0114: a number has one agent of its own at most."""

from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, make_url, text
from sqlalchemy.exc import IntegrityError

from recado.bootstrap import metadata
from recado.core.database.postgres.connections import postgres_engine
from recado.core.database.sqlite.driver import sqlite_module
from recado.migrations.postgres import migrate_postgres
from recado.migrations.runner import migrate_sqlite
from tests.migrations.revisions.history import tables_at
from tests.support.servers.postgres import PostgresServer

pytestmark = pytest.mark.proof

BEFORE, AFTER = "0113", "0114"
SQLITE, POSTGRES = "x'{:032x}'", "'00000000-0000-0000-0000-{:012x}'"


def add(connection: Connection, literal: str, number: int, at: str) -> None:
    ids = f"{literal.format(1)}, {literal.format(number)}"
    connection.execute(
        text(
            "INSERT INTO number_agents (owner_id, address_id, agent, history_limit, allow_private, created_at,"
            f" updated_at) VALUES ({ids}, 'echo', 20, false, {at}, {at})"
        )
    )


def check(connection: Connection, literal: str, at: str) -> None:
    for number in (1, 2):
        add(connection, literal, number, at)
    with pytest.raises(IntegrityError), connection.begin_nested():
        add(connection, literal, 2, at)


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
