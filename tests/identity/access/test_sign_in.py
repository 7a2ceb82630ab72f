"""Who knows the password comes in; everybody else learns nothing, and is slowed down."""

import asyncio
import statistics
import time
import unicodedata
from datetime import timedelta
from typing import Literal

import pytest
from argon2 import PasswordHasher
from sqlalchemy import Update, select, update

from recado.core.clock import FrozenClock
from recado.core.database.engine import Database
from recado.core.ids import UuidV7
from recado.identity.access.sessions import SessionService
from recado.identity.access.sign_in import (
    PasswordChanged,
    SignedIn,
    SignInForm,
    SignInService,
    TooManyTries,
    WrongCredentials,
)
from recado.identity.errors import PasswordRefused
from recado.identity.models import User
from recado.identity.owners import Registered
from recado.identity.passwords import PasswordCheck, Passwords
from recado.identity.permissions import ALL, NotAllowed
from recado.identity.principal import Principal, operator_of
from recado.identity.repository import AllUsers
from recado.identity.tables import audit_entries, sessions, users
from recado.identity.users import NewUser, UserService
from tests.identity.conftest import PASSWORD

ON_BOTH_DATABASES = True

ANA = "ana@padaria.example"
HOME = "8.8.4.4"
ELSEWHERE = "9.9.9.9"
NEW_PASSWORD = "cavalo correto bateria"


@pytest.fixture
def tokens(database: Database, clock: FrozenClock) -> SessionService:
    return SessionService(database, clock)


@pytest.fixture
def door(
    database: Database, clock: FrozenClock, ids: UuidV7, passwords: Passwords, tokens: SessionService
) -> SignInService:
    return SignInService(database, clock, ids, passwords, tokens)


