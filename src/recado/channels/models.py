"""What every channel knows: addresses, orphans, and who may have signed a webhook."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID


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
    """A verified message to a number that belongs to no owner: kept whole, given to no agent.

    `signed_by` is the oldest of the accounts whose token fitted. The same message signed with another account's token
    is another orphan: one of the two may be made up.
    """

    id: UUID
    account_sid: str
    message_sid: str
    from_address: str
    to_address: str
    raw: bytes = field(repr=False)
    received_at: datetime
    assigned_at: datetime | None
    owner_id: UUID | None
    signed_by: UUID


@dataclass(frozen=True, slots=True)
class OrphanSigner:
    """An account whose token fitted an orphan: its owner may see the orphan and be given it."""

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
    """All that a webhook to one of our numbers needs: whose it is, and which account must have signed."""

    address: str
    address_id: UUID
    owner_id: UUID
    account_id: UUID
    account_sid: str
    locale: str
    had_webhook: bool = False


@dataclass(frozen=True, slots=True)
class Signer:
    """An owner's account, with the tokens of it that could be opened: current and previous."""

    account_id: UUID
    owner_id: UUID
    tokens: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Signers:
    """Every account that bears one account SID. Each of them may have a token of its own, and any may be made up."""

    accounts: tuple[Signer, ...] = ()
    unreadable: bool = False
    """Whether a token is stored that could not be opened: what fits none of the others may fit that one."""
    tokens: tuple[str, ...] = field(init=False, repr=False)
    """All of them, each once."""

    def __post_init__(self) -> None:
        tokens = dict.fromkeys(token for account in self.accounts for token in account.tokens)
        object.__setattr__(self, "tokens", tuple(tokens))

    def bearing(self, token: str) -> tuple[Signer, ...]:
        """The accounts that have this token, the oldest first."""
        return tuple(account for account in self.accounts if token in account.tokens)
