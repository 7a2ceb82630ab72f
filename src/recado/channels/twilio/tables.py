"""The secrets of Twilio accounts; the accounts themselves are rows of `channel_accounts`."""

from sqlalchemy import Column, ForeignKey, Index, LargeBinary, Table

from recado.core.database.types import Id, Moment, metadata

twilio_credentials = Table(
    "twilio_credentials",
    metadata,
    Column("account_id", Id, ForeignKey("channel_accounts.id"), primary_key=True),
    Column("owner_id", Id, ForeignKey("owners.id"), nullable=False),
    Column("auth_token_sealed", LargeBinary, nullable=False),
    Column("previous_token_sealed", LargeBinary),
    Column("updated_at", Moment, nullable=False),
    Index("ix_twilio_credentials_owner", "owner_id"),
)
