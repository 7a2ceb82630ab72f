"""From 0112 to 0113: what was done to one thing is found by an index, and a purge tells how far it is."""

from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, inspect, make_url

from recado.bootstrap import metadata
from recado.core.database.postgres.connections import postgres_engine
from recado.core.database.sqlite.driver import sqlite_module
from recado.migrations.postgres import migrate_postgres
from recado.migrations.runner import migrate_sqlite
from tests.migrations.revisions.history import tables_at
from tests.support.servers.postgres import PostgresServer

pytestmark = pytest.mark.proof

BEFORE, AFTER = "0112", "0113"


def columns_of_indexes(connection: Connection) -> dict[str | None, list[str | None]]:
    return {each["name"]: each["column_names"] for each in inspect(connection).get_indexes("audit_entries")}


def check(connection: Connection) -> None:
    assert columns_of_indexes(connection) == {
        "ix_audit_entries_owner": ["owner_id", "id"],
        "ix_audit_entries_kind": ["owner_id", "object_kind", "id"],
        "ix_audit_entries_object": ["owner_id", "object_kind", "object_id", "id"],
    }
    [column] = [each for each in inspect(connection).get_columns("owners") if each["name"] == "purged_rows"]
    assert column["nullable"]


def test_on_sqlite(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'recado.db'}"
    migrate_sqlite(url, metadata, head=BEFORE)
    engine = create_engine(url, module=sqlite_module())
    with engine.begin() as connection:
        assert columns_of_indexes(connection).keys() == {"ix_audit_entries_owner"}
    assert migrate_sqlite(url, metadata, head=AFTER).before == BEFORE
    with engine.begin() as connection:
        check(connection)
    engine.dispose()


def test_on_postgresql(postgres_server: PostgresServer) -> None:
    url = postgres_server.make(empty=True)
    migrate_postgres(url, partial(tables_at, BEFORE), head=BEFORE)
    assert migrate_postgres(url, partial(tables_at, AFTER), head=AFTER).before == BEFORE
    engine = postgres_engine(make_url(url))
    with engine.begin() as connection:
        check(connection)
    engine.dispose()
