"""Credentials of Twilio accounts, and who may have signed a webhook."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from recado.channels.twilio.values import AccountSid


@dataclass(frozen=True, slots=True)
class StoredCredentials:
    """The sealed auth tokens of an owner's account: the current one, and the previous one while it is rotated."""

    account_id: UUID
    owner_id: UUID
    auth_token_sealed: bytes = field(repr=False)
    previous_token_sealed: bytes | None = field(repr=False)
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Signer:
    """An owner's account, with those of its tokens that could be opened: current and previous."""

    account_id: UUID
    owner_id: UUID
    tokens: tuple[str, ...] = field(repr=False)
    sealed: bytes | None = field(default=None, repr=False)
    """The current token as it is stored, while the previous one counts too."""


@dataclass(frozen=True, slots=True)
class Signers:
    """All accounts with one account SID. Each may have its own token, and any token may be invented."""

    accounts: tuple[Signer, ...] = ()
    unreadable: bool = False
    """Whether a stored token could not be opened. A signature that fits no other token may fit that one."""
    tokens: tuple[str, ...] = field(init=False, repr=False)
    """All tokens, each once."""

    def __post_init__(self) -> None:
        tokens = dict.fromkeys(token for account in self.accounts for token in account.tokens)
        object.__setattr__(self, "tokens", tuple(tokens))

    def bearing(self, token: str) -> tuple[Signer, ...]:
        """Return the accounts that have this token, the oldest first."""
        return tuple(account for account in self.accounts if token in account.tokens)


@dataclass(frozen=True, slots=True)
class TwilioCredentials:
    """The credentials of an account: its API key if it has one, else its auth token."""

    account_sid: AccountSid
    auth_token: str = field(repr=False)
    api_key_sid: str | None = None
    api_key_secret: str | None = field(default=None, repr=False)

    @property
    def basic_auth(self) -> tuple[str, str]:
        if self.api_key_sid and self.api_key_secret:
            return self.api_key_sid, self.api_key_secret
        return self.account_sid.value, self.auth_token


@dataclass(frozen=True, slots=True)
class NoCredentials:
    """There are no credentials: the address or its account is gone, or its token cannot be unsealed."""

    detail: str
    code: str = "no_credentials"
    gone: bool = False
    """Whether they were removed for good, so that waiting for them is vain."""
