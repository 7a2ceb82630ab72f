"""The ground: owners and their keys, messages, turns, answers, the queue, and the full-text index of knowledge."""

import sqlalchemy as sa
from alembic import op

from recado.core.database import types

revision = "0100"
down_revision = None


# Alembic compares tables only; the full-text index and the triggers that keep it in step are written here by hand.
_FULL_TEXT = (
    """
CREATE VIRTUAL TABLE knowledge_fts USING fts5(
    owner, heading, body, loose, tokenize = 'unicode61 remove_diacritics 2', prefix = '2 3'
)
""",
    """
CREATE TRIGGER knowledge_chunks_added AFTER INSERT ON knowledge_chunks BEGIN
    INSERT INTO knowledge_fts(rowid, owner, heading, body, loose)
    VALUES (new.number, 'o' || lower(hex(new.owner_id)), new.heading_terms, new.body_terms, new.loose_terms);
END
""",
    """
CREATE TRIGGER knowledge_chunks_removed AFTER DELETE ON knowledge_chunks BEGIN
    DELETE FROM knowledge_fts WHERE rowid = old.number;
END
""",
)
_SEARCH = (
    """
ALTER TABLE knowledge_chunks ADD COLUMN search tsvector GENERATED ALWAYS AS (
    setweight(to_tsvector('simple', heading_terms), 'A') || setweight(to_tsvector('simple', body_terms), 'B')
    || setweight(to_tsvector('simple', loose_terms), 'D')) STORED
""",
    "CREATE INDEX ix_knowledge_chunks_search ON knowledge_chunks USING gin (search)",
)

_VIEW_IDS = {"id", "owner_id", "lane", "turn_id", "lease_token", "replayed_by"}
_VIEW_MOMENTS = {
    "created_at", "due_at", "window_ends_at", "leased_until", "dispatched_at", "discarded_at", "finished_at",
}  # fmt: skip
_VIEW = (
    "id", "message_sid", "payload", "status", "attempts", "created_at", "name", "owner_id", "lane", "priority",
    "due_at", "window_ends_at", "turn_id", "max_attempts", "crashes", "crashes_alone", "lease_token", "leased_until",
    "dispatched_at", "dispatches", "faults", "last_error", "replayed_by", "discarded_at", "finished_at",
)  # fmt: skip


def _payload_check() -> list[sa.CheckConstraint]:
    if op.get_context().dialect.name != "sqlite":
        return []
    return [sa.CheckConstraint("json_valid(payload)", name=op.f("ck_message_queue_payload"))]


def _queue_view(dialect: str) -> str:
    options = " WITH (security_invoker = true)" if dialect == "postgresql" else ""
    columns = ",\n    ".join(_shown(name, dialect) for name in _VIEW)
    kind = "coalesce((SELECT kind FROM lanes WHERE lanes.lane = message_queue.lane), 'job') AS kind"
    return f"CREATE VIEW message_queue_view{options} AS SELECT\n    {columns},\n    {kind}\nFROM message_queue"


def _shown(name: str, dialect: str) -> str:
    if name in _VIEW_MOMENTS and dialect == "postgresql":
        return f"to_char({name} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') AS {name}"
    if name in _VIEW_MOMENTS:
        return f"strftime('%Y-%m-%dT%H:%M:%fZ', {name} / 1000000.0, 'unixepoch') AS {name}"
    if name in _VIEW_IDS and dialect == "postgresql":
        return f"{name}::text AS {name}"
    if name in _VIEW_IDS:
        pieces = [f"substr(hex({name}), {at}, {size})" for at, size in ((1, 8), (9, 4), (13, 4), (17, 4), (21, 12))]
        joined = " || '-' || ".join(pieces)
        return f"CASE WHEN {name} IS NOT NULL THEN lower({joined}) END AS {name}"
    return name


def _index(table: str, name: str, columns: list[str], *, where: str | None = None, unique: bool = False) -> None:
    """Make an index over some columns of a table, or over its rows that meet a condition."""
    condition = None if where is None else sa.text(where)
    op.create_index(name, table, columns, unique=unique, sqlite_where=condition, postgresql_where=condition)


