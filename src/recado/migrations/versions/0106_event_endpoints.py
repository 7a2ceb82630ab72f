"""Where events are sent, and what was delivered there."""

import sqlalchemy as sa
from alembic import op

from recado.core.database import types

revision = "0106"
down_revision = "0105"


def upgrade() -> None:
    _create_event_endpoints()
    _create_event_deliveries()


def _create_event_endpoints() -> None:
    op.create_table(
        "event_endpoints",
        sa.Column("id", types.Id(), nullable=False),
        sa.Column("owner_id", types.Id(), nullable=False),
        sa.Column("url", sa.String(length=2000), nullable=False),
        sa.Column("types", types.Json(), nullable=True),
        sa.Column("allow_private", sa.Boolean(), nullable=False),
        sa.Column("secret_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("previous_secret_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("previous_until", types.Moment(), nullable=True),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("failing_since", types.Moment(), nullable=True),
        sa.Column("open_until", types.Moment(), nullable=True),
        sa.Column("disabled_at", types.Moment(), nullable=True),
        sa.Column("disabled_reason", sa.String(length=32), nullable=True),
        sa.Column("created_at", types.Moment(), nullable=False),
        sa.Column("created_by", sa.String(length=254), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event_endpoints")),
    )
    op.create_index("ix_event_endpoints_owner", "event_endpoints", ["owner_id", "id"])


def _create_event_deliveries() -> None:
    op.create_table(
        "event_deliveries",
        sa.Column("id", types.Id(), nullable=False),
        sa.Column("owner_id", types.Id(), nullable=False),
        sa.Column("endpoint_id", types.Id(), nullable=False),
        sa.Column("event_id", types.Id(), nullable=False),
        sa.Column("type", sa.String(length=32), nullable=False),
        sa.Column("lane", types.Id(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("error", sa.String(length=200), nullable=True),
        sa.Column("created_at", types.Moment(), nullable=False),
        sa.Column("tried_since", types.Moment(), nullable=True),
        sa.Column("updated_at", types.Moment(), nullable=False),
        sa.CheckConstraint(
            "state IN ('waiting', 'delivered', 'failed', 'cancelled')", name=op.f("ck_event_deliveries_state")
        ),
        sa.ForeignKeyConstraint(["endpoint_id"], ["event_endpoints.id"], name=op.f("fk_event_deliveries_endpoint_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event_deliveries")),
    )
    op.create_index("ix_event_deliveries_endpoint", "event_deliveries", ["endpoint_id", "id"])
    waits = sa.text("state='waiting'")
    op.create_index(
        "ix_event_deliveries_waiting",
        "event_deliveries",
        ["endpoint_id", "lane"],
        sqlite_where=waits,
        postgresql_where=waits,
    )
