"""Who may do what: one table, which the HTTP API, the command line and the console read.

Nothing is allowed that is not written here. A user has the permissions of the user's role; an API key has its scopes,
which are permissions as well. No one can give away a permission that they do not have.
"""

from collections.abc import Collection, Mapping
from typing import Final, Literal, TypeAlias, get_args

from recado.core.errors import DomainError, InvalidInput
from recado.identity.models import Role

Permission: TypeAlias = Literal[
    "owner.read",
    "owner.write",
    "owner.close",
    "users.read",
    "users.write",
    "keys.read",
    "keys.write",
    "numbers.read",
    "numbers.write",
    "agents.read",
    "agents.write",
    "knowledge.read",
    "knowledge.write",
    "contacts.read",
    "contacts.write",
    "conversations.read",
    "conversations.write",
    "messages.write",
    "drafts.read",
    "dead_letters.read",
    "dead_letters.write",
    "orphans.read",
    "orphans.write",
    "schedules.read",
    "usage.read",
    "events.read",
    "endpoints.read",
    "endpoints.write",
    "audit.read",
]
"""What can be done: `<subject>.read` or a change of the subject."""

ALL: Final[frozenset[Permission]] = frozenset(get_args(Permission))

_READS_CUSTOMERS: Final[frozenset[Permission]] = frozenset(
    {
        "owner.read",
        "numbers.read",
        "agents.read",
        "knowledge.read",
        "contacts.read",
        "conversations.read",
        "drafts.read",
        "dead_letters.read",
        "orphans.read",
        "schedules.read",
        "usage.read",
        "events.read",
    }
)
_ANSWERS_CUSTOMERS: Final[frozenset[Permission]] = frozenset(
    {"contacts.write", "conversations.write", "messages.write", "dead_letters.write"}
)

OF_ROLE: Final[Mapping[Role, frozenset[Permission]]] = {
    "owner": ALL,
    "admin": ALL - {"owner.close"},
    "operator": _READS_CUSTOMERS | _ANSWERS_CUSTOMERS,
    "viewer": _READS_CUSTOMERS,
}

OF_KEYS: Final[frozenset[Permission]] = ALL - {"owner.close", "users.write", "keys.write"}
"""What an API key may have. A key that leaks must not be able to make others, or to let people in."""


class NotAllowed(DomainError):
    """The caller is known, and may not do this."""

    code = "identity.not_allowed"
    status = 403


def valid_role(text: str) -> Role:
    """Return a role. Raises `InvalidInput`."""
    for role in OF_ROLE:
        if role == text:
            return role
    raise InvalidInput(f"{text[:20]!r} is not a role: use {', '.join(OF_ROLE)}")


def valid_scopes(texts: Collection[str]) -> frozenset[Permission]:
    """Return the scopes of a new key. Raises `InvalidInput` with the ones that there are."""
    scopes = frozenset(scope for scope in OF_KEYS if scope in texts)
    unknown, names = sorted(set(texts) - scopes), ", ".join(sorted(OF_KEYS))
    if unknown:
        raise InvalidInput(f"{unknown[0][:40]!r} is no scope: use {names}")
    if not texts:
        raise InvalidInput(f"a key needs a scope: use {names}")
    return scopes
