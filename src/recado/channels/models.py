"""The models of all channels: accounts, addresses and orphans."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias
from uuid import UUID

AccountKey: TypeAlias = tuple[str, str]
"""A provider and its reference of an account. Several owners may store the same one."""


@dataclass(frozen=True, slots=True)
class ChannelAccount:
    """An owner's account at a provider. Two owners may store the same account; each has a row and a secret of its own.

    `changed_in` is the generation of the directory in which the account, its secrets or its addresses last changed.
    """

    id: UUID
    owner_id: UUID
    provider: str
    account_ref: str
    paused_until: datetime | None
    paused_why: str | None
    created_at: datetime
    updated_at: datetime
    changed_in: int


@dataclass(frozen=True, slots=True)
class ChannelAddress:
    """A number of ours. It belongs to one owner and one account.

    The row of a removed number stays, for what was said over it and for answers that are still to be sent.
    """

    id: UUID
    owner_id: UUID
    account_id: UUID
    address: str
    created_at: datetime
    first_webhook_at: datetime | None = None
    swept_until: datetime | None = None
    removed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Orphan:
    """A verified message to a number without an owner. It is stored completely, and no agent gets it.

    `signed_by` is the oldest of the accounts whose token fits. The same message with a signature of another account's
    token is another orphan: one of the two may be invented.
    """

    id: UUID
    provider: str
    account_ref: str
    provider_message_id: str
    from_address: str
    to_address: str
    raw: bytes = field(repr=False)
    received_at: datetime
    assigned_at: datetime | None
    owner_id: UUID | None
    signed_by: UUID


@dataclass(frozen=True, slots=True)
class OrphanSigner:
    """An account whose token fits an orphan. Its owner may see the orphan and get it."""

    orphan_id: UUID
    account_id: UUID
    owner_id: UUID


@dataclass(frozen=True, slots=True)
class SignedOrphan:
    """An orphan and every account that may have signed it."""

    orphan: Orphan
    signers: tuple[OrphanSigner, ...]

    @property
    def owners(self) -> frozenset[UUID]:
        return frozenset(signer.owner_id for signer in self.signers)


@dataclass(frozen=True, slots=True)
class KnownAddress:
    """Everything that a webhook to one of our numbers needs: its owner, and the account that must have signed."""

    address: str
    address_id: UUID
    owner_id: UUID
    account_id: UUID
    provider: str
    account_ref: str
    locale: str
    lane_salt: bytes = field(repr=False)
    """The owner's, for the lanes of customers who write to the address."""
    had_webhook: bool = False
