"""What people and programs prove themselves by. Of each secret only the hash is here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal, TypeAlias
from uuid import UUID

from recado.identity.permissions import OF_KEYS, Permission

IDLE: Final = timedelta(hours=12)
"""A session ends when it was not used for so long."""
LONGEST: Final = timedelta(days=30)
"""A session ends after this time, however much it is used."""
KNOWN_FOR: Final = timedelta(days=30)
"""So long an address stays known for an account, counted from its last sign-in or failure."""
ANSWERS_KEPT: Final = timedelta(hours=24)
"""So long a request with an `Idempotency-Key` gets the answer of the first one. Later the key is like a new one."""
USED_EVERY: Final = timedelta(minutes=1)
"""The last use of a key or a session is at most so much behind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A user who has signed in somewhere."""

    id: UUID
    owner_id: UUID
    user_id: UUID
    token_hash: bytes = field(repr=False)
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    source: str | None
    """The network address of the sign-in."""

    def is_over(self, now: datetime) -> bool:
        """Return whether the session has ended, by its age or because it was not used."""
        return now >= min(self.expires_at, self.last_used_at + IDLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedKey:
    """A key of a program. `scopes` is None for all that a key may have, also what a later release adds."""

    id: UUID
    owner_id: UUID
    name: str
    secret_hash: bytes = field(repr=False)
    scopes: Sequence[str] | None
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None

    @property
    def permissions(self) -> frozenset[Permission]:
        """What its bearer may do. A scope that this release does not know gives nothing."""
        return OF_KEYS if self.scopes is None else frozenset(each for each in OF_KEYS if each in self.scopes)

    def is_valid(self, now: datetime) -> bool:
        """Return whether the key is neither revoked nor past its end."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


@dataclass(frozen=True, slots=True)
class Failures:
    """How often something failed for a subject, which is a hash of an account or a network address."""

    subject: bytes
    failures: int
    last_at: datetime
    blocked_until: datetime


LinkPurpose: TypeAlias = Literal["invite", "reset"]
"""What a link lets a user do: choose the first password, or another one."""

LASTS: Final[Mapping[LinkPurpose, timedelta]] = {"invite": timedelta(days=7), "reset": timedelta(hours=1)}


@dataclass(frozen=True, slots=True, kw_only=True)
class UserLink:
    """A link by which one user may choose a password, once."""

    id: UUID
    owner_id: UUID
    user_id: UUID
    purpose: LinkPurpose
    token_hash: bytes = field(repr=False)
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None = None

    def is_valid(self, now: datetime) -> bool:
        """Return whether the link can still be used."""
        return self.used_at is None and now < self.expires_at
