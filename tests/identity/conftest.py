import pytest
from argon2 import PasswordHasher

from recado.core.clock import FrozenClock
from recado.core.database.engine import Database
from recado.core.ids import UuidV7
from recado.identity.owners import OwnerService, Registered, Registration
from recado.identity.passwords import Passwords
from recado.identity.permissions import OF_ROLE
from recado.identity.principal import Principal
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
def people(database: Database, clock: FrozenClock, ids: UuidV7, passwords: Passwords) -> UserService:
    return UserService(database, clock, ids, passwords)


@pytest.fixture
async def bakery(service: OwnerService) -> Registered:
    return await service.register_organization(Registration("Padaria da Ana", "ana@padaria.example", PASSWORD))


@pytest.fixture
async def library(service: OwnerService) -> Registered:
    """Another organisation."""
    return await service.register_organization(Registration("Livraria", "bob@livraria.example", PASSWORD))


@pytest.fixture
def ana(bakery: Registered) -> Principal:
    """The owner of the bakery, signed in."""
    return Principal("user", bakery.owner_id, bakery.user_id, "Ana", OF_ROLE["owner"], "192.0.2.7")
