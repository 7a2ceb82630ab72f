"""What owners have used by day, and an index for their lists of orphans."""

import sqlalchemy as sa
from alembic import op

from recado.core.database import types

revision = "0107"
down_revision = "0106"


def upgrade() -> None:
    op.create_table(
        "usage_days",
        sa.Column("owner_id", types.Id(), nullable=False),
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("messages_received", sa.Integer(), nullable=False),
        sa.Column("messages_sent", sa.Integer(), nullable=False),
        sa.Column("agent_runs", sa.Integer(), nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("owner_id", "day", name=op.f("pk_usage_days")),
    )
    with op.batch_alter_table("usage_days", schema=None) as batch_op:
        batch_op.create_index("ix_usage_days_day", ["day"], unique=False)
    with op.batch_alter_table("orphan_signers", schema=None) as batch_op:
        batch_op.create_index("ix_orphan_signers_owner", ["owner_id", "orphan_id"], unique=False)
