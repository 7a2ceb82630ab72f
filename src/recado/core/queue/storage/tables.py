"""The tables of the queue: the row is the job, for every queue backend.

A row of `lanes` also holds the first waiting job of the lane (`head_job`, `next_due_at`, `next_priority`), so a claim
reads an index as large as the number of lanes with something to do. `next_due_at` is null while a job of the lane runs.
"""

from typing import Any

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Connection,
    Integer,
    MetaData,
    String,
    Table,
    event,
    literal_column,
)

from recado.core.database.types import Id, JsonObject, Moment, metadata, partial

STATUSES = ("collecting", "waiting", "running", "done", "dead", "discarded")
UNFINISHED = STATUSES[:3]
IS_UNFINISHED = literal_column("status").in_([literal_column(f"'{status}'") for status in UNFINISHED])


message_queue = Table(
    "message_queue",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name", String(64), nullable=False),
    # For people. What no database stores as text is U+FFFD here; the message itself has the exact id.
    Column("message_sid", String(255)),
    Column("payload", JsonObject, nullable=False),
    Column("status", String(16), nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
    Column("created_at", Moment, nullable=False),
    Column("owner_id", Id, nullable=False),
    Column("lane", Id, nullable=False),
    Column("priority", Integer, nullable=False, default=5),
    Column("due_at", Moment, nullable=False),
    Column("window_ends_at", Moment),
    # The moment from which `due_at` was reckoned. One in the future is of a clock that has been set back since.
    Column("timed_at", Moment, nullable=False),
    Column("turn_id", Id),
    Column("max_attempts", Integer),
    Column("crashes", Integer, nullable=False, default=0),
    Column("crashes_alone", Integer, nullable=False, default=0),
    Column("faults", Integer, nullable=False, default=0),
    Column("lease_token", Id),
    Column("leased_until", Moment),
    Column("dispatched_at", Moment),
    Column("dispatches", Integer, nullable=False, default=0),
    Column("last_error", String),
    Column("replayed_by", Id),
    Column("discarded_at", Moment),
    Column("finished_at", Moment),
    Column("trace", String(64)),
    # The name of the person who retried or discarded it.
    Column("handled_by", String(254)),
    CheckConstraint(f"status IN ({', '.join(map(repr, STATUSES))})", name="status"),
    CheckConstraint("json_valid(payload)", name="payload").ddl_if(dialect="sqlite"),
    partial("uq_message_queue_collecting", "lane", unique=True, where="status='collecting'"),
    partial("uq_message_queue_running", "lane", unique=True, where="status='running'"),
    partial("ix_message_queue_unfinished", "lane", "id", where="status IN ('collecting','waiting','running')"),
    partial("ix_message_queue_leased", "leased_until", where="status='running'"),
    partial("ix_message_queue_dead", "id", where="status='dead'"),
    partial(
        "ix_message_queue_letters",
        *("owner_id", "id"),
        where="status='dead' AND discarded_at IS NULL AND replayed_by IS NULL",
    ),
    partial(
        "ix_message_queue_letters_named",
        *("owner_id", "name", "id"),
        where="status='dead' AND discarded_at IS NULL AND replayed_by IS NULL",
    ),
    partial("ix_message_queue_finished", "finished_at", where="status IN ('done','discarded')"),
    partial("ix_message_queue_turn", "turn_id", where="turn_id IS NOT NULL"),
)

lanes = Table(
    "lanes",
    metadata,
    Column("lane", Id, primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("owner_id", Id, nullable=False),
    Column("head_job", Id),
    Column("next_due_at", Moment),
    Column("next_priority", Integer),
    Column("isolated", Boolean),
    CheckConstraint("kind IN ('reply', 'send', 'job', 'schedule')", name="kind"),
    partial("ix_lanes_ready", "next_priority", "owner_id", "isolated", "next_due_at", where="next_due_at IS NOT NULL"),
    partial("ix_lanes_due", "next_due_at", "next_priority", "owner_id", where="next_due_at IS NOT NULL"),
)

queue_owners = Table(
    "queue_owners",
    metadata,
    Column("owner_id", Id, primary_key=True),
    Column("served_at", Moment, nullable=False),
    Column("max_running", Integer),
)

schedules = Table(
    "schedules",
    metadata,
    Column("name", String(64), primary_key=True),
    # Exactly one of these two is set.
    Column("every_seconds", Integer),
    Column("cron", String(100)),
    Column("time_zone", String(64), nullable=False),
    Column("enabled", Boolean(create_constraint=False), nullable=False),
    Column("set_at", Moment),
)

cron_slots = Table(
    "cron_slots",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("slot", Moment, primary_key=True),
)


_SHOWN = (
    "id", "message_sid", "payload", "status", "attempts", "created_at", "name", "owner_id", "lane", "priority",
    "due_at", "window_ends_at", "turn_id", "max_attempts", "crashes", "crashes_alone", "lease_token", "leased_until",
    "dispatched_at", "dispatches", "faults", "last_error", "replayed_by", "discarded_at", "finished_at",
    "handled_by",
)  # fmt: skip


def view_sql(dialect: str) -> str:
    """Return the CREATE VIEW of `message_queue_view`: jobs for people, with ids and times as text on both databases."""
    columns = ",\n    ".join(_shown(message_queue.c[name], dialect) for name in _SHOWN)
    # On PostgreSQL the reader's own rights count, so that the view shows a tenant no other tenant's rows.
    options = " WITH (security_invoker = true)" if dialect == "postgresql" else ""
    create = "CREATE OR REPLACE VIEW" if dialect == "postgresql" else "CREATE VIEW IF NOT EXISTS"
    # The row of a lane that was made for one job is gone once that job has ended.
    kind = "coalesce((SELECT kind FROM lanes WHERE lanes.lane = message_queue.lane), 'job') AS kind"
    return f"{create} message_queue_view{options} AS SELECT\n    {columns},\n    {kind}\nFROM message_queue"


def _shown(column: "Column[Any]", dialect: str) -> str:
    name = column.name
    if isinstance(column.type, Moment):
        if dialect == "postgresql":
            return f"to_char({name} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') AS {name}"
        return f"strftime('%Y-%m-%dT%H:%M:%fZ', {name} / 1000000.0, 'unixepoch') AS {name}"
    if isinstance(column.type, Id):
        if dialect == "postgresql":
            return f"{name}::text AS {name}"
        pieces = " || '-' || ".join(f"substr(hex({name}), {at}, {size})" for at, size in _UUID_PIECES)
        return f"CASE WHEN {name} IS NOT NULL THEN lower({pieces}) END AS {name}"
    return name


_UUID_PIECES = ((1, 8), (9, 4), (13, 4), (17, 4), (21, 12))


metadata.info.setdefault("views", []).append("message_queue_view")


@event.listens_for(metadata, "after_create")  # It reads two tables.
def _add_view(_metadata: MetaData, connection: Connection, **_options: object) -> None:
    connection.exec_driver_sql(view_sql(connection.dialect.name))
