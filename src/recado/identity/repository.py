"""Owners and users, asked for in words."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import bindparam

from recado.core.database.prepared import Prepared
from recado.core.database.repository import OwnedRepository, Repository, entities, owned
from recado.core.database.unit_of_work import UnitOfWork
from recado.identity.models import Owner, User, normalized_email
from recado.identity.tables import owners, users

_OWNERS = Prepared(entities(owners, Owner).order_by(owners.c.id))
_USERS = Prepared(owned(users, User).order_by(users.c.id))
_ALL_USERS = Prepared(entities(users, User).order_by(users.c.id))
_OF_EMAIL = Prepared(entities(users, User).where(users.c.email == bindparam("email")))


class Owners(Repository[Owner]):
    table = owners
    entity = Owner
    noun = "owner"

    def in_order(self) -> Sequence[Owner]:
        """Every owner, the oldest first."""
        return self._many(_OWNERS)


class Users(OwnedRepository[User]):
    """The users of one owner."""

    table = users
    entity = User
    noun = "user"

    def in_order(self) -> Sequence[User]:
        return self._many(_USERS)


class AllUsers(Repository[User]):
    """The users of every owner: for signing in, where the owner is not known yet, and for whoever runs the server."""

    table = users
    entity = User
    noun = "user"

    def in_order(self) -> Sequence[User]:
        return self._many(_ALL_USERS)

    def by_email(self, email: str) -> User | None:
        return self._one(_OF_EMAIL, email=normalized_email(email))


def owner_in(uow: UnitOfWork, owner_id: UUID) -> Owner:
    """The owner, inside another module's unit of work; raises `NotFound`."""
    return Owners(uow).require(owner_id)