class SlowPasswords(Passwords):
    """Something happens while a password is looked at."""

    def __init__(self, database: Database, happens: Update) -> None:
        super().__init__(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        self._database = database
        self._happens = happens

    async def verify(self, password: str, password_hash: str | None) -> PasswordCheck:
        check = await super().verify(password, password_hash)
        await self._database.write(lambda uow: uow.changed(self._happens), owner=None)
        return check


class CountingHasher(PasswordHasher):
    """Knows how much it was given to do."""

    hashed = verified = 0

    def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
        self.hashed += 1
        return super().hash(password, salt=salt)

    def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:
        self.verified += 1
        return super().verify(hash, password)


async def entered(door: SignInService, *, replacing: str | None = None, password: str = PASSWORD) -> SignedIn:
    found = await door.sign_in(SignInForm(ANA, password, HOME), replacing=replacing)
    assert isinstance(found, SignedIn), found
    return found


async def stored(database: Database, email: str = ANA) -> User:
    user = await database.read(lambda uow: AllUsers(uow).of_spelling(email), owner=None)
    assert user is not None
    return user


class TestTheRightPassword:
    @pytest.mark.parametrize("email", [ANA, " Ana@Padaria.Example "])
    async def test_opens_a_session(
        self, door: SignInService, tokens: SessionService, bakery: Registered, clock: FrozenClock, email: str
    ) -> None:
        found = await door.sign_in(SignInForm(email, PASSWORD, HOME))
        assert isinstance(found, SignedIn)
        assert (found.user.id, found.user.last_login_at) == (bakery.user_id, clock.now())
        assert found.expires_at == clock.now() + timedelta(days=30)
        principal = await tokens.principal_of(found.token)
        assert principal is not None
        assert principal.id == bakery.user_id

    @pytest.mark.usefixtures("bakery")
    async def test_gives_another_token_each_time_and_ends_the_session_before(
        self, door: SignInService, tokens: SessionService
    ) -> None:
        first, elsewhere = await entered(door), await entered(door)
        second = await entered(door, replacing=first.token)
        assert len({first.token, elsewhere.token, second.token}) == 3
        alive = [await tokens.principal_of(each.token) is not None for each in (first, elsewhere, second)]
        assert alive == [False, True, True]
        await entered(door, replacing="nonsense")

    @pytest.mark.usefixtures("bakery")
    async def test_is_hashed_anew_when_its_hash_is_weak(
        self,
        database: Database,
        clock: FrozenClock,
        ids: UuidV7,
        tokens: SessionService,
        door: SignInService,
    ) -> None:
        before = (await stored(database)).password_hash
        await entered(door)
        assert (await stored(database)).password_hash == before
        stronger = Passwords(PasswordHasher(time_cost=2, memory_cost=16, parallelism=1))
        await entered(SignInService(database, clock, ids, stronger, tokens))
        after = (await stored(database)).password_hash
        assert after != before
        assert (await stronger.verify(PASSWORD, after)).new_hash is None

    async def test_leaves_a_trace_and_no_secret(
        self, door: SignInService, database: Database, bakery: Registered
    ) -> None:
        found = await entered(door)
        signed_in = select(audit_entries).where(audit_entries.c.action == "user.signed_in")
        [entry] = await database.read(lambda uow: uow.all(signed_in), owner=None)
        assert (entry["actor_id"], entry["source"], entry["owner_id"]) == (bakery.user_id, HOME, bakery.owner_id)
        rows = await database.read(lambda uow: uow.all(select(sessions)), owner=None)
        for shown in (repr(found), repr(rows), repr(entry), repr(SignInForm(ANA, PASSWORD))):
            assert found.token not in shown
            assert PASSWORD not in shown


class TestEverythingElse:
    @pytest.mark.usefixtures("bakery")
    @pytest.mark.parametrize(
        ("email", "password"),
        [
            (ANA, PASSWORD + "!"),
            (ANA, ""),
            ("nobody@padaria.example", PASSWORD),
            ("", PASSWORD),
            ("\0\ud800", PASSWORD),
            ("a" * 100_000, "\ud800" * 2_000),
        ],
        ids=["wrong", "empty", "unknown", "no address", "no text", "long"],
    )
    async def test_is_told_the_same(self, door: SignInService, database: Database, email: str, password: str) -> None:
        assert await door.sign_in(SignInForm(email, password, HOME)) == WrongCredentials()
        assert await database.read(lambda uow: uow.all(select(sessions)), owner=None) == []

    async def test_is_also_who_was_disabled(self, door: SignInService, people: UserService, ana: Principal) -> None:
        user = await people.add(ana, NewUser("bia@padaria.example", "viewer"), NEW_PASSWORD)
        await people.disable(ana, user.id)
        given = SignInForm("bia@padaria.example", NEW_PASSWORD, HOME)
        assert await door.sign_in(given) == WrongCredentials()
        await people.enable(ana, user.id)
        assert isinstance(await door.sign_in(given), SignedIn)

    @pytest.mark.parametrize("columns", [{"active": False}, {"password_hash": "another"}], ids=["disabled", "changed"])
    async def test_is_also_who_lost_the_right_while_the_password_was_looked_at(
        self,
        database: Database,
        clock: FrozenClock,
        ids: UuidV7,
        tokens: SessionService,
        bakery: Registered,
        columns: dict[str, object],
    ) -> None:
        meanwhile = update(users).where(users.c.id == bakery.user_id).values(**columns)
        slow = SlowPasswords(database, meanwhile)
        door = SignInService(database, clock, ids, slow, tokens)
        assert await door.sign_in(SignInForm(ANA, PASSWORD, HOME)) == WrongCredentials()
        assert await database.read(lambda uow: uow.all(select(sessions)), owner=None) == []

    @pytest.mark.sqlite_only
    @pytest.mark.usefixtures("bakery")
    async def test_takes_as_long(
        self, database: Database, clock: FrozenClock, ids: UuidV7, tokens: SessionService
    ) -> None:
        slow = Passwords(PasswordHasher(time_cost=1, memory_cost=16_384, parallelism=1))
        door = SignInService(database, clock, ids, slow, tokens)
        await door.sign_in(SignInForm(ANA, PASSWORD))  # Its hash is as strong as the others' from now on.

        async def work(email: str) -> float:
            """Return the median of the processor's time, which other programs do not lengthen."""
            spent = []
            for _ in range(7):
                clock.advance(timedelta(hours=1))
                begun = time.process_time()
                assert await door.sign_in(SignInForm(email, "wrong password")) == WrongCredentials()
                spent.append(time.process_time() - begun)
            return statistics.median(spent)

        unknown, known = await work("nobody@padaria.example"), await work(ANA)
        assert 0.5 < unknown / known < 2


class TestGuessing:
    async def fails(self, door: SignInService, times: int, email: str = ANA, source: str | None = ELSEWHERE) -> None:
        for _ in range(times):
            assert await door.sign_in(SignInForm(email, "wrong password", source)) == WrongCredentials()

    @pytest.mark.usefixtures("bakery")
    async def test_is_slowed_down_more_and_more(self, door: SignInService, clock: FrozenClock) -> None:
        await self.fails(door, 6)
        waits = []
        for _ in range(11):
            refused = await door.sign_in(SignInForm(ANA, PASSWORD, ELSEWHERE))
            assert isinstance(refused, TooManyTries)
            waits.append(refused.wait.total_seconds())
            clock.advance(refused.wait)
            await self.fails(door, 1)
        assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]

    @pytest.mark.usefixtures("bakery")
    async def test_too_early_neither_counts_nor_looks_at_the_password(
        self, door: SignInService, clock: FrozenClock
    ) -> None:
        await self.fails(door, 6)
        for _ in range(20):
            assert await door.sign_in(SignInForm(ANA, PASSWORD, ELSEWHERE)) == TooManyTries(timedelta(seconds=1))
        clock.advance(timedelta(seconds=1))
        assert isinstance(await door.sign_in(SignInForm(ANA, PASSWORD, ELSEWHERE)), SignedIn)

    @pytest.mark.usefixtures("bakery")
    async def test_does_not_keep_out_who_signs_in_from_the_usual_place(
        self, door: SignInService, clock: FrozenClock
    ) -> None:
        await entered(door)
        await self.fails(door, 6)
        clock.advance(timedelta(minutes=10))
        for address in range(30):
            found = await door.sign_in(SignInForm(ANA, "guess", f"9.9.{address}.1"))
            assert isinstance(found, WrongCredentials | TooManyTries)
        assert isinstance(await door.sign_in(SignInForm(ANA, PASSWORD, "9.9.200.1")), TooManyTries)
        await entered(door)

    async def test_at_one_account_leaves_the_others_alone(
        self, door: SignInService, bakery: Registered, library: Registered
    ) -> None:
        await self.fails(door, 6)
        found = await door.sign_in(SignInForm("bob@livraria.example", PASSWORD, ELSEWHERE))
        assert isinstance(found, SignedIn)
        assert found.user.owner_id == library.owner_id != bakery.owner_id

    @pytest.mark.usefixtures("bakery")
    async def test_at_many_accounts_from_one_address_is_slowed_down_for_this_address(self, door: SignInService) -> None:
        for number in range(21):
            await self.fails(door, 1, f"{number}@padaria.example")
        assert isinstance(await door.sign_in(SignInForm(ANA, PASSWORD, ELSEWHERE)), TooManyTries)
        await entered(door)

    @pytest.mark.usefixtures("bakery")
    async def test_from_one_network_of_ipv6_is_from_one_address(self, door: SignInService) -> None:
        for number in range(21):
            await self.fails(door, 1, f"{number}@padaria.example", f"2a00:1450:4001:80b::{number:x}")
        same, other = "2a00:1450:4001:80b:ffff::1", "2a00:1450:4001:80c::1"
        assert isinstance(await door.sign_in(SignInForm(ANA, PASSWORD, same)), TooManyTries)
        assert isinstance(await door.sign_in(SignInForm(ANA, PASSWORD, other)), SignedIn)

    @pytest.mark.usefixtures("bakery")
    @pytest.mark.parametrize("source", ["127.0.0.1", "10.0.0.7", "::1", "fe80::1%eth0", "::ffff:10.0.0.7", None, "?"])
    async def test_through_a_proxy_of_ours_makes_nobody_else_wait(
        self, door: SignInService, source: str | None
    ) -> None:
        for number in range(30):
            await self.fails(door, 1, f"{number}@padaria.example", source)
        assert isinstance(await door.sign_in(SignInForm(ANA, PASSWORD, source)), SignedIn)

    @pytest.mark.usefixtures("bakery", "library")
    async def test_with_an_account_of_ones_own_in_between_is_counted_all_the_same(self, door: SignInService) -> None:
        own = SignInForm("bob@livraria.example", PASSWORD, ELSEWHERE)
        for number in range(21):
            await self.fails(door, 1, f"{number}@padaria.example")
            if number < 20:
                assert isinstance(await door.sign_in(own), SignedIn)
        assert isinstance(await door.sign_in(SignInForm(ANA, PASSWORD, ELSEWHERE)), TooManyTries)

    @pytest.mark.usefixtures("bakery")
    async def test_is_forgotten_after_a_day(self, door: SignInService, clock: FrozenClock) -> None:
        for _ in range(9):
            clock.advance(timedelta(minutes=5))
            await self.fails(door, 1)
        clock.advance(timedelta(days=1))
        await self.fails(door, 5)
        assert isinstance(await door.sign_in(SignInForm(ANA, PASSWORD, ELSEWHERE)), SignedIn)

    @pytest.mark.slow
    @pytest.mark.sqlite_only
    @pytest.mark.usefixtures("bakery", "library")
    async def test_ten_thousand_times_from_everywhere_lets_few_tries_through_and_keeps_nobody_out(
        self, door: SignInService, clock: FrozenClock
    ) -> None:
        await entered(door)
        looked_at = 0
        for number in range(10_000):
            clock.advance(timedelta(seconds=1))
            ended = await door.sign_in(SignInForm(ANA, "guess", f"9.{number % 9}.{number // 256 % 256}.{number % 256}"))
            looked_at += isinstance(ended, WrongCredentials)
            if number % 500 == 0:
                await entered(door)
                other = await door.sign_in(SignInForm("bob@livraria.example", PASSWORD, "9.9.9.9"))
                assert isinstance(other, SignedIn)
        # Six free ones, eight while the wait grows, then one in five minutes.
        assert looked_at < 6 + 9 + 10_000 / 300

    @pytest.mark.usefixtures("bakery")
    async def test_a_hundred_times_at_once_is_counted_before_the_first_fails(self, door: SignInService) -> None:
        tries = [door.sign_in(SignInForm(ANA, f"guess {number}", ELSEWHERE)) for number in range(100)]
        ended = await asyncio.gather(*tries)
        assert sum(isinstance(each, WrongCredentials) for each in ended) == 6
        assert sum(isinstance(each, TooManyTries) for each in ended) == 94


