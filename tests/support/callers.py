"""Callers of the API whom a test makes up: a key for each set of permissions, a session for each role."""

from collections.abc import Mapping
from uuid import UUID

from recado.identity.models import Role
from recado.identity.permissions import OF_ROLE, Permission
from recado.identity.principal import Principal, PrincipalKind

NAME = "Bia"
SOURCE = "203.0.113.7"


def admin_of(owner_id: UUID) -> Principal:
    """Return an admin of an owner."""
    return Principal("user", owner_id, UUID(int=1), NAME, OF_ROLE["admin"], SOURCE)


class KnownCallers:
    """An authenticator that knows the keys and sessions that it has given out."""

    def __init__(self) -> None:
        self._known: dict[str, Principal] = {}

    def key(self, owner_id: UUID, *permissions: Permission) -> Mapping[str, str]:
        """Return the headers of a new key with some permissions."""
        return {"Authorization": f"Bearer {self._new('key', owner_id, frozenset(permissions))}"}

    def role(self, owner_id: UUID, role: Role) -> Mapping[str, str]:
        """Return the headers of a key that may do what a role may."""
        return {"Authorization": f"Bearer {self._new('key', owner_id, OF_ROLE[role])}"}

    def known(self, principal: Principal) -> Mapping[str, str]:
        """Return the headers of a principal whom a test has made."""
        token = f"key-{len(self._known)}"
        self._known[token] = principal
        return {"Authorization": f"Bearer {token}"}

    def session(self, owner_id: UUID, role: Role) -> Mapping[str, str]:
        """Return the headers of a browser in which somebody of a role is signed in."""
        return {"Cookie": f"__Host-recado_session={self._new('user', owner_id, OF_ROLE[role])}"}

    def forget(self) -> None:
        """Let every key and session end."""
        self._known.clear()

    def _new(self, kind: PrincipalKind, owner_id: UUID, permissions: frozenset[Permission]) -> str:
        token = f"{kind}-{len(self._known)}"
        caller = UUID(int=len(self._known) + 1)
        self._known[token] = Principal(kind, owner_id, caller, NAME, permissions, SOURCE)
        return token

    async def by_key(self, key: str, source: str | None) -> Principal | None:  # noqa: ARG002 - the protocol's names
        return self._known.get(key) if key.startswith("key-") else None

    async def by_session(self, token: str, source: str | None) -> Principal | None:  # noqa: ARG002
        return self._known.get(token) if token.startswith("user-") else None
