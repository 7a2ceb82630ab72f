"""From 0102 to 0103: numbers stay as they are, and an address of a removed one may be added again."""

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

BEFORE, AFTER = "0102", "0103"
SQLITE, POSTGRES = ("x'{:032x}'", "0"), ("'00000000-0000-0000-0000-{:012x}'", "now()")


def fill(connection: Connection, literal: str, moment: str) -> None:
    """Store an organisation and its number as the revision before did."""
    one = literal.format(1)
    connection.execute(
        text(
            "INSERT INTO owners (id, name, email, locale, send_policy, data_key_sealed, data_key_id, lane_salt_sealed,"
            f" created_at) VALUES ({one}, 'A', 'a@a.example', 'pt-BR', 'prefer_silence', '1', '1', '1', {moment})"
        )
    )
    connection.execute(
        text(
            "INSERT INTO channel_accounts (id, owner_id, provider, account_ref, created_at, updated_at, changed_in)"
            f" VALUES ({one}, {one}, 'twilio', '1', {moment}, {moment}, 1)"
        )
    )
    add_number(connection, literal, moment, 1)


def add_number(connection: Connection, literal: str, moment: str, number: int) -> None:
    one = literal.format(1)
    connection.execute(
        text(
            "INSERT INTO channel_addresses (id, owner_id, account_id, address, created_at)"
            f" VALUES ({literal.format(number)}, {one}, {one}, '+5511987654321', {moment})"
        )
    )


def check(connection: Connection, literal: str, moment: str) -> None:
    """The number is there; its address is taken until it is removed."""
    with pytest.raises(IntegrityError), connection.begin_nested():
        add_number(connection, literal, moment, 2)
    removed = connection.execute(text(f"UPDATE channel_addresses SET removed_at = {moment} WHERE removed_at IS NULL"))
    assert removed.rowcount == 1
    add_number(connection, literal, moment, 2)


def test_on_sqlite(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'recado.db'}"
    migrate_sqlite(url, metadata, head=BEFORE)
    engine = create_engine(url, module=sqlite_module())
    with engine.begin() as connection:
        fill(connection, *SQLITE)
    assert migrate_sqlite(url, metadata, head=AFTER).before == BEFORE
    with engine.begin() as connection:
        check(connection, *SQLITE)
    engine.dispose()


def test_on_postgresql(postgres_server: PostgresServer) -> None:
    url = postgres_server.make(empty=True)
    migrate_postgres(url, partial(tables_at, AFTER), head=BEFORE)
    engine = postgres_engine(make_url(url))
    with engine.begin() as connection:
        fill(connection, *POSTGRES)
    assert migrate_postgres(url, partial(tables_at, AFTER), head=AFTER).before == BEFORE
    with engine.begin() as connection:
        check(connection, *POSTGRES)
    engine.dispose()
