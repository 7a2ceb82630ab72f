"""Owners, their users and how these prove who they are, as they are stored.

Of a session, a link or an API key only the hash of its secret is stored.
"""

from sqlalchemy import Boolean, CheckConstraint, Column, ForeignKey, Index, Integer, LargeBinary, String, Table

from recado.core.database.tenancy import tenant_of
from recado.core.database.types import Id, Json, JsonObject, Moment, metadata

owners = Table(
    "owners",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name", String(200), nullable=False),
    Column("email", String(254), nullable=False, unique=True),
    Column("locale", String(16), nullable=False),
    Column("apology_text", String),
    Column("handoff_text", String),
    Column("nudge_text", String),
    Column("send_policy", String(16), nullable=False),
    # NULL means the product's own words, which may grow with a release.
    Column("stop_words", Json),
    Column("start_words", Json),
    # The owner's own key and salt: see `identity/keys.py`.
    Column("data_key_sealed", LargeBinary, nullable=False),
    Column("data_key_id", String(16), nullable=False),
    Column("lane_salt_sealed", LargeBinary, nullable=False),
    Column("closed_at", Moment),
    Column("created_at", Moment, nullable=False),
    Column("purge_started_at", Moment),
    Column("purged_rows", Integer),
    CheckConstraint("send_policy IN ('prefer_silence', 'prefer_delivery')", name="send_policy"),
    info=tenant_of("id"),
)

users = Table(
    "users",
    metadata,
    Column("id", Id, primary_key=True),
    Column("owner_id", Id, ForeignKey("owners.id"), nullable=False),
    Column("email", String(254), nullable=False, unique=True),
    Column("name", String(200)),
    Column("role", String(16), nullable=False),
    # NULL until an invited user has chosen a password.
    Column("password_hash", String(255)),
    Column("active", Boolean(create_constraint=False), nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("last_login_at", Moment),
    CheckConstraint("role IN ('owner', 'admin', 'operator', 'viewer')", name="role"),
    Index("ix_users_owner_id", "owner_id"),
)

system_keys = Table(
    "system_keys",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
    Column("key_id", String(16), nullable=False),
    Column("created_at", Moment, nullable=False),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", Id, primary_key=True),
    Column("owner_id", Id, nullable=False),
    Column("user_id", Id, ForeignKey("users.id"), nullable=False),
    Column("token_hash", LargeBinary, nullable=False, unique=True),
    Column("created_at", Moment, nullable=False),
    Column("last_used_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False),
    Column("source", String(64)),
    Index("ix_sessions_user", "user_id"),
    Index("ix_sessions_expires", "expires_at"),
)

user_links = Table(
    "user_links",
    metadata,
    Column("id", Id, primary_key=True),
    Column("owner_id", Id, nullable=False),
    Column("user_id", Id, ForeignKey("users.id"), nullable=False),
    Column("purpose", String(16), nullable=False),
    Column("token_hash", LargeBinary, nullable=False, unique=True),
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False),
    Column("used_at", Moment),
    CheckConstraint("purpose IN ('invite', 'reset')", name="purpose"),
    Index("ix_user_links_user", "user_id"),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Id, primary_key=True),
    Column("owner_id", Id, nullable=False),
    Column("name", String(200), nullable=False),
    Column("secret_hash", LargeBinary, nullable=False),
    # NULL means every permission that a key may have, also those that a later release adds.
    Column("scopes", Json),
    Column("created_at", Moment, nullable=False),
    Column("created_by", String(254), nullable=False),
    Column("expires_at", Moment),
    Column("last_used_at", Moment),
    Column("revoked_at", Moment),
    Index("ix_api_keys_owner", "owner_id", "id"),
)

sign_in_failures = Table(
    "sign_in_failures",
    metadata,
    # The hash of an e-mail address or of a network address: this table belongs to no owner.
    Column("subject", LargeBinary, primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("last_at", Moment, nullable=False),
    Column("blocked_until", Moment, nullable=False),
    Index("ix_sign_in_failures_last", "last_at"),
)

audit_entries = Table(
    "audit_entries",
    metadata,
    Column("id", Id, primary_key=True),
    Column("owner_id", Id, nullable=False),
    Column("at", Moment, nullable=False),
    Column("actor_kind", String(16), nullable=False),
    Column("actor_id", Id),
    Column("actor_name", String(254), nullable=False),
    Column("source", String(64)),
    Column("action", String(64), nullable=False),
    Column("object_kind", String(32), nullable=False),
    Column("object_id", String(64), nullable=False),
    Column("detail", JsonObject()),
    Index("ix_audit_entries_owner", "owner_id", "id"),
    Index("ix_audit_entries_kind", "owner_id", "object_kind", "id"),
    Index("ix_audit_entries_object", "owner_id", "object_kind", "object_id", "id"),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("owner_id", Id, primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("request_hash", LargeBinary, nullable=False),
    Column("created_at", Moment, nullable=False),
    # NULL while the first request is at work.
    Column("status", Integer),
    Column("body", LargeBinary),
    Index("ix_idempotency_keys_created", "created_at"),
)
