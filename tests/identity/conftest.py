import pytest
from argon2 import PasswordHasher

from recado.core.clock import FrozenClock
from recado.core.database.engine import Database
from recado.core.ids import UuidV7
from recado.identity.owners import OwnerService, Registered, Registration
from recado.identity.passwords import Passwords
from recado.identity.users import UserService
from tests.support.keys import key_ring

PASSWORD = "pão de queijo às cinco"


@pytest.fixture
def passwords() -> Passwords:
    """The weakest argon2, so that a test does not wait for it."""
    return Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


@pytest.fixture
def service(database: Database, clock: FrozenClock, ids: UuidV7, passwords: Passwords) -> OwnerService:
    return OwnerService(database, clock, ids, passwords, key_ring)


@pytest.fixture
def people(database: Database) -> UserService:
    return UserService(database)


@pytest.fixture
async def bakery(service: OwnerService) -> Registered:
    return await service.register_organization(Registration("Padaria da Ana", "ana@padaria.example", PASSWORD))


@pytest.fixture
async def library(service: OwnerService) -> Registered:
    """Another organisation."""
    return await service.register_organization(Registration("Livraria", "bob@livraria.example", PASSWORD))
