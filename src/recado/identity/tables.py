"""Owners, their users and their keys, as they are stored."""

from sqlalchemy import Boolean, CheckConstraint, Column, ForeignKey, Index, LargeBinary, String, Table

from recado.core.database.tenancy import tenant_of
from recado.core.database.types import Id, Json, Moment, metadata

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
    CheckConstraint("send_policy IN ('prefer_silence', 'prefer_delivery')", name="send_policy"),
    info=tenant_of("id"),
)

users = Table(
    "users",
    metadata,
    Column("id", Id, primary_key=True),
    Column("owner_id", Id, ForeignKey("owners.id"), nullable=False),
    Column("email", String(254), nullable=False, unique=True),
    Column("role", String(16), nullable=False),
    Column("password_hash", String(255), nullable=False),
    Column("active", Boolean(create_constraint=False), nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("last_login_at", Moment),
    CheckConstraint("role IN ('admin', 'operator', 'viewer')", name="role"),
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