def upgrade() -> None:
    _create_agent_settings()
    _create_contacts()
    _create_knowledge_chunks()
    _create_knowledge_documents()
    _create_lanes()
    _create_message_queue()
    _create_messages()
    _create_orphans()
    _create_owners()
    _create_system_keys()
    _create_queue_owners()
    _create_contact_addresses()
    _create_conversations()
    _create_outcome_changes()
    _create_channel_accounts()
    _create_twilio_credentials()
    _create_directory_generation()
    _create_orphan_signers()
    _create_users()
    _create_channel_addresses()
    _create_conversation_events()
    _create_turns()
    _create_agent_runs()
    _create_answers()
    _create_drafts()
    _create_inbox_items()
    _create_tool_effects()
    _create_answer_parts()
    _create_attempts()
    _create_delivery_events()
    _create_sent_messages()
    _create_schedules()
    _create_cron_slots()
    op.get_bind().exec_driver_sql(_queue_view(op.get_context().dialect.name))
    for statement in _FULL_TEXT if op.get_context().dialect.name == "sqlite" else _SEARCH:
        op.execute(sa.text(statement))


def _create_agent_settings() -> None:
    op.create_table(
        "agent_settings",
        sa.Column("owner_id", types.Id(), nullable=False),
        sa.Column("agent", sa.String(length=60), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
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
        sa.PrimaryKeyConstraint("owner_id", "agent", name=op.f("pk_agent_settings")),
    )
    _index("agent_settings", "uq_agent_settings_active", ["owner_id"], where="active", unique=True)


def _create_contacts() -> None:
    op.create_table(
        "contacts",
        sa.Column("id", types.Id(), nullable=False),
        sa.Column("owner_id", types.Id(), nullable=False),
        sa.Column("name", sa.String(), nullable=True),
        sa.Column("opted_out_at", types.Moment(), nullable=True),
        sa.Column("created_at", types.Moment(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_contacts")),
    )
    _index("contacts", "ix_contacts_owner", ["owner_id"])


def _create_knowledge_chunks() -> None:
    op.create_table(
        "knowledge_chunks",
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("owner_id", types.Id(), nullable=False),
        sa.Column("document_id", types.Id(), nullable=False),
        sa.Column("revision", types.Id(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("heading", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("heading_terms", sa.Text(), nullable=False),
        sa.Column("body_terms", sa.Text(), nullable=False),
        sa.Column("loose_terms", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_knowledge_chunks")),
    )
    _index("knowledge_chunks", "ix_knowledge_chunks_document_revision", ["document_id", "revision"])
    _index("knowledge_chunks", "ix_knowledge_chunks_owner", ["owner_id"])


def _create_knowledge_documents() -> None:
    op.create_table(
        "knowledge_documents",
        sa.Column("id", types.Id(), nullable=False),
        sa.Column("owner_id", types.Id(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("sha", sa.LargeBinary(length=32), nullable=False),
        sa.Column("revision", types.Id(), nullable=False),
        sa.Column("chunks", sa.Integer(), nullable=False),
        sa.Column("added_at", types.Moment(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_knowledge_documents")),
        sa.UniqueConstraint("owner_id", "name", name=op.f("uq_knowledge_documents_owner_id_name")),
    )


def _create_lanes() -> None:
    op.create_table(
        "lanes",
        sa.Column("lane", types.Id(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("owner_id", types.Id(), nullable=False),
        sa.Column("head_job", types.Id(), nullable=True),
        sa.Column("next_due_at", types.Moment(), nullable=True),
        sa.Column("next_priority", sa.Integer(), nullable=True),
        sa.Column("isolated", sa.Boolean(), nullable=True),
        sa.CheckConstraint("kind IN ('reply', 'send', 'job', 'schedule')", name=op.f("ck_lanes_kind")),
        sa.PrimaryKeyConstraint("lane", name=op.f("pk_lanes")),
    )
    _index("lanes", "ix_lanes_due", ["next_due_at", "next_priority", "owner_id"], where="next_due_at IS NOT NULL")
    _index(
        "lanes",
        "ix_lanes_ready",
        ["next_priority", "owner_id", "isolated", "next_due_at"],
        where="next_due_at IS NOT NULL",
    )


def _create_message_queue() -> None:
    op.create_table(
        "message_queue",
        sa.Column("id", types.Id(), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("message_sid", sa.String(length=255), nullable=True),
        sa.Column("payload", types.JsonObject(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created_at", types.Moment(), nullable=False),
        sa.Column("owner_id", types.Id(), nullable=False),
        sa.Column("lane", types.Id(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("due_at", types.Moment(), nullable=False),
        sa.Column("window_ends_at", types.Moment(), nullable=True),
        sa.Column("timed_at", types.Moment(), nullable=False),
        sa.Column("turn_id", types.Id(), nullable=True),
        sa.Column("max_attempts", sa.Integer(), nullable=True),
        sa.Column("crashes", sa.Integer(), nullable=False),
        sa.Column("crashes_alone", sa.Integer(), nullable=False),
        sa.Column("faults", sa.Integer(), nullable=False),
        sa.Column("lease_token", types.Id(), nullable=True),
        sa.Column("leased_until", types.Moment(), nullable=True),
        sa.Column("dispatched_at", types.Moment(), nullable=True),
        sa.Column("dispatches", sa.Integer(), nullable=False),
        sa.Column("last_error", sa.String(), nullable=True),
        sa.Column("replayed_by", types.Id(), nullable=True),
        sa.Column("discarded_at", types.Moment(), nullable=True),
        sa.Column("finished_at", types.Moment(), nullable=True),
        sa.Column("trace", sa.String(length=64), nullable=True),
        sa.CheckConstraint(
            "status IN ('collecting', 'waiting', 'running', 'done', 'dead', 'discarded')",
            name=op.f("ck_message_queue_status"),
        ),
        *_payload_check(),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_message_queue")),
    )
    _index("message_queue", "ix_message_queue_dead", ["id"], where="status='dead'")
    _index("message_queue", "ix_message_queue_finished", ["finished_at"], where="status IN ('done','discarded')")
    _index("message_queue", "ix_message_queue_leased", ["leased_until"], where="status='running'")
    _index("message_queue", "ix_message_queue_turn", ["turn_id"], where="turn_id IS NOT NULL")
    _index(
        "message_queue",
        "ix_message_queue_unfinished",
        ["lane", "id"],
        where="status IN ('collecting','waiting','running')",
    )
    _index("message_queue", "uq_message_queue_collecting", ["lane"], where="status='collecting'", unique=True)
    _index("message_queue", "uq_message_queue_running", ["lane"], where="status='running'", unique=True)


def _create_messages() -> None:
    op.create_table(
        "messages",
        sa.Column("id", types.Id(), nullable=False),
        sa.Column("owner_id", types.Id(), nullable=False),
        sa.Column("lane", types.Id(), nullable=False),
        sa.Column("address_id", types.Id(), nullable=False),
        sa.Column("provider", sa.String(length=16), nullable=False),
        sa.Column("account_ref", types.ProviderId(), nullable=False),
        sa.Column("provider_message_id", types.ProviderId(), nullable=False),
        sa.Column("from_address", sa.String(), nullable=False),
        sa.Column("to_address", sa.String(), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("opt_out_type", sa.String(length=16), nullable=True),
        sa.Column("profile_name", sa.String(), nullable=True),
        sa.Column("raw", sa.LargeBinary(), nullable=True),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("received_at", types.Moment(), nullable=False),
        sa.Column("contact_id", types.Id(), nullable=True),
        sa.Column("conversation_id", types.Id(), nullable=True),
        sa.Column("turn_id", types.Id(), nullable=True),
        sa.Column("outcome", sa.String(length=16), nullable=True),
        sa.Column("outcome_reason", sa.String(length=32), nullable=True),
        sa.Column("outcome_at", types.Moment(), nullable=True),
        sa.Column("answered_by", types.Id(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_messages")),
        sa.UniqueConstraint(
            "address_id", "provider_message_id", name=op.f("uq_messages_address_id_provider_message_id")
        ),
    )
    _index("messages", "ix_messages_conversation", ["conversation_id", "id"], where="conversation_id IS NOT NULL")
    _index("messages", "ix_messages_handed_off", ["lane", "id"], where="outcome='handed_off'")
    _index("messages", "ix_messages_turn", ["turn_id"], where="turn_id IS NOT NULL")
    _index("messages", "ix_messages_unturned", ["lane", "id"], where="turn_id IS NULL AND outcome IS NULL")


def _create_orphans() -> None:
    op.create_table(
        "orphans",
        sa.Column("id", types.Id(), nullable=False),
        sa.Column("provider", sa.String(length=16), nullable=False),
        sa.Column("account_ref", types.ProviderId(), nullable=False),
        sa.Column("provider_message_id", types.ProviderId(), nullable=False),
        sa.Column("from_address", sa.String(), nullable=False),
        sa.Column("to_address", sa.String(), nullable=False),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
        sa.Column("received_at", types.Moment(), nullable=False),
        sa.Column("assigned_at", types.Moment(), nullable=True),
        sa.Column("owner_id", types.Id(), nullable=True),
        sa.Column("signed_by", types.Id(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_orphans")),
        sa.UniqueConstraint(
            "signed_by",
            "provider_message_id",
            "to_address",
            name=op.f("uq_orphans_signed_by_provider_message_id_to_address"),
        ),
    )
    _index("orphans", "ix_orphans_message", ["provider_message_id"])
    _index("orphans", "ix_orphans_waiting", ["received_at"], where="assigned_at IS NULL")


def _create_owners() -> None:
    op.create_table(
        "owners",
        sa.Column("id", types.Id(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("locale", sa.String(length=16), nullable=False),
        sa.Column("apology_text", sa.String(), nullable=True),
        sa.Column("handoff_text", sa.String(), nullable=True),
        sa.Column("nudge_text", sa.String(), nullable=True),
        sa.Column("send_policy", sa.String(length=16), nullable=False),
        sa.Column("stop_words", types.Json(), nullable=True),
        sa.Column("start_words", types.Json(), nullable=True),
        sa.Column("data_key_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("data_key_id", sa.String(length=16), nullable=False),
        sa.Column("lane_salt_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("closed_at", types.Moment(), nullable=True),
        sa.Column("created_at", types.Moment(), nullable=False),
        sa.CheckConstraint("send_policy IN ('prefer_silence', 'prefer_delivery')", name=op.f("ck_owners_send_policy")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_owners")),
        sa.UniqueConstraint("email", name=op.f("uq_owners_email")),
    )


def _create_system_keys() -> None:
    op.create_table(
        "system_keys",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("key_id", sa.String(length=16), nullable=False),
        sa.Column("created_at", types.Moment(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_system_keys")),
    )


def _create_queue_owners() -> None:
    op.create_table(
        "queue_owners",
        sa.Column("owner_id", types.Id(), nullable=False),
        sa.Column("served_at", types.Moment(), nullable=False),
        sa.Column("max_running", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("owner_id", name=op.f("pk_queue_owners")),
    )


def _create_contact_addresses() -> None:
    op.create_table(
        "contact_addresses",
        sa.Column("id", types.Id(), nullable=False),
        sa.Column("owner_id", types.Id(), nullable=False),
        sa.Column("contact_id", types.Id(), nullable=False),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("match_key", sa.String(), nullable=False),
        sa.Column("created_at", types.Moment(), nullable=False),
        sa.ForeignKeyConstraint(["contact_id"], ["contacts.id"], name=op.f("fk_contact_addresses_contact_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_contact_addresses")),
        sa.UniqueConstraint("owner_id", "address", name=op.f("uq_contact_addresses_owner_id_address")),
    )
    _index("contact_addresses", "ix_contact_addresses_contact", ["contact_id"])
    _index("contact_addresses", "ix_contact_addresses_match", ["owner_id", "match_key"])


def _create_conversations() -> None:
    op.create_table(
        "conversations",
        sa.Column("id", types.Id(), nullable=False),
        sa.Column("owner_id", types.Id(), nullable=False),
        sa.Column("lane", types.Id(), nullable=False),
        sa.Column("contact_id", types.Id(), nullable=False),
        sa.Column("address_id", types.Id(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("held_by", sa.String(length=16), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("previous_id", types.Id(), nullable=True),
        sa.Column("opened_at", types.Moment(), nullable=False),
        sa.Column("held_since", types.Moment(), nullable=False),
        sa.Column("last_activity_at", types.Moment(), nullable=False),
        sa.Column("nudge_id", types.Id(), nullable=True),
        sa.Column("closed_at", types.Moment(), nullable=True),
        sa.Column("closed_by", sa.String(length=16), nullable=True),
        sa.Column("closed_reason", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["contact_id"], ["contacts.id"], name=op.f("fk_conversations_contact_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_conversations")),
    )
    _index("conversations", "ix_conversations_lane", ["lane", "opened_at"])
    _index("conversations", "ix_conversations_owner", ["owner_id", "last_activity_at"])
    _index(
        "conversations",
        "ix_conversations_quiet",
        ["status", "last_activity_at", "id"],
        where="status<>'closed' AND held_by='agent'",
    )
    _index("conversations", "uq_conversations_open", ["lane"], where="status<>'closed'", unique=True)


def _create_outcome_changes() -> None:
    op.create_table(
        "outcome_changes",
        sa.Column("id", types.Id(), nullable=False),
        sa.Column("owner_id", types.Id(), nullable=False),
        sa.Column("message_id", types.Id(), nullable=False),
        sa.Column("before", sa.String(length=48), nullable=False),
        sa.Column("after", sa.String(length=48), nullable=False),
        sa.Column("because", sa.String(length=32), nullable=False),
        sa.Column("at", types.Moment(), nullable=False),
        sa.ForeignKeyConstraint(["message_id"], ["messages.id"], name=op.f("fk_outcome_changes_message_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outcome_changes")),
    )
    _index("outcome_changes", "ix_outcome_changes_message", ["message_id"])


def _create_channel_accounts() -> None:
    op.create_table(
        "channel_accounts",
        sa.Column("id", types.Id(), nullable=False),
        sa.Column("owner_id", types.Id(), nullable=False),
        sa.Column("provider", sa.String(length=16), nullable=False),
        sa.Column("account_ref", types.ProviderId(), nullable=False),
        sa.Column("paused_until", types.Moment(), nullable=True),
        sa.Column("paused_why", sa.String(length=32), nullable=True),
        sa.Column("created_at", types.Moment(), nullable=False),
        sa.Column("updated_at", types.Moment(), nullable=False),
        sa.Column("changed_in", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["owner_id"], ["owners.id"], name=op.f("fk_channel_accounts_owner_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_channel_accounts")),
        sa.UniqueConstraint(
            "owner_id", "provider", "account_ref", name=op.f("uq_channel_accounts_owner_id_provider_account_ref")
        ),
    )
    _index("channel_accounts", "ix_channel_accounts_changed", ["changed_in"])
    _index("channel_accounts", "ix_channel_accounts_ref", ["provider", "account_ref"])


def _create_twilio_credentials() -> None:
    op.create_table(
        "twilio_credentials",
        sa.Column("account_id", types.Id(), nullable=False),
        sa.Column("owner_id", types.Id(), nullable=False),
        sa.Column("auth_token_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("previous_token_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("updated_at", types.Moment(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["channel_accounts.id"], name=op.f("fk_twilio_credentials_account_id")),
        sa.ForeignKeyConstraint(["owner_id"], ["owners.id"], name=op.f("fk_twilio_credentials_owner_id")),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_twilio_credentials")),
    )
    _index("twilio_credentials", "ix_twilio_credentials_owner", ["owner_id"])


def _create_directory_generation() -> None:
    op.create_table(
        "directory_generation",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_directory_generation")),
    )


def _create_orphan_signers() -> None:
    op.create_table(
        "orphan_signers",
        sa.Column("orphan_id", types.Id(), nullable=False),
        sa.Column("account_id", types.Id(), nullable=False),
        sa.Column("owner_id", types.Id(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["channel_accounts.id"], name=op.f("fk_orphan_signers_account_id")),
        sa.ForeignKeyConstraint(["orphan_id"], ["orphans.id"], name=op.f("fk_orphan_signers_orphan_id")),
        sa.PrimaryKeyConstraint("orphan_id", "account_id", name=op.f("pk_orphan_signers")),
    )


def _create_users() -> None:
    op.create_table(
        "users",
        sa.Column("id", types.Id(), nullable=False),
        sa.Column("owner_id", types.Id(), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("password_hash", sa.String(length=255), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("created_at", types.Moment(), nullable=False),
        sa.Column("last_login_at", types.Moment(), nullable=True),
        sa.CheckConstraint("role IN ('admin', 'operator', 'viewer')", name=op.f("ck_users_role")),
        sa.ForeignKeyConstraint(["owner_id"], ["owners.id"], name=op.f("fk_users_owner_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("email", name=op.f("uq_users_email")),
    )
    _index("users", "ix_users_owner_id", ["owner_id"])


def _create_channel_addresses() -> None:
    op.create_table(
        "channel_addresses",
        sa.Column("id", types.Id(), nullable=False),
        sa.Column("owner_id", types.Id(), nullable=False),
        sa.Column("account_id", types.Id(), nullable=False),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("created_at", types.Moment(), nullable=False),
        sa.Column("first_webhook_at", types.Moment(), nullable=True),
        sa.Column("swept_until", types.Moment(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["channel_accounts.id"], name=op.f("fk_channel_addresses_account_id")),
        sa.ForeignKeyConstraint(["owner_id"], ["owners.id"], name=op.f("fk_channel_addresses_owner_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_channel_addresses")),
        sa.UniqueConstraint("address", name=op.f("uq_channel_addresses_address")),
    )
    _index("channel_addresses", "ix_channel_addresses_account", ["account_id"])
    _index("channel_addresses", "ix_channel_addresses_owner", ["owner_id"])


def _create_conversation_events() -> None:
    op.create_table(
        "conversation_events",
        sa.Column("id", types.Id(), nullable=False),
        sa.Column("owner_id", types.Id(), nullable=False),
        sa.Column("conversation_id", types.Id(), nullable=False),
        sa.Column("what", sa.String(length=32), nullable=False),
        sa.Column("before", sa.String(length=32), nullable=True),
        sa.Column("after", sa.String(length=32), nullable=True),
        sa.Column("by", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("at", types.Moment(), nullable=False),
        sa.ForeignKeyConstraint(
            ["conversation_id"], ["conversations.id"], name=op.f("fk_conversation_events_conversation_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_conversation_events")),
    )
    _index("conversation_events", "ix_conversation_events_conversation", ["conversation_id"])


def _create_turns() -> None:
    op.create_table(
        "turns",
        sa.Column("id", types.Id(), nullable=False),
        sa.Column("owner_id", types.Id(), nullable=False),
        sa.Column("lane", types.Id(), nullable=False),
        sa.Column("conversation_id", types.Id(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("replay_of", types.Id(), nullable=True),
        sa.Column("resumes", sa.Boolean(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", types.Moment(), nullable=False),
        sa.Column("deadline_at", types.Moment(), nullable=False),
        sa.Column("settled_at", types.Moment(), nullable=True),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversations.id"], name=op.f("fk_turns_conversation_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_turns")),
    )
    _index("turns", "ix_turns_conversation", ["conversation_id"])
    _index("turns", "ix_turns_unsettled", ["deadline_at"], where="settled_at IS NULL")


def _create_agent_runs() -> None:
    op.create_table(
        "agent_runs",
        sa.Column("id", types.Id(), nullable=False),
        sa.Column("owner_id", types.Id(), nullable=False),
        sa.Column("turn_id", types.Id(), nullable=False),
        sa.Column("result", sa.String(length=16), nullable=True),
        sa.Column("why", sa.String(), nullable=True),
        sa.Column("model", sa.String(), nullable=True),
        sa.Column("input_tokens", sa.Integer(), nullable=False),
        sa.Column("output_tokens", sa.Integer(), nullable=False),
        sa.Column("started_at", types.Moment(), nullable=False),
        sa.Column("finished_at", types.Moment(), nullable=True),
        sa.ForeignKeyConstraint(["turn_id"], ["turns.id"], name=op.f("fk_agent_runs_turn_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_agent_runs")),
    )
    _index("agent_runs", "ix_agent_runs_turn", ["turn_id"])


def _create_answers() -> None:
    op.create_table(
        "answers",
        sa.Column("id", types.Id(), nullable=False),
        sa.Column("owner_id", types.Id(), nullable=False),
        sa.Column("lane", types.Id(), nullable=False),
        sa.Column("send_lane", types.Id(), nullable=False),
        sa.Column("conversation_id", types.Id(), nullable=False),
        sa.Column("turn_id", types.Id(), nullable=True),
        sa.Column("author", sa.String(length=16), nullable=False),
        sa.Column("address_id", types.Id(), nullable=False),
        sa.Column("from_address", sa.String(), nullable=False),
        sa.Column("to_address", sa.String(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=32), nullable=True),
        sa.Column("error_code", sa.String(length=64), nullable=True),
        sa.Column("closes", sa.Boolean(), nullable=False),
        sa.Column("created_at", types.Moment(), nullable=False),
        sa.Column("settled_at", types.Moment(), nullable=True),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversations.id"], name=op.f("fk_answers_conversation_id")),
        sa.ForeignKeyConstraint(["turn_id"], ["turns.id"], name=op.f("fk_answers_turn_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_answers")),
        sa.UniqueConstraint("turn_id", name=op.f("uq_answers_turn_id")),
    )
    _index("answers", "ix_answers_apologies", ["lane", "settled_at"], where="author='apology'")
    _index("answers", "ix_answers_persons", ["lane", "created_at"], where="author='person'")
    _index("answers", "ix_answers_conversation", ["conversation_id", "id"])
    _index("answers", "ix_answers_unsettled", ["id"], where="settled_at IS NULL")


def _create_drafts() -> None:
    op.create_table(
        "drafts",
        sa.Column("id", types.Id(), nullable=False),
        sa.Column("owner_id", types.Id(), nullable=False),
        sa.Column("turn_id", types.Id(), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("why", sa.String(), nullable=False),
        sa.Column("created_at", types.Moment(), nullable=False),
        sa.ForeignKeyConstraint(["turn_id"], ["turns.id"], name=op.f("fk_drafts_turn_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_drafts")),
    )
    _index("drafts", "ix_drafts_turn", ["turn_id"])


def _create_inbox_items() -> None:
    op.create_table(
        "inbox_items",
        sa.Column("id", types.Id(), nullable=False),
        sa.Column("owner_id", types.Id(), nullable=False),
        sa.Column("conversation_id", types.Id(), nullable=False),
        sa.Column("turn_id", types.Id(), nullable=True),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("created_at", types.Moment(), nullable=False),
        sa.Column("read_at", types.Moment(), nullable=True),
        sa.Column("resolved_at", types.Moment(), nullable=True),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversations.id"], name=op.f("fk_inbox_items_conversation_id")),
        sa.ForeignKeyConstraint(["turn_id"], ["turns.id"], name=op.f("fk_inbox_items_turn_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_inbox_items")),
    )
    _index("inbox_items", "ix_inbox_items_conversation", ["conversation_id"])
    _index("inbox_items", "ix_inbox_items_open", ["owner_id", "created_at"], where="resolved_at IS NULL")
    _index("inbox_items", "ix_inbox_items_turn", ["turn_id", "owner_id"])


def _create_tool_effects() -> None:
    op.create_table(
        "tool_effects",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("owner_id", types.Id(), nullable=False),
        sa.Column("turn_id", types.Id(), nullable=False),
        sa.Column("result", types.Json(), nullable=True),
        sa.Column("started_at", types.Moment(), nullable=False),
        sa.Column("finished_at", types.Moment(), nullable=True),
        sa.ForeignKeyConstraint(["turn_id"], ["turns.id"], name=op.f("fk_tool_effects_turn_id")),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_tool_effects")),
    )
    _index("tool_effects", "ix_tool_effects_turn", ["turn_id"])


def _create_answer_parts() -> None:
    op.create_table(
        "answer_parts",
        sa.Column("id", types.Id(), nullable=False),
        sa.Column("owner_id", types.Id(), nullable=False),
        sa.Column("answer_id", types.Id(), nullable=False),
        sa.Column("part_no", sa.Integer(), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.ForeignKeyConstraint(["answer_id"], ["answers.id"], name=op.f("fk_answer_parts_answer_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_answer_parts")),
        sa.UniqueConstraint("answer_id", "part_no", name=op.f("uq_answer_parts_answer_id_part_no")),
    )


def _create_attempts() -> None:
    op.create_table(
        "attempts",
        sa.Column("id", types.Id(), nullable=False),
        sa.Column("owner_id", types.Id(), nullable=False),
        sa.Column("answer_id", types.Id(), nullable=False),
        sa.Column("part_id", types.Id(), nullable=False),
        sa.Column("account_id", types.Id(), nullable=False),
        sa.Column("lane", types.Id(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("resend_of", types.Id(), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("worker", types.Id(), nullable=False),
        sa.Column("started_at", types.Moment(), nullable=False),
        sa.Column("deadline_at", types.Moment(), nullable=False),
        sa.Column("pulls", sa.Integer(), nullable=False),
        sa.Column("last_pull_at", types.Moment(), nullable=True),
        sa.Column("code", sa.String(length=64), nullable=True),
        sa.Column("detail", sa.String(), nullable=True),
        sa.Column("finished_at", types.Moment(), nullable=True),
        sa.ForeignKeyConstraint(["answer_id"], ["answers.id"], name=op.f("fk_attempts_answer_id")),
        sa.ForeignKeyConstraint(["part_id"], ["answer_parts.id"], name=op.f("fk_attempts_part_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempts")),
        sa.UniqueConstraint("part_id", "number", name=op.f("uq_attempts_part_id_number")),
    )
    _index("attempts", "ix_attempts_answer", ["answer_id"])
    _index("attempts", "uq_attempts_in_flight", ["lane"], where="state IN ('sending','unknown')", unique=True)


def _create_delivery_events() -> None:
    op.create_table(
        "delivery_events",
        sa.Column("id", types.Id(), nullable=False),
        sa.Column("owner_id", types.Id(), nullable=False),
        sa.Column("attempt_id", types.Id(), nullable=False),
        sa.Column("provider_message_id", types.ProviderId(), nullable=False),
        sa.Column("status", sa.String(length=24), nullable=False),
        sa.Column("error_code", sa.String(length=16), nullable=True),
        sa.Column("at", types.Moment(), nullable=False),
        sa.ForeignKeyConstraint(["attempt_id"], ["attempts.id"], name=op.f("fk_delivery_events_attempt_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_delivery_events")),
    )
    _index("delivery_events", "ix_delivery_events_attempt", ["attempt_id"])


def _create_sent_messages() -> None:
    op.create_table(
        "sent_messages",
        sa.Column("account_id", types.Id(), nullable=False),
        sa.Column("provider_message_id", types.ProviderId(), nullable=False),
        sa.Column("owner_id", types.Id(), nullable=False),
        sa.Column("attempt_id", types.Id(), nullable=False),
        sa.Column("part_id", types.Id(), nullable=False),
        sa.Column("found_by", sa.String(length=16), nullable=False),
        sa.Column("status", sa.String(length=24), nullable=False),
        sa.Column("error_code", sa.String(length=16), nullable=True),
        sa.Column("created_at", types.Moment(), nullable=False),
        sa.Column("updated_at", types.Moment(), nullable=False),
        sa.ForeignKeyConstraint(["attempt_id"], ["attempts.id"], name=op.f("fk_sent_messages_attempt_id")),
        sa.ForeignKeyConstraint(["part_id"], ["answer_parts.id"], name=op.f("fk_sent_messages_part_id")),
        sa.PrimaryKeyConstraint("account_id", "provider_message_id", name=op.f("pk_sent_messages")),
    )
    _index("sent_messages", "ix_sent_messages_attempt", ["attempt_id"])
    _index("sent_messages", "ix_sent_messages_part", ["part_id"])


def _create_schedules() -> None:
    op.create_table(
        "schedules",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("every_seconds", sa.Integer(), nullable=True),
        sa.Column("cron", sa.String(length=100), nullable=True),
        sa.Column("time_zone", sa.String(length=64), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("set_at", types.Moment(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_schedules")),
    )


def _create_cron_slots() -> None:
    op.create_table(
        "cron_slots",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("slot", types.Moment(), nullable=False),
        sa.PrimaryKeyConstraint("name", "slot", name=op.f("pk_cron_slots")),
    )
