"""The tables of agents and their knowledge.

Full-text search is an FTS5 table, which SQLAlchemy cannot describe. Our own SQL (`FTS_SQL`) creates it after
`knowledge_chunks` on SQLite, and again in the migration. Triggers keep it equal to the table, so that every deletion of
an owner's rows, erasure included, also empties the index.
"""

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
    event,
    text,
)

from recado.core.database.types import Id, Moment, metadata

agent_settings = Table(
    "agent_settings",
    metadata,
    Column("owner_id", Id, primary_key=True),
    Column("agent", String(60), primary_key=True),
    Column("active", Boolean, nullable=False),
    Column("model", String(200)),
    Column("base_url", String(2000)),
    Column("url", String(2000)),
    Column("prompt", Text),
    Column("history_limit", Integer, nullable=False),
    Column("allow_private", Boolean, nullable=False),
    Column("api_key_sealed", LargeBinary),
    Column("secret_sealed", LargeBinary),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    # The backstop behind the service: two agents can never answer one owner's turns.
    Index(
        "uq_agent_settings_active",
        "owner_id",
        unique=True,
        sqlite_where=text("active"),
        postgresql_where=text("active"),
    ),
)

number_agents = Table(
    "number_agents",
    metadata,
    Column("owner_id", Id, primary_key=True),
    Column("address_id", Id, primary_key=True),
    Column("agent", String(60), nullable=False),
    Column("model", String(200)),
    Column("base_url", String(2000)),
    Column("url", String(2000)),
    Column("prompt", Text),
    Column("history_limit", Integer, nullable=False),
    Column("allow_private", Boolean(create_constraint=False), nullable=False),
    Column("api_key_sealed", LargeBinary),
    Column("secret_sealed", LargeBinary),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
)

knowledge_documents = Table(
    "knowledge_documents",
    metadata,
    Column("id", Id, primary_key=True),
    Column("owner_id", Id, nullable=False),
    Column("name", String(200), nullable=False),
    Column("sha", LargeBinary(32), nullable=False),
    Column("revision", Id, nullable=False),
    Column("chunks", Integer, nullable=False),
    Column("added_at", Moment, nullable=False),
    UniqueConstraint("owner_id", "name"),
)

knowledge_chunks = Table(
    "knowledge_chunks",
    metadata,
    # A whole number, because FTS5 identifies rows by whole numbers only.
    Column("number", Integer, primary_key=True),
    Column("owner_id", Id, nullable=False),
    # Only chunks of the document's present revision are visible: a large document is written in many small steps and
    # published by one changed row.
    Column("document_id", Id, nullable=False),
    Column("revision", Id, nullable=False),
    Column("position", Integer, nullable=False),
    Column("heading", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("heading_terms", Text, nullable=False),
    Column("body_terms", Text, nullable=False),
    Column("loose_terms", Text, nullable=False),
    Index("ix_knowledge_chunks_document_revision", "document_id", "revision"),
    Index("ix_knowledge_chunks_owner", "owner_id"),
)

FTS_TABLE = """
CREATE VIRTUAL TABLE IF NOT EXISTS knowledge_fts USING fts5(
    owner, heading, body, loose, tokenize = 'unicode61 remove_diacritics 2', prefix = '2 3'
)
""".strip()
"""`owner` is a word made of the owner's id. FTS5 intersects it first, so the search of one tenant reads no rows of
another."""

FTS_INSERT = """
CREATE TRIGGER IF NOT EXISTS knowledge_chunks_added AFTER INSERT ON knowledge_chunks BEGIN
    INSERT INTO knowledge_fts(rowid, owner, heading, body, loose)
    VALUES (new.number, 'o' || lower(hex(new.owner_id)), new.heading_terms, new.body_terms, new.loose_terms);
END
""".strip()

FTS_DELETE = """
CREATE TRIGGER IF NOT EXISTS knowledge_chunks_removed AFTER DELETE ON knowledge_chunks BEGIN
    DELETE FROM knowledge_fts WHERE rowid = old.number;
END
""".strip()

SEARCH_COLUMN = """
ALTER TABLE knowledge_chunks ADD COLUMN search tsvector GENERATED ALWAYS AS (
    setweight(to_tsvector('simple', heading_terms), 'A') || setweight(to_tsvector('simple', body_terms), 'B')
    || setweight(to_tsvector('simple', loose_terms), 'D')) STORED
""".strip()

SEARCH_INDEX = "CREATE INDEX ix_knowledge_chunks_search ON knowledge_chunks USING gin (search)"

SEARCH_SQL = (SEARCH_COLUMN, SEARCH_INDEX)
"""The same on PostgreSQL. The words are folded and in all their forms already, so the configuration `simple` is enough.
"""

FTS_SQL = (FTS_TABLE, FTS_INSERT, FTS_DELETE)
"""Run these in order after `knowledge_chunks` is created, on SQLite only."""

FTS_DROP_SQL = ("DROP TABLE IF EXISTS knowledge_fts",)
"""Run this after `knowledge_chunks` (and with it the triggers) is dropped."""


@event.listens_for(knowledge_chunks, "after_create")
def _add_index(_table: Table, connection: Connection, **_options: object) -> None:
    for statement in FTS_SQL if connection.dialect.name == "sqlite" else SEARCH_SQL:
        connection.exec_driver_sql(statement)


@event.listens_for(knowledge_chunks, "after_drop")
def _drop_index(_table: Table, connection: Connection, **_options: object) -> None:
    if connection.dialect.name == "sqlite":
        for statement in FTS_DROP_SQL:
            connection.exec_driver_sql(statement)
