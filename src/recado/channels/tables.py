"""Accounts at providers, addresses of ours, and messages without an owner.

`directory_generation` has one row. Every transaction that changes the owner of an address, or the secrets that may sign
for it, raises its number, and marks the changed accounts with it (`channel_accounts.changed_in`). A process that reads
this row knows whether its cache is current.
"""

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, LargeBinary, String, Table, UniqueConstraint

from recado.core.database.types import Id, Moment, ProviderId, metadata, partial

directory_generation = Table(
    "directory_generation",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("generation", BigInteger, nullable=False),
)

channel_accounts = Table(
    "channel_accounts",
    metadata,
    Column("id", Id, primary_key=True),
    Column("owner_id", Id, ForeignKey("owners.id"), nullable=False),
    Column("provider", String(16), nullable=False),
    Column("account_ref", ProviderId, nullable=False),
    Column("paused_until", Moment),
    Column("paused_why", String(32)),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    Column("changed_in", BigInteger, nullable=False),
    UniqueConstraint("owner_id", "provider", "account_ref"),
    Index("ix_channel_accounts_ref", "provider", "account_ref"),
    Index("ix_channel_accounts_changed", "changed_in"),
)

channel_addresses = Table(
    "channel_addresses",
    metadata,
    Column("id", Id, primary_key=True),
    Column("owner_id", Id, ForeignKey("owners.id"), nullable=False),
    Column("account_id", Id, ForeignKey("channel_accounts.id"), nullable=False),
    Column("address", String, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("first_webhook_at", Moment),
    Column("swept_until", Moment),
    Column("removed_at", Moment),
    # A removed number may be added again, by anybody.
    partial("uq_channel_addresses_address", "address", unique=True, where="removed_at IS NULL"),
    Index("ix_channel_addresses_owner", "owner_id"),
    Index("ix_channel_addresses_account", "account_id"),
)

orphans = Table(
    "orphans",
    metadata,
    Column("id", Id, primary_key=True),
    Column("provider", String(16), nullable=False),
    Column("account_ref", ProviderId, nullable=False),
    Column("provider_message_id", ProviderId, nullable=False),
    Column("from_address", String, nullable=False),
    Column("to_address", String, nullable=False),
    Column("raw", LargeBinary, nullable=False),
    Column("received_at", Moment, nullable=False),
    Column("assigned_at", Moment),
    Column("owner_id", Id),
    Column("signed_by", Id, nullable=False),
    UniqueConstraint("signed_by", "provider_message_id", "to_address"),
    partial("ix_orphans_waiting", "received_at", where="assigned_at IS NULL"),
    Index("ix_orphans_message", "provider_message_id"),
)

orphan_signers = Table(
    "orphan_signers",
    metadata,
    Column("orphan_id", Id, ForeignKey("orphans.id"), primary_key=True),
    Column("account_id", Id, ForeignKey("channel_accounts.id"), primary_key=True),
    Column("owner_id", Id, nullable=False),
    # For an owner's list of the orphans that it may have.
    Index("ix_orphan_signers_owner", "owner_id", "orphan_id"),
)
