"""Users: the people of organisations."""

from collections.abc import Sequence
from uuid import UUID

from recado.core.database.engine import Database
from recado.core.database.unit_of_work import UnitOfWork
from recado.identity.models import User
from recado.identity.repository import AllUsers, Users, owner_in


class UserService:
    """What entry points need to know and change of users."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def users(self, owner_id: UUID | None) -> Sequence[User]:
        """Return the users of one owner, or of all; raises `NotFound` for an unknown owner."""
        if owner_id is None:
            return await self._database.read(lambda uow: AllUsers(uow).in_order(), owner=None)
        return await self._database.read(lambda uow: _users_of(uow, owner_id), owner=owner_id)


def _users_of(uow: UnitOfWork, owner_id: UUID) -> Sequence[User]:
    owner_in(uow, owner_id)
    return Users(uow).in_order()
