"""The log of events, and the last number that was given to one."""

import sqlalchemy as sa
from alembic import op

from recado.core.database import types

revision = "0104"
down_revision = "0103"


def upgrade() -> None:
    op.create_table(
        "event_numbers",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event_numbers")),
    )
    op.create_table(
        "events",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=True),
        sa.Column("id", types.Id(), nullable=False),
        sa.Column("owner_id", types.Id(), nullable=False),
        sa.Column("type", sa.String(length=32), nullable=False),
        sa.Column("lane", types.Id(), nullable=False),
        sa.Column("conversation_id", types.Id(), nullable=True),
        sa.Column("data", types.JsonObject(), nullable=False),
        sa.Column("at", types.Moment(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_events")),
        sa.UniqueConstraint("id", name=op.f("uq_events_id")),
    )
    _index("events", "ix_events_unnumbered", ["seq"], where="number IS NULL")
    _index("events", "uq_events_owner", ["owner_id", "number"], where="number IS NOT NULL", unique=True)


def _index(table: str, name: str, columns: list[str], *, where: str, unique: bool = False) -> None:
    """Make an index over the rows that meet a condition, for each database."""
    condition = sa.text(where)
    op.create_index(name, table, columns, unique=unique, sqlite_where=condition, postgresql_where=condition)
