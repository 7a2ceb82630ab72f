"""An index of what was not delivered to an endpoint. An endpoint can be removed however much was delivered to it."""

import sqlalchemy as sa
from alembic import op

revision = "0111"
down_revision = "0110"


def upgrade() -> None:
    with op.batch_alter_table("event_deliveries", schema=None) as batch_op:
        batch_op.drop_constraint(batch_op.f("fk_event_deliveries_endpoint_id"), type_="foreignkey")
    with op.batch_alter_table("event_deliveries", schema=None) as batch_op:
        batch_op.create_index(
            "ix_event_deliveries_undelivered",
            ["endpoint_id", "id"],
            unique=False,
            sqlite_where=sa.text("state <> 'delivered'"),
            postgresql_where=sa.text("state <> 'delivered'"),
        )
