"""Accounts, numbers of ours, and messages that belong to nobody yet."""

from sqlalchemy import Column, ForeignKey, Index, LargeBinary, String, Table, UniqueConstraint

from recado.core.database.types import Id, Moment, Sid, metadata, partial

twilio_accounts = Table(
    "twilio_accounts",
    metadata,
    Column("id", Id, primary_key=True),
    Column("owner_id", Id, ForeignKey("owners.id"), nullable=False),
    Column("account_sid", Sid, nullable=False),
    Column("auth_token_sealed", LargeBinary, nullable=False),
    Column("previous_token_sealed", LargeBinary),
    Column("paused_until", Moment),
    Column("paused_why", String(32)),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    UniqueConstraint("owner_id", "account_sid"),
    Index("ix_twilio_accounts_sid", "account_sid"),
)

channel_addresses = Table(
    "channel_addresses",
    metadata,
    Column("id", Id, primary_key=True),
    Column("owner_id", Id, ForeignKey("owners.id"), nullable=False),
    Column("account_id", Id, ForeignKey("twilio_accounts.id"), nullable=False),
    Column("address", String, nullable=False, unique=True),
    Column("created_at", Moment, nullable=False),
    Column("first_webhook_at", Moment),
    Column("swept_until", Moment),
    Index("ix_channel_addresses_owner", "owner_id"),
    Index("ix_channel_addresses_account", "account_id"),
)

orphans = Table(
    "orphans",
    metadata,
    Column("id", Id, primary_key=True),
    Column("account_sid", Sid, nullable=False),
    Column("message_sid", Sid, nullable=False),
    Column("from_address", String, nullable=False),
    Column("to_address", String, nullable=False),
    Column("raw", LargeBinary, nullable=False),
    Column("received_at", Moment, nullable=False),
    Column("assigned_at", Moment),
    Column("owner_id", Id),
    UniqueConstraint("account_sid", "message_sid"),
    partial("ix_orphans_waiting", "received_at", where="assigned_at IS NULL"),
    Index("ix_orphans_sid", "message_sid"),
)