class TestSigningOut:
    async def test_ends_this_session_and_no_other(
        self, door: SignInService, tokens: SessionService, bakery: Registered, database: Database
    ) -> None:
        here, elsewhere = await entered(door), await entered(door)
        await door.sign_out(here.token, source=HOME)
        assert await tokens.principal_of(here.token) is None
        assert await tokens.principal_of(elsewhere.token) is not None
        signed_out = select(audit_entries).where(audit_entries.c.action == "user.signed_out")
        [entry] = await database.read(lambda uow: uow.all(signed_out), owner=None)
        assert (entry["actor_id"], entry["owner_id"]) == (bakery.user_id, bakery.owner_id)
        assert (entry["actor_name"], entry["source"]) == (ANA, HOME)

    @pytest.mark.usefixtures("bakery")
    async def test_twice_is_no_error_and_one_entry(self, door: SignInService, database: Database) -> None:
        found = await entered(door)
        for token in (found.token, found.token, "nonsense", ""):
            await door.sign_out(token)
        signed_out = select(audit_entries).where(audit_entries.c.action == "user.signed_out")
        assert len(await database.read(lambda uow: uow.all(signed_out), owner=None)) == 1


class TestChangingThePassword:
    async def test_takes_the_old_one_and_ends_every_session(
        self, door: SignInService, tokens: SessionService, bakery: Registered, database: Database
    ) -> None:
        first, second = await entered(door), await entered(door)
        principal = await tokens.principal_of(first.token, source=HOME)
        assert principal is not None
        changed = await door.change_password(principal, PASSWORD, NEW_PASSWORD)
        assert isinstance(changed, PasswordChanged)
        assert [await tokens.principal_of(each.token) for each in (first, second)] == [None, None]
        assert await door.sign_in(SignInForm(ANA, PASSWORD, HOME)) == WrongCredentials()
        await entered(door, password=NEW_PASSWORD)
        changes = select(audit_entries).where(audit_entries.c.action == "user.password_changed")
        [entry] = await database.read(lambda uow: uow.all(changes), owner=None)
        assert (entry["actor_id"], entry["object_id"]) == (bakery.user_id, str(bakery.user_id))

    async def test_with_a_wrong_old_one_changes_nothing_and_is_counted(
        self, door: SignInService, ana: Principal, clock: FrozenClock
    ) -> None:
        for _ in range(6):
            assert await door.change_password(ana, "wrong password", NEW_PASSWORD) == WrongCredentials()
        assert isinstance(await door.change_password(ana, PASSWORD, NEW_PASSWORD), TooManyTries)
        clock.advance(timedelta(seconds=1))
        await entered(door)

    async def test_hashes_nothing_that_was_not_counted(
        self, database: Database, clock: FrozenClock, ids: UuidV7, tokens: SessionService, ana: Principal
    ) -> None:
        """Two are hashed at a time for everybody: who is signed in could keep all others from signing in."""
        hasher = CountingHasher(time_cost=1, memory_cost=8, parallelism=1)
        door = SignInService(database, clock, ids, Passwords(hasher), tokens)
        assert await door.change_password(ana, "wrong password", NEW_PASSWORD) == WrongCredentials()
        hashed = hasher.hashed
        for _ in range(20):
            ended = await door.change_password(ana, "wrong password", NEW_PASSWORD)
        assert isinstance(ended, TooManyTries)
        assert (hasher.hashed, hasher.verified) == (hashed, 6)

    @pytest.mark.parametrize("same", [PASSWORD, unicodedata.normalize("NFD", PASSWORD)])
    async def test_to_the_old_one_is_refused(self, door: SignInService, ana: Principal, same: str) -> None:
        with pytest.raises(PasswordRefused, match="the old one"):
            await door.change_password(ana, PASSWORD, same)

    async def test_to_a_common_one_is_refused(self, door: SignInService, ana: Principal) -> None:
        with pytest.raises(PasswordRefused):
            await door.change_password(ana, PASSWORD, "senha123")

    async def test_is_for_users_only(self, door: SignInService, bakery: Registered) -> None:
        key = Principal("key", bakery.owner_id, bakery.user_id, "site", ALL)
        for principal in (key, operator_of(bakery.owner_id, "x")):
            with pytest.raises(NotAllowed):
                await door.change_password(principal, PASSWORD, NEW_PASSWORD)
