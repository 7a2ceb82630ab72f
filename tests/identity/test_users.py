"""The people of an organisation."""

from uuid import UUID

import pytest

from recado.core.errors import NotFound
from recado.identity.owners import OwnerService, Registered, Registration
from recado.identity.users import UserService

ON_BOTH_DATABASES = True

PASSWORD = "pão de queijo às cinco"
NOBODY = UUID(int=404)


@pytest.fixture
async def bakery(service: OwnerService) -> Registered:
    return await service.register_organization(Registration("Padaria da Ana", "ana@padaria.example", PASSWORD))


class TestListing:
    async def test_an_owner_sees_only_its_own(
        self, service: OwnerService, people: UserService, bakery: Registered
    ) -> None:
        other = await service.register_organization(Registration("Bob", "bob@example.com", PASSWORD))
        assert [user.id for user in await people.users(bakery.owner_id)] == [bakery.user_id]
        assert [user.id for user in await people.users(None)] == [bakery.user_id, other.user_id]

    async def test_an_unknown_owner_is_not_found(self, people: UserService) -> None:
        with pytest.raises(NotFound):
            await people.users(NOBODY)
