"""From 0104 to 0105: what was written before is found too."""

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

BEFORE, AFTER = "0104", "0105"
TABLES = ("contacts", "conversations", "messages", "answers", "answer_parts", "turns")
"""Those that are filled here. Later releases have tables that these revisions do not make."""
WORDS = {"o{id} c{id} ola tudo bem", "o{id} c{id} sim e ai"}


def fill(connection: Connection, an_id: str, moment: str, account: str) -> None:
    """Store a conversation with a message and an answer of two parts, as release 0104 did."""
    rows = {
        "contacts": {"created_at": moment},
        "conversations": {
            **dict.fromkeys(("lane", "contact_id", "address_id"), an_id),
            **dict.fromkeys(("opened_at", "held_since", "last_activity_at"), moment),
            "status": "'open'",
            "held_by": "'agent'",
            "version": "1",
        },
        "messages": {
            **dict.fromkeys(("lane", "address_id", "conversation_id"), an_id),
            **dict.fromkeys(("account_ref", "provider_message_id"), account),
            **dict.fromkeys(("from_address", "to_address", "provider"), "'a'"),
            "text": "'Olá, TUDO bem? Tudo!'",
            "kind": "'text'",
            "source": "'webhook'",
            "received_at": moment,
        },
        "answers": {
            **dict.fromkeys(("lane", "send_lane", "conversation_id", "address_id"), an_id),
            **dict.fromkeys(("from_address", "to_address", "author", "state"), "'a'"),
            "closes": "false",
            "created_at": moment,
        },
        "answer_parts": {"answer_id": an_id, "part_no": "1", "text": "'Sim. E aí?'", "state": "'a'"},
    }
    for table, values in rows.items():
        named = {"id": an_id, "owner_id": an_id, **values}
        connection.execute(text(f"INSERT INTO {table} ({', '.join(named)}) VALUES ({', '.join(named.values())})"))


def found(connection: Connection) -> set[str]:
    return {row[0] for row in connection.execute(text("SELECT words FROM search_documents"))}


def test_on_sqlite(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'recado.db'}"
    migrate_sqlite(url, metadata, head=BEFORE)
    engine = create_engine(url, module=sqlite_module())
    with engine.begin() as connection:
        fill(connection, "x'00000000000000000000000000000001'", "0", "x'00'")
    assert migrate_sqlite(url, metadata, head=AFTER).before == BEFORE
    with engine.connect() as connection:
        assert found(connection) == {words.format(id=f"{1:032}") for words in WORDS}
        matched = connection.execute(text("SELECT rowid FROM search_fts WHERE search_fts MATCH 'ola AND bem'")).all()
        assert len(matched) == 1
    engine.dispose()


def test_on_postgresql(postgres_server: PostgresServer) -> None:
    url = postgres_server.make(empty=True)
    migrate_postgres(url, lambda: tables(*TABLES), head=BEFORE)
    engine = postgres_engine(make_url(url))
    with engine.begin() as connection:
        for table in TABLES:
            connection.execute(text(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY"))
        fill(connection, "'00000000-0000-0000-0000-000000000001'", "now()", "'a'")
    assert migrate_postgres(url, lambda: tables(*TABLES, "search_documents"), head=AFTER).before == BEFORE
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE search_documents NO FORCE ROW LEVEL SECURITY"))
        assert found(connection) == {words.format(id=f"{1:032}") for words in WORDS}
        matched = connection.execute(text("SELECT seq FROM search_documents WHERE search @@ 'ola & bem'")).all()
        assert len(matched) == 1
    engine.dispose()


def tables(*names: str) -> MetaData:
    """Return the tables that get row-level security here."""
    chosen = MetaData()
    chosen.info.update(metadata().info)
    for name in names:
        metadata().tables[name].to_metadata(chosen)
    return chosen
