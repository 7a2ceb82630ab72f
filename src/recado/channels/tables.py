"""Addresses of ours, and messages that have no owner yet."""

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, LargeBinary, String, Table, UniqueConstraint

from recado.core.database.types import Id, Moment, Sid, metadata, partial

directory_generation = Table(
    "directory_generation",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("generation", BigInteger, nullable=False),
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
    Column("signed_by", Id, nullable=False),
    UniqueConstraint("signed_by", "message_sid", "to_address"),
    partial("ix_orphans_waiting", "received_at", where="assigned_at IS NULL"),
    Index("ix_orphans_sid", "message_sid"),
)

orphan_signers = Table(
    "orphan_signers",
    metadata,
    Column("orphan_id", Id, ForeignKey("orphans.id"), primary_key=True),
    Column("account_id", Id, ForeignKey("twilio_accounts.id"), primary_key=True),
    Column("owner_id", Id, nullable=False),
)
