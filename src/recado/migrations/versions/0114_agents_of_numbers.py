"""Agents of numbers: a number may have an agent of its own."""

import sqlalchemy as sa
from alembic import op

from recado.core.database import types

revision = "0114"
down_revision = "0113"


def upgrade() -> None:
    op.create_table(
        "number_agents",
        sa.Column("owner_id", types.Id(), nullable=False),
        sa.Column("address_id", types.Id(), nullable=False),
        sa.Column("agent", sa.String(length=60), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=True),
        sa.Column("base_url", sa.String(length=2000), nullable=True),
        sa.Column("url", sa.String(length=2000), nullable=True),
        sa.Column("prompt", sa.Text(), nullable=True),
        sa.Column("history_limit", sa.Integer(), nullable=False),
        sa.Column("allow_private", sa.Boolean(), nullable=False),
        sa.Column("api_key_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("secret_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", types.Moment(), nullable=False),
        sa.Column("updated_at", types.Moment(), nullable=False),
        sa.PrimaryKeyConstraint("owner_id", "address_id", name=op.f("pk_number_agents")),
    )
