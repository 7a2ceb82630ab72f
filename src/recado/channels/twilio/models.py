"""Credentials of Twilio accounts, and who may have signed a webhook."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from recado.channels.twilio.values import AccountSid


@dataclass(frozen=True, slots=True)
class StoredCredentials:
    """The sealed auth tokens of an owner's account: the current one, and the one before it while it is rotated."""

    account_id: UUID
    owner_id: UUID
    auth_token_sealed: bytes = field(repr=False)
    previous_token_sealed: bytes | None = field(repr=False)
    updated_at: datetime


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


@dataclass(frozen=True, slots=True)
class TwilioCredentials:
    """What an account signs in with: its API key where there is one, else its auth token."""

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
    """There is nothing to sign in with: the address or its account is gone, or its token cannot be unsealed."""

    detail: str
    code: str = "no_credentials"
