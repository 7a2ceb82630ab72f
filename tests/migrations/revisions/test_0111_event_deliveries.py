"""From 0110 to 0111: what was delivered is kept, and an endpoint may be removed without it."""

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
from tests.migrations.revisions.test_0106_event_endpoints import without_walls
from tests.support.servers.postgres import PostgresServer

pytestmark = pytest.mark.proof

BEFORE, AFTER = "0110", "0111"


def fill(connection: Connection, an_id: str, moment: str, nothing: str) -> None:
    """Store an endpoint and a delivery to it as the revision before did."""
    connection.execute(
        text(
            "INSERT INTO event_endpoints (id, owner_id, url, allow_private, secret_sealed, position, failures,"
            f" created_at, created_by) VALUES ({an_id}, {an_id}, 'https://x', false, {nothing}, 7, 0, {moment}, 'rita')"
        )
    )
    connection.execute(
        text(
            "INSERT INTO event_deliveries (id, owner_id, endpoint_id, event_id, type, lane, state, attempts,"
            f" created_at, updated_at) VALUES ({an_id}, {an_id}, {an_id}, {an_id}, 'message.received', {an_id},"
            f" 'failed', 1, {moment}, {moment})"
        )
    )


def left(connection: Connection) -> list[str]:
    """Remove the endpoint; return the state of what was delivered to it."""
    connection.execute(text("DELETE FROM event_endpoints"))
    return list(connection.execute(text("SELECT state FROM event_deliveries")).scalars())


def test_on_sqlite(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'recado.db'}"
    migrate_sqlite(url, metadata, head=BEFORE)
    engine = create_engine(url, module=sqlite_module())
    with engine.begin() as connection:
        fill(connection, "x'00000000000000000000000000000001'", "0", "x''")
    assert migrate_sqlite(url, metadata, head=AFTER).before == BEFORE
    with engine.begin() as connection:
        connection.execute(text("PRAGMA foreign_keys=ON"))
        assert left(connection) == ["failed"]
    engine.dispose()


def test_on_postgresql(postgres_server: PostgresServer) -> None:
    url = postgres_server.make(empty=True)
    migrate_postgres(url, partial(tables_at, BEFORE), head=BEFORE)
    engine = postgres_engine(make_url(url))
    with engine.begin() as connection:
        without_walls(connection, "event_endpoints", "event_deliveries")
        fill(connection, "'00000000-0000-0000-0000-000000000001'", "now()", "''")
    assert migrate_postgres(url, partial(tables_at, AFTER), head=AFTER).before == BEFORE
    with engine.begin() as connection:
        without_walls(connection, "event_endpoints", "event_deliveries")
        assert left(connection) == ["failed"]
    engine.dispose()
