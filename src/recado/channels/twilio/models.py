"""What this channel knows: accounts, numbers and orphans."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from recado.conversation.values import AccountSid


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
    changed_in: int
    """The generation of the directory in which this account, its tokens or its numbers changed last."""


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
