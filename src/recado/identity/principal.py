"""Who acts: a signed-in user, an API key, or a person at the command line of the installation."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, TypeAlias
from uuid import UUID

from recado.identity.models import User
from recado.identity.permissions import ALL, OF_ROLE, NotAllowed, Permission

PrincipalKind: TypeAlias = Literal["user", "key", "operator", "system"]
"""`operator` is a person who runs commands of the installation; `system` is Recado itself."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who acts for one owner, and what they may do. `name` stands at what they did."""

    kind: PrincipalKind
    owner_id: UUID
    id: UUID | None
    name: str
    permissions: Collection[Permission]
    source: str | None = None
    """The network address that the request came from."""

    def require(self, permission: Permission) -> None:
        """Raise `NotAllowed` unless this may be done."""
        if permission not in self.permissions:
            raise NotAllowed(f"{self.name} may not do this: it needs the permission {permission}")


def operator_of(owner_id: UUID, name: str) -> Principal:
    """Return the person at the command line, who may do everything for every owner."""
    return Principal("operator", owner_id, None, f"cli:{name}"[:254], ALL)


def user_principal(user: User, source: str | None = None) -> Principal:
    """Return a user who has proved to be this user, with the permissions of the user's role."""
    return Principal("user", user.owner_id, user.id, user.name or user.email, OF_ROLE[user.role], source)
