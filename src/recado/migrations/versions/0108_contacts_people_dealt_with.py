"""Indexes of the contacts that are blocked or have opted out, for lists of them."""

import sqlalchemy as sa
from alembic import op

revision = "0108"
down_revision = "0107"


def upgrade() -> None:
    for name, column in (("blocked", "blocked_at"), ("opted_out", "opted_out_at")):
        condition = sa.text(f"{column} IS NOT NULL")
        op.create_index(
            f"ix_contacts_{name}", "contacts", ["owner_id", "id"], sqlite_where=condition, postgresql_where=condition
        )
