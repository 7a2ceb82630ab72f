"""Numbers that were removed, and organisations that are being purged."""

import sqlalchemy as sa
from alembic import op

from recado.core.database import types

revision = "0103"
down_revision = "0102"


def upgrade() -> None:
    with op.batch_alter_table("channel_addresses", schema=None) as batch_op:
        batch_op.add_column(sa.Column("removed_at", types.Moment(), nullable=True))
        batch_op.drop_constraint(batch_op.f("uq_channel_addresses_address"), type_="unique")
    with op.batch_alter_table("channel_addresses", schema=None) as batch_op:
        batch_op.create_index(
            "uq_channel_addresses_address",
            ["address"],
            unique=True,
            sqlite_where=sa.text("removed_at IS NULL"),
            postgresql_where=sa.text("removed_at IS NULL"),
        )
    with op.batch_alter_table("owners", schema=None) as batch_op:
        batch_op.add_column(sa.Column("purge_started_at", types.Moment(), nullable=True))
