"""Accounts, numbers of ours, and messages that have no owner yet.

`directory_generation` has one row: every transaction that changes whose a number is, or which tokens may sign for it,
raises it, and marks the accounts it changed with it (`twilio_accounts.changed_in`). A process that reads one row knows
whether what it remembers is still true.
"""

from sqlalchemy import BigInteger, Column, ForeignKey, Index, LargeBinary, String, Table, UniqueConstraint

from recado.core.database.types import Id, Moment, Sid, metadata

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
    Column("changed_in", BigInteger, nullable=False),
    UniqueConstraint("owner_id", "account_sid"),
    Index("ix_twilio_accounts_sid", "account_sid"),
    Index("ix_twilio_accounts_changed", "changed_in"),
)
