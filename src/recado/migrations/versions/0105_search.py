"""The words of messages and answers, which conversations are found by."""

import re
import unicodedata
from collections.abc import Iterator

import sqlalchemy as sa
from alembic import op

from recado.core.database import types

revision = "0105"
down_revision = "0104"

_ON_SQLITE = (
    """
CREATE VIRTUAL TABLE search_fts USING fts5(
    words, content = 'search_documents', content_rowid = 'seq', detail = none, tokenize = 'unicode61'
)
""",
    """
CREATE TRIGGER search_documents_added AFTER INSERT ON search_documents BEGIN
    INSERT INTO search_fts(rowid, words) VALUES (new.seq, new.words);
END
""",
    """
CREATE TRIGGER search_documents_removed AFTER DELETE ON search_documents BEGIN
    INSERT INTO search_fts(search_fts, rowid, words) VALUES ('delete', old.seq, old.words);
END
""",
    """
CREATE TRIGGER search_documents_changed AFTER UPDATE ON search_documents BEGIN
    INSERT INTO search_fts(search_fts, rowid, words) VALUES ('delete', old.seq, old.words);
    INSERT INTO search_fts(rowid, words) VALUES (new.seq, new.words);
END
""",
)
_ON_POSTGRESQL = (
    """
ALTER TABLE search_documents ADD COLUMN search tsvector
    GENERATED ALWAYS AS (array_to_tsvector(string_to_array(words || ' b' || (seq / 4096)::text, ' '))) STORED
""",
    "CREATE INDEX ix_search_documents_search ON search_documents USING gin (search) WITH (fastupdate = off)",
)

_STORED = """
SELECT id, owner_id, conversation_id, text FROM (
    SELECT id, owner_id, conversation_id, text, 0 AS part_no FROM messages WHERE conversation_id IS NOT NULL
    UNION ALL
    SELECT a.id, a.owner_id, a.conversation_id, p.text, p.part_no
    FROM answers a JOIN answer_parts p ON p.answer_id = a.id) AS said
ORDER BY id, part_no
"""
_WORD = re.compile(r"[^\W_]+")
_STEP = 1_000


def upgrade() -> None:
    op.create_table(
        "search_documents",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("owner_id", types.Id(), nullable=False),
        sa.Column("conversation_id", types.Id(), nullable=False),
        sa.Column("message_id", types.Id(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_search_documents")),
    )
    op.create_index("ix_search_documents_owner", "search_documents", ["owner_id", "seq"])
    op.create_index("ix_search_documents_conversation", "search_documents", ["conversation_id", "seq"])
    for statement in _ON_SQLITE if op.get_context().dialect.name == "sqlite" else _ON_POSTGRESQL:
        op.execute(sa.text(statement))
    _add_what_is_stored()


def _add_what_is_stored() -> None:
    """Add what was written before, a thousand messages at a time."""
    an_id = types.Id()
    insert = sa.text(
        "INSERT INTO search_documents (owner_id, conversation_id, message_id, words)"
        " VALUES (:owner_id, :conversation_id, :message_id, :words)"
    ).bindparams(*(sa.bindparam(name, type_=an_id) for name in ("owner_id", "conversation_id", "message_id")))
    stored = sa.text(_STORED).columns(id=an_id, owner_id=an_id, conversation_id=an_id, text=sa.String())
    connection = op.get_bind()
    with connection.execute(stored, execution_options={"yield_per": _STEP}) as rows:
        for step in rows.partitions(_STEP):
            connection.execute(insert, [_document(row) for row in step])


def _document(row: "sa.Row[*tuple[object, ...]]") -> dict[str, object]:
    message_id, owner_id, conversation_id, text = row
    words = [f"o{_hex(owner_id)}", f"c{_hex(conversation_id)}", *dict.fromkeys(_words(str(text)))]
    return {
        "owner_id": owner_id,
        "conversation_id": conversation_id,
        "message_id": message_id,
        "words": " ".join(words),
    }


def _hex(value: object) -> str:
    return str(value).replace("-", "")


def _words(text: str) -> Iterator[str]:
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    plain = "".join(letter for letter in folded if unicodedata.category(letter) != "Mn")
    return (word for word in _WORD.findall(plain) if len(word) <= 32)
