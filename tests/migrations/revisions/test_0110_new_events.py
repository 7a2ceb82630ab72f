"""From 0109 to 0110: what is new of all owners is found by an index; what was told before is kept."""

from functools import partial

import pytest
from sqlalchemy import inspect, make_url, text

from recado.core.database.postgres.connections import postgres_engine
from recado.migrations.postgres import migrate_postgres
from tests.migrations.revisions.history import tables_at
from tests.migrations.revisions.test_0106_event_endpoints import fill, without_walls
from tests.support.servers.postgres import PostgresServer

pytestmark = pytest.mark.proof

BEFORE, AFTER = "0109", "0110"


def test_on_postgresql(postgres_server: PostgresServer) -> None:
    url = postgres_server.make(empty=True)
    migrate_postgres(url, partial(tables_at, BEFORE), head=BEFORE)
    engine = postgres_engine(make_url(url))
    with engine.begin() as connection:
        without_walls(connection, "events")
        fill(connection, "'00000000-0000-0000-0000-000000000001'", "now()")
    assert migrate_postgres(url, partial(tables_at, AFTER), head=AFTER).before == BEFORE
    with engine.begin() as connection:
        without_walls(connection, "events")
        assert connection.execute(text("SELECT number FROM events")).scalar_one() == 7
    assert "ix_events_number" in {each["name"] for each in inspect(engine).get_indexes("events")}
    engine.dispose()
