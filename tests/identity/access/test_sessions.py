"""A session tells who bears its token, until it ends."""

from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar
from uuid import UUID

import pytest
from sqlalchemy import select, update

from recado.core.clock import FrozenClock
from recado.core.database.engine import Database
from recado.core.database.sqlite.database import SqliteDatabase
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.errors import Busy
from recado.core.ids import UuidV7
from recado.core.queue.transactions import Transactions
from recado.identity.access.sessions import SessionService, open_session
from recado.identity.owners import Registered
from recado.identity.permissions import OF_ROLE
from recado.identity.repository import Users
from recado.identity.tables import sessions, users

ON_BOTH_DATABASES = True

T = TypeVar("T")


class SignedIn:
    """Opens sessions as a sign-in does."""

    def __init__(self, database: Database, clock: FrozenClock, ids: UuidV7, service: SessionService) -> None:
        self._transactions = Transactions(database, clock, ids)
        self._service = service

    async def __call__(self, who: Registered) -> str:
        token = self._service.new_token()
        await self._transactions.write(
            lambda tx: open_session(tx, Users(tx.uow).require(who.user_id), token, "192.0.2.7"), owner=who.owner_id
        )
        return token


class FullDatabase(SqliteDatabase):
    """A database that reads and cannot store."""

    async def write(self, work: Callable[[UnitOfWork], T], *, owner: UUID | None, urgent: bool = False) -> T:
        raise Busy(f"{work} waits ({owner}, {urgent})")


@pytest.fixture
def tokens(database: Database, clock: FrozenClock) -> SessionService:
    return SessionService(database, clock)


@pytest.fixture
def signed_in(database: Database, clock: FrozenClock, ids: UuidV7, tokens: SessionService) -> SignedIn:
    return SignedIn(database, clock, ids, tokens)


async def change_user(database: Database, who: Registered, **columns: object) -> None:
    statement = update(users).where(users.c.id == who.user_id).values(**columns)
    await database.write(lambda uow: uow.changed(statement), owner=None)


class TestATokenOfASession:
    async def test_tells_who_bears_it(self, tokens: SessionService, signed_in: SignedIn, bakery: Registered) -> None:
        principal = await tokens.principal_of(await signed_in(bakery), source="198.51.100.4")
        assert principal is not None
        assert (principal.kind, principal.id, principal.owner_id) == ("user", bakery.user_id, bakery.owner_id)
        assert (principal.name, principal.source) == ("ana@padaria.example", "198.51.100.4")
        assert principal.permissions == OF_ROLE["owner"]

    async def test_is_not_in_the_database(
        self, tokens: SessionService, signed_in: SignedIn, bakery: Registered, database: Database
    ) -> None:
        token = await signed_in(bakery)
        [row] = await database.read(lambda uow: uow.all(select(sessions)), owner=None)
        assert (len(token), len(row["token_hash"])) == (43, 32)
        assert token.encode() not in row["token_hash"]
        assert await tokens.principal_of(row["token_hash"].hex()) is None

    @pytest.mark.parametrize("text", ["", "x", "A" * 43, "ã" * 43, "\ud800" * 43, "A" * 10_000])
    async def test_is_told_from_other_texts(self, tokens: SessionService, text: str) -> None:
        assert await tokens.principal_of(text) is None

    async def test_is_good_until_it_was_not_used_for_twelve_hours(
        self, tokens: SessionService, signed_in: SignedIn, bakery: Registered, clock: FrozenClock
    ) -> None:
        token = await signed_in(bakery)
        for _ in range(3):
            clock.advance(timedelta(hours=11, minutes=59))
            assert await tokens.principal_of(token) is not None
        clock.advance(timedelta(hours=12))
        assert await tokens.principal_of(token) is None

    async def test_is_good_for_thirty_days_at_most(
        self, tokens: SessionService, signed_in: SignedIn, bakery: Registered, clock: FrozenClock
    ) -> None:
        token = await signed_in(bakery)
        for _ in range(30 * 24 // 8):
            assert await tokens.principal_of(token) is not None
            clock.advance(timedelta(hours=8))
        assert await tokens.principal_of(token) is None

    async def test_costs_a_write_a_minute_at_most(
        self, tokens: SessionService, signed_in: SignedIn, bakery: Registered, database: Database, clock: FrozenClock
    ) -> None:
        token, opened = await signed_in(bakery), clock.now()
        for seconds, written in ((59, opened), (1, opened + timedelta(minutes=1)), (59, opened + timedelta(minutes=1))):
            clock.advance(timedelta(seconds=seconds))
            assert await tokens.principal_of(token) is not None
            [row] = await database.read(lambda uow: uow.all(select(sessions)), owner=None)
            assert row["last_used_at"] == written

    @pytest.mark.sqlite_only
    async def test_is_good_while_the_database_cannot_store(
        self, signed_in: SignedIn, bakery: Registered, database: Database, clock: FrozenClock
    ) -> None:
        token = await signed_in(bakery)
        clock.advance(timedelta(hours=1))
        full = FullDatabase(database.url)
        assert await SessionService(full, clock).principal_of(token) is not None
        await full.close()

    async def test_is_nothing_when_the_user_is_not_active(
        self, tokens: SessionService, signed_in: SignedIn, bakery: Registered, database: Database
    ) -> None:
        token = await signed_in(bakery)
        await change_user(database, bakery, active=False)
        assert await tokens.principal_of(token) is None

    async def test_has_the_permissions_of_the_role_that_the_user_has_now(
        self, tokens: SessionService, signed_in: SignedIn, bakery: Registered, database: Database
    ) -> None:
        token = await signed_in(bakery)
        await change_user(database, bakery, role="viewer", name="Ana Souza")
        principal = await tokens.principal_of(token)
        assert principal is not None
        assert (principal.permissions, principal.name) == (OF_ROLE["viewer"], "Ana Souza")
