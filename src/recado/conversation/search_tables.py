"""The words of what was said, by which conversations are found: a table, and each database's index of its words."""

from typing import Final

from sqlalchemy import BigInteger, Column, Connection, Index, Integer, Table, Text, event

from recado.core.database.tenancy import PROVED_OWNER, TenantFunction, add_function
from recado.core.database.types import Id, metadata

search_documents = Table(
    "search_documents",
    metadata,
    # A whole number, because FTS5 identifies rows by whole numbers only; they rise with time.
    Column("seq", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True),
    Column("owner_id", Id, nullable=False),
    Column("conversation_id", Id, nullable=False),
    # A message of the customer's, or an answer.
    Column("message_id", Id, nullable=False),
    # Each word once, folded, between blanks; first a word for the owner and one for the conversation.
    Column("words", Text, nullable=False),
    Index("ix_search_documents_owner", "owner_id", "seq"),
    Index("ix_search_documents_conversation", "conversation_id", "seq"),
)

SEARCH_ON_SQLITE: Final = (
    """
CREATE VIRTUAL TABLE IF NOT EXISTS search_fts USING fts5(
    words, content = 'search_documents', content_rowid = 'seq', detail = none, tokenize = 'unicode61'
)
""".strip(),
    """
CREATE TRIGGER IF NOT EXISTS search_documents_added AFTER INSERT ON search_documents BEGIN
    INSERT INTO search_fts(rowid, words) VALUES (new.seq, new.words);
END
""".strip(),
    """
CREATE TRIGGER IF NOT EXISTS search_documents_removed AFTER DELETE ON search_documents BEGIN
    INSERT INTO search_fts(search_fts, rowid, words) VALUES ('delete', old.seq, old.words);
END
""".strip(),
    """
CREATE TRIGGER IF NOT EXISTS search_documents_changed AFTER UPDATE ON search_documents BEGIN
    INSERT INTO search_fts(search_fts, rowid, words) VALUES ('delete', old.seq, old.words);
    INSERT INTO search_fts(rowid, words) VALUES (new.seq, new.words);
END
""".strip(),
)
"""The index of FTS5, which SQLAlchemy cannot describe. The triggers keep it equal to the table, so that every deletion
of an owner's rows empties it too."""

SEARCH_BUCKET: Final = 4_096
"""On PostgreSQL each document also has a word that so many neighbours have, which were stored one after the other.

It begins with a line, as no word of a message does.
"""

SEARCH_ON_POSTGRESQL: Final = (
    """
ALTER TABLE search_documents ADD COLUMN search tsvector
    GENERATED ALWAYS AS (array_to_tsvector(string_to_array(words || ' _' || (seq / 4096)::text, ' '))) STORED
""".strip(),
    # A list of pending entries would be read whole by each search, and one unlucky insert would have to empty it.
    "CREATE INDEX ix_search_documents_search ON search_documents USING gin (search) WITH (fastupdate = off)",
)

_OWNER_WORD: Final = f"(SELECT CAST('o' || replace(CAST({PROVED_OWNER}() AS text), '-', '') AS tsquery))"
SEARCH_FUNCTION: Final = TenantFunction(
    name="recado_search",
    arguments="match tsquery, among tsquery, below bigint, floor bigint, most integer",
    returns="TABLE (seq bigint, conversation_id uuid)",
    # The owner's word keeps the index from reading what others wrote; the owner's column decides. Each condition has an
    # operator of its own: then the index goes from one list to the place in another, and reads none of them whole.
    body=f"""
    WITH found AS MATERIALIZED (
        SELECT d.seq, d.conversation_id, d.owner_id FROM search_documents d
        WHERE d.search @@ {_OWNER_WORD} AND d.search @@ match AND d.search @@ coalesce(among, {_OWNER_WORD}))
    SELECT f.seq, f.conversation_id FROM found f
    WHERE f.seq < below AND f.seq >= floor AND f.owner_id = (SELECT {PROVED_OWNER}()) ORDER BY f.seq DESC LIMIT most
    """.strip(),
    table="search_documents",
)
"""On PostgreSQL, the newest documents of the transaction's owner that match, with numbers from `floor` to `below`.

`among` are the groups of neighbours to look among; NULL is all of them.
"""
add_function(metadata, SEARCH_FUNCTION)


@event.listens_for(search_documents, "after_create")
def _add_search(_table: Table, connection: Connection, **_options: object) -> None:
    for statement in SEARCH_ON_SQLITE if connection.dialect.name == "sqlite" else SEARCH_ON_POSTGRESQL:
        connection.exec_driver_sql(statement)


@event.listens_for(search_documents, "after_drop")
def _drop_search(_table: Table, connection: Connection, **_options: object) -> None:
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("DROP TABLE IF EXISTS search_fts")
