"""An index of the events of all owners by number, for those that wait for what is new; SQLite has it in its key."""

import sqlalchemy as sa
from alembic import op

revision = "0110"
down_revision = "0109"


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.create_index("ix_events_number", "events", ["number"], postgresql_where=sa.text("number IS NOT NULL"))
