"""The names of people at what they did, blocked contacts, and the indexes behind lists of conversations."""

import sqlalchemy as sa
from alembic import op

from recado.core.database import types

revision = "0102"
down_revision = "0101"

_LETTERS = "status='dead' AND discarded_at IS NULL AND replayed_by IS NULL"

_SHOWN = (
    "id", "message_sid", "payload", "status", "attempts", "created_at", "name", "owner_id", "lane", "priority",
    "due_at", "window_ends_at", "turn_id", "max_attempts", "crashes", "crashes_alone", "lease_token", "leased_until",
    "dispatched_at", "dispatches", "faults", "last_error", "replayed_by", "discarded_at", "finished_at", "handled_by",
)  # fmt: skip
_MOMENTS = frozenset(
    {"created_at", "due_at", "window_ends_at", "leased_until", "dispatched_at", "discarded_at", "finished_at"}
)
_IDS = frozenset({"id", "owner_id", "lane", "turn_id", "lease_token", "replayed_by"})


def _queue_view(dialect: str) -> str:
    options = " WITH (security_invoker = true)" if dialect == "postgresql" else ""
    columns = ",\n    ".join(_shown(name, dialect) for name in _SHOWN)
    kind = "coalesce((SELECT kind FROM lanes WHERE lanes.lane = message_queue.lane), 'job') AS kind"
    return f"CREATE VIEW message_queue_view{options} AS SELECT\n    {columns},\n    {kind}\nFROM message_queue"


def _shown(name: str, dialect: str) -> str:
    if name in _MOMENTS and dialect == "postgresql":
        return f"to_char({name} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') AS {name}"
    if name in _MOMENTS:
        return f"strftime('%Y-%m-%dT%H:%M:%fZ', {name} / 1000000.0, 'unixepoch') AS {name}"
    if name in _IDS and dialect == "postgresql":
        return f"{name}::text AS {name}"
    if name in _IDS:
        pieces = [f"substr(hex({name}), {at}, {size})" for at, size in ((1, 8), (9, 4), (13, 4), (17, 4), (21, 12))]
        joined = " || '-' || ".join(pieces)
        return f"CASE WHEN {name} IS NOT NULL THEN lower({joined}) END AS {name}"
    return name


def _index(table: str, name: str, columns: list[str], *, where: str | None = None) -> None:
    """Make an index over some columns of a table, or over its rows that meet a condition."""
    condition = None if where is None else sa.text(where)
    op.create_index(name, table, columns, unique=False, sqlite_where=condition, postgresql_where=condition)


def _name(column: str) -> "sa.Column[str]":
    return sa.Column(column, sa.String(length=254), nullable=True)


def upgrade() -> None:
    op.execute("DROP VIEW message_queue_view")
    _add_columns()
    _index_conversations()
    op.drop_index("ix_contacts_owner", "contacts")
    _index("contacts", "ix_contacts_owner", ["owner_id", "id"])
    _index("drafts", "ix_drafts_owner", ["owner_id", "id"])
    op.drop_index("ix_inbox_items_open", "inbox_items")
    _index("inbox_items", "ix_inbox_items_open", ["owner_id", "created_at", "id"], where="resolved_at IS NULL")
    _index("message_queue", "ix_message_queue_letters", ["owner_id", "id"], where=_LETTERS)
    op.get_bind().exec_driver_sql(_queue_view(op.get_context().dialect.name))


def _add_columns() -> None:
    op.add_column("answers", _name("author_name"))
    for column in ("named_by", "opted_out_by", "blocked_by"):
        op.add_column("contacts", _name(column))
    op.add_column("contacts", sa.Column("blocked_at", types.Moment(), nullable=True))
    op.add_column("conversation_events", _name("by_name"))
    op.add_column("conversations", sa.Column("holder_id", types.Id(), nullable=True))
    op.add_column("conversations", _name("holder_name"))
    op.add_column("conversations", sa.Column("assignee_id", types.Id(), nullable=True))
    op.add_column("message_queue", _name("handled_by"))


def _index_conversations() -> None:
    op.drop_index("ix_conversations_owner", "conversations")
    latest, active = ["last_activity_at", "id"], "status<>'closed'"
    _index("conversations", "ix_conversations_owner", ["owner_id", *latest])
    _index("conversations", "ix_conversations_active", ["owner_id", *latest], where=active)
    _index(
        "conversations",
        "ix_conversations_held",
        ["owner_id", "held_by", *latest],
        where=f"{active} AND held_by<>'agent'",
    )
    _index(
        "conversations",
        "ix_conversations_assigned",
        ["owner_id", "assignee_id", *latest],
        where=f"{active} AND assignee_id IS NOT NULL",
    )
    _index("conversations", "ix_conversations_number", ["owner_id", "address_id", *latest], where=active)
    _index("conversations", "ix_conversations_contact", ["owner_id", "contact_id", *latest])
