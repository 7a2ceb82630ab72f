"""Indexes of the audit by kind of thing and by thing, and how far the purge of an owner is."""

import sqlalchemy as sa
from alembic import op

revision = "0113"
down_revision = "0112"


def upgrade() -> None:
    with op.batch_alter_table("audit_entries", schema=None) as batch_op:
        batch_op.create_index("ix_audit_entries_kind", ["owner_id", "object_kind", "id"], unique=False)
        batch_op.create_index("ix_audit_entries_object", ["owner_id", "object_kind", "object_id", "id"], unique=False)
    op.add_column("owners", sa.Column("purged_rows", sa.Integer(), nullable=True))
