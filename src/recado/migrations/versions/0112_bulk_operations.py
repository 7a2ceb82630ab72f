"""Bulk operations on dead letters, and an index of the dead letters of one job name."""

import sqlalchemy as sa
from alembic import op

from recado.core.database import types

revision = "0112"
down_revision = "0111"

_LISTED = sa.text("status='dead' AND discarded_at IS NULL AND replayed_by IS NULL")


def upgrade() -> None:
    op.create_table(
        "bulk_operations",
        sa.Column("id", types.Id(), nullable=False),
        sa.Column("owner_id", types.Id(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("force", sa.Boolean(), nullable=False),
        sa.Column("letters", types.Json(), nullable=True),
        sa.Column("job_name", sa.String(length=64), nullable=True),
        sa.Column("until", types.Id(), nullable=False),
        sa.Column("position", types.Id(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("succeeded", sa.Integer(), nullable=False),
        sa.Column("refused", sa.Integer(), nullable=False),
        sa.Column("refusals", types.Json(), nullable=False),
        sa.Column("actor_kind", sa.String(length=16), nullable=False),
        sa.Column("actor_id", types.Id(), nullable=True),
        sa.Column("actor_name", sa.String(length=254), nullable=False),
        sa.Column("source", sa.String(length=64), nullable=True),
        sa.Column("created_at", types.Moment(), nullable=False),
        sa.Column("started_at", types.Moment(), nullable=True),
        sa.Column("finished_at", types.Moment(), nullable=True),
        sa.Column("error", sa.String(), nullable=True),
        sa.CheckConstraint("kind IN ('retry', 'discard')", name=op.f("ck_bulk_operations_kind")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bulk_operations")),
    )
    op.create_index("ix_bulk_operations_finished", "bulk_operations", ["finished_at"])
    op.create_index(
        "ix_message_queue_letters_named",
        "message_queue",
        ["owner_id", "name", "id"],
        sqlite_where=_LISTED,
        postgresql_where=_LISTED,
    )
