import pytest
from argon2 import PasswordHasher

from recado.core.clock import FrozenClock
from recado.core.database.engine import Database
from recado.core.ids import UuidV7
from recado.identity.owners import OwnerService
from recado.identity.passwords import Passwords
from recado.identity.users import UserService
from tests.support.keys import key_ring


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
