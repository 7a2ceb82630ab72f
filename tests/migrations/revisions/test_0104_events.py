"""From 0103 to 0104: an installation gets the log of events, empty, and can number from the first event on."""

from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, make_url, text

from recado.bootstrap import metadata
from recado.core.database.postgres.connections import postgres_engine
from recado.core.database.sqlite.driver import sqlite_module
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.event_log.repository import number_new
from recado.migrations.postgres import migrate_postgres
from recado.migrations.runner import migrate_sqlite
from tests.migrations.revisions.history import tables_at
from tests.support.servers.postgres import PostgresServer

pytestmark = pytest.mark.proof

BEFORE, AFTER = "0103", "0104"


def events(connection: Connection) -> int:
    return int(connection.execute(text("SELECT count(*) FROM events")).scalar_one())


def test_on_sqlite(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'recado.db'}"
    migrate_sqlite(url, metadata, head=BEFORE)
    assert migrate_sqlite(url, metadata, head=AFTER).before == BEFORE
    engine = create_engine(url, module=sqlite_module())
    with engine.connect() as connection:
        assert events(connection) == 0
        assert number_new(UnitOfWork(connection)) == []
    engine.dispose()


def test_on_postgresql(postgres_server: PostgresServer) -> None:
    url = postgres_server.make(empty=True)
    migrate_postgres(url, partial(tables_at, BEFORE), head=BEFORE)
    assert migrate_postgres(url, partial(tables_at, AFTER), head=AFTER).before == BEFORE
    engine = postgres_engine(make_url(url))
    with engine.begin() as connection:
        assert events(connection) == 0
        connection.execute(text("ALTER TABLE event_numbers NO FORCE ROW LEVEL SECURITY"))
        connection.execute(text("ALTER TABLE events NO FORCE ROW LEVEL SECURITY"))
        assert number_new(UnitOfWork(connection)) == []
    engine.dispose()
