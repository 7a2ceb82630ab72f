"""What this channel knows: accounts, numbers and orphans."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class TwilioAccount:
    """An owner's access to a Twilio account or subaccount. Two owners may share one; each seals its own token."""

    id: UUID
    owner_id: UUID
    account_sid: str
    auth_token_sealed: bytes = field(repr=False)
    previous_token_sealed: bytes | None = field(repr=False)
    paused_until: datetime | None
    paused_why: str | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class ChannelAddress:
    """A number of ours; it belongs to one owner and one account."""

    id: UUID
    owner_id: UUID
    account_id: UUID
    address: str
    created_at: datetime
    first_webhook_at: datetime | None = None
    swept_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Orphan:
    """A verified message to a number that belongs to no owner: kept whole, given to no agent."""

    id: UUID
    account_sid: str
    message_sid: str
    from_address: str
    to_address: str
    raw: bytes = field(repr=False)
    received_at: datetime
    assigned_at: datetime | None
    owner_id: UUID | None


@dataclass(frozen=True, slots=True)
class KnownAddress:
    """All that a webhook to one of our numbers needs: whose it is, and which tokens may have signed."""

    address_id: UUID
    owner_id: UUID
    account_sid: str
    tokens: tuple[str, ...] = field(repr=False)
    locale: str
    had_webhook: bool = False
