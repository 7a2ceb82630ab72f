"""The people of an organisation."""

from uuid import UUID

import pytest

from recado.core.errors import NotFound
from recado.identity.owners import Registered
from recado.identity.users import UserService

ON_BOTH_DATABASES = True

NOBODY = UUID(int=404)


class TestListing:
    async def test_an_owner_sees_only_its_own(
        self, people: UserService, bakery: Registered, library: Registered
    ) -> None:
        assert [user.id for user in await people.users(bakery.owner_id)] == [bakery.user_id]
        assert [user.id for user in await people.users(None)] == [bakery.user_id, library.user_id]

    async def test_an_unknown_owner_is_not_found(self, people: UserService) -> None:
        with pytest.raises(NotFound):
            await people.users(NOBODY)
