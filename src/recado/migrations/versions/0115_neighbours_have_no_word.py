"""What neighbours share on PostgreSQL is no word that a message can have: `b12` found four thousand messages."""

import sqlalchemy as sa
from alembic import op

revision = "0115"
down_revision = "0114"

_STATEMENTS = (
    # The function that reads it goes too. It is made once more after the last revision.
    "ALTER TABLE search_documents DROP COLUMN search CASCADE",
    """
ALTER TABLE search_documents ADD COLUMN search tsvector
    GENERATED ALWAYS AS (array_to_tsvector(string_to_array(words || ' _' || (seq / 4096)::text, ' '))) STORED
""",
    "CREATE INDEX ix_search_documents_search ON search_documents USING gin (search) WITH (fastupdate = off)",
)


def upgrade() -> None:
    if op.get_context().dialect.name == "postgresql":
        for statement in _STATEMENTS:
            op.execute(sa.text(statement))
