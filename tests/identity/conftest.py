import pytest
from argon2 import PasswordHasher

from recado.core.clock import FrozenClock
from recado.core.database.engine import Database
from recado.core.ids import UuidV7
from recado.identity.passwords import Passwords
from recado.identity.service import IdentityService
from tests.support.keys import key_ring


@pytest.fixture
def passwords() -> Passwords:
    """The weakest argon2, so that a test does not wait for it."""
    return Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


@pytest.fixture
def identity(database: Database, clock: FrozenClock, ids: UuidV7, passwords: Passwords) -> IdentityService:
    return IdentityService(database, clock, ids, passwords, key_ring)
