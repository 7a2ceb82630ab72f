"""Owners and users, asked for in words."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select

from recado.core.database.repository import OwnedRepository, Repository
from recado.core.database.unit_of_work import UnitOfWork
from recado.identity.models import Owner, User, normal_email
from recado.identity.tables import owners, users


class Owners(Repository[Owner]):
    table = owners
    entity = Owner
    noun = "owner"

    def in_order(self) -> Sequence[Owner]:
        """Every owner, the oldest first."""
        return self._many(self._select().order_by(owners.c.id))


class Users(OwnedRepository[User]):
    """The users of one owner."""

    table = users
    entity = User
    noun = "user"

    def in_order(self) -> Sequence[User]:
        return self._many(self._select().order_by(users.c.id))


class AllUsers(Repository[User]):
    """The users of every owner: for signing in, where the owner is not known yet, and for whoever runs the server."""

    table = users
    entity = User
    noun = "user"

    def in_order(self) -> Sequence[User]:
        return self._many(self._select().order_by(users.c.id))

    def by_email(self, email: str) -> User | None:
        return self._one(select(users).where(users.c.email == normal_email(email)))


def owner_in(uow: UnitOfWork, owner_id: UUID) -> Owner:
    """The owner, inside another module's unit of work; raises `NotFound`."""
    return Owners(uow).require(owner_id)
