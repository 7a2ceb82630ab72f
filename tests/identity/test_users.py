"""The people of an organisation: who may add and change whom, and what ends with it."""

import asyncio
from collections.abc import Awaitable, Iterator
from dataclasses import replace
from uuid import UUID

import pytest
from sqlalchemy import select

from recado.core.clock import FrozenClock
from recado.core.database.engine import Database
from recado.core.errors import InvalidInput, NotFound
from recado.core.ids import UuidV7
from recado.core.queue.transactions import Transactions
from recado.identity.access.sessions import SessionService, open_session
from recado.identity.errors import EmailTaken, LastOwner, PasswordRefused
from recado.identity.models import Role, User
from recado.identity.owners import Registered
from recado.identity.passwords import Passwords
from recado.identity.permissions import OF_ROLE, NotAllowed
from recado.identity.principal import Principal, operator_of
from recado.identity.tables import audit_entries
from recado.identity.users import NewUser, UserService

ON_BOTH_DATABASES = True

NOBODY = UUID(int=404)
PASSWORD = "cavalo correto bateria"


@pytest.fixture
async def bia(people: UserService, ana: Principal) -> User:
    """A colleague of Ana who is an owner too."""
    return await people.add(ana, NewUser("bia@padaria.example", "owner", "Bia"), PASSWORD)


def acting(user: User) -> Principal:
    return Principal("user", user.owner_id, user.id, user.name or user.email, OF_ROLE[user.role], "192.0.2.9")


def changes(people: UserService, by: Principal, user: User, role: Role) -> Iterator[Awaitable[User]]:
    """Yield each change of a user that there is."""
    yield people.rename(by, user.id, "Caio")
    yield people.disable(by, user.id)
    yield people.enable(by, user.id)
    yield people.change_role(by, user.id, role)


class TestAdding:
    async def test_makes_a_user_who_can_sign_in(
        self, people: UserService, ana: Principal, passwords: Passwords, clock: FrozenClock
    ) -> None:
        user = await people.add(ana, NewUser(" Caio@Padaria.example", "operator", " Caio  Lima "), PASSWORD)
        assert (user.email, user.role, user.name) == ("caio@padaria.example", "operator", "Caio Lima")
        assert (user.owner_id, user.active, user.created_at) == (ana.owner_id, True, clock.now())
        assert (await passwords.verify(PASSWORD, user.password_hash)).right
        assert user in await people.users(ana.owner_id)

    async def test_an_address_belongs_to_one_user_of_all_organisations(
        self, people: UserService, ana: Principal, library: Registered
    ) -> None:
        for email in ("ana@padaria.example", "bob@livraria.example"):
            with pytest.raises(EmailTaken):
                await people.add(ana, NewUser(email, "viewer"), PASSWORD)
        assert len(await people.users(None)) == 2
        assert len(await people.users(library.owner_id)) == 1

    @pytest.mark.parametrize(
        ("form", "password", "error"),
        [
            (NewUser("caio", "viewer"), PASSWORD, InvalidInput),
            (NewUser("caio@a.example", "boss"), PASSWORD, InvalidInput),
            (NewUser("caio@a.example", "viewer", " "), PASSWORD, InvalidInput),
            (NewUser("caio@a.example", "viewer"), "caio@a.example", PasswordRefused),
        ],
    )
    async def test_refuses_what_cannot_be_used(
        self, people: UserService, ana: Principal, form: NewUser, password: str, error: type[Exception]
    ) -> None:
        with pytest.raises(error):
            await people.add(ana, form, password)

    async def test_to_an_organisation_that_is_gone_is_refused(self, people: UserService) -> None:
        with pytest.raises(NotFound):
            await people.add(operator_of(NOBODY, "x"), NewUser("caio@a.example", "viewer"), PASSWORD)


class TestThePowerOfARole:
    @pytest.mark.parametrize(("mine", "theirs"), [("owner", "owner"), ("admin", "admin"), ("admin", "viewer")])
    async def test_reaches_as_far_as_itself(
        self, people: UserService, ana: Principal, mine: Role, theirs: Role
    ) -> None:
        principal = replace(ana, permissions=OF_ROLE[mine])
        user = await people.add(principal, NewUser("caio@padaria.example", theirs), PASSWORD)
        for change in changes(people, principal, user, "viewer"):
            await change

    @pytest.mark.parametrize(("mine", "theirs"), [("admin", "owner"), ("operator", "admin"), ("viewer", "operator")])
    async def test_does_not_reach_above_itself(
        self, people: UserService, ana: Principal, mine: Role, theirs: Role
    ) -> None:
        user = await people.add(ana, NewUser("caio@padaria.example", theirs), PASSWORD)
        principal = replace(ana, permissions=OF_ROLE[mine])
        for change in changes(people, principal, user, "viewer"):
            with pytest.raises(NotAllowed):
                await change
        with pytest.raises(NotAllowed):
            await people.add(principal, NewUser("davi@padaria.example", theirs), PASSWORD)
        assert user in await people.users(ana.owner_id)

    async def test_lifts_nobody_above_itself(self, people: UserService, ana: Principal) -> None:
        user = await people.add(ana, NewUser("caio@padaria.example", "viewer"), PASSWORD)
        with pytest.raises(NotAllowed, match="the role owner may do more than they may"):
            await people.change_role(replace(ana, permissions=OF_ROLE["admin"]), user.id, "owner")

    async def test_ends_at_its_organisation(self, people: UserService, ana: Principal, library: Registered) -> None:
        for user_id in (library.user_id, NOBODY):
            for work in (people.disable, people.enable):
                with pytest.raises(NotFound):
                    await work(ana, user_id)
            with pytest.raises(NotFound):
                await people.change_role(ana, user_id, "viewer")
            with pytest.raises(NotFound):
                await people.rename(ana, user_id, "x")


class TestTheLastOwner:
    async def test_cannot_go(self, people: UserService, ana: Principal, bakery: Registered) -> None:
        with pytest.raises(LastOwner, match="make another user an owner first"):
            await people.disable(ana, bakery.user_id)
        with pytest.raises(LastOwner):
            await people.change_role(ana, bakery.user_id, "admin")
        [user] = await people.users(ana.owner_id)
        assert (user.role, user.active) == ("owner", True)

    async def test_may_go_when_another_can_enter(
        self, people: UserService, ana: Principal, bakery: Registered, bia: User
    ) -> None:
        assert (await people.change_role(ana, bakery.user_id, "viewer")).role == "viewer"
        with pytest.raises(LastOwner):
            await people.disable(acting(bia), bia.id)

    async def test_is_not_replaced_by_one_who_was_disabled(
        self, people: UserService, ana: Principal, bakery: Registered, bia: User
    ) -> None:
        await people.disable(ana, bia.id)
        with pytest.raises(LastOwner):
            await people.disable(ana, bakery.user_id)

    async def test_of_two_who_remove_each_other_at_once_one_stays(
        self, people: UserService, ana: Principal, bakery: Registered, bia: User
    ) -> None:
        ended = await asyncio.gather(
            people.disable(ana, bia.id), people.disable(acting(bia), bakery.user_id), return_exceptions=True
        )
        assert sorted(type(each).__name__ for each in ended) == ["LastOwner", "User"]
        assert sum(user.active for user in await people.users(ana.owner_id)) == 1


class TestWhatEndsSessions:
    @pytest.fixture
    async def token(self, database: Database, clock: FrozenClock, ids: UuidV7, bia: User) -> str:
        token = SessionService(database, clock).new_token()
        await Transactions(database, clock, ids).write(
            lambda tx: open_session(tx, bia, token, None), owner=bia.owner_id
        )
        return token

    async def test_being_disabled(
        self, people: UserService, ana: Principal, bia: User, token: str, database: Database, clock: FrozenClock
    ) -> None:
        sessions = SessionService(database, clock)
        assert await sessions.principal_of(token) is not None
        assert (await people.disable(ana, bia.id)).active is False
        assert await sessions.principal_of(token) is None
        assert (await people.enable(ana, bia.id)).active is True
        assert await sessions.principal_of(token) is None

    async def test_another_role(
        self, people: UserService, ana: Principal, bia: User, token: str, database: Database, clock: FrozenClock
    ) -> None:
        await people.change_role(ana, bia.id, "operator")
        assert await SessionService(database, clock).principal_of(token) is None

    async def test_and_nothing_else(
        self, people: UserService, ana: Principal, bia: User, token: str, database: Database, clock: FrozenClock
    ) -> None:
        await people.change_role(ana, bia.id, "owner")
        await people.rename(ana, bia.id, "Beatriz")
        await people.enable(ana, bia.id)
        principal = await SessionService(database, clock).principal_of(token)
        assert principal is not None
        assert principal.name == "Beatriz"


async def test_each_change_is_audited_once(people: UserService, ana: Principal, bia: User, database: Database) -> None:
    for _ in range(2):
        await people.change_role(ana, bia.id, "admin")
        await people.rename(ana, bia.id, "Beatriz")
        await people.disable(ana, bia.id)
    await people.enable(ana, bia.id)
    await people.enable(ana, bia.id)
    about_her = select(audit_entries).where(audit_entries.c.object_id == str(bia.id)).order_by(audit_entries.c.id)
    entries = await database.read(lambda uow: uow.all(about_her), owner=None)
    assert [(entry["action"], entry["detail"]) for entry in entries] == [
        ("user.added", {"role": "owner"}),
        ("user.role_changed", {"from": "owner", "to": "admin"}),
        ("user.renamed", None),
        ("user.disabled", None),
        ("user.enabled", None),
    ]
    assert {(entry["actor_name"], entry["source"]) for entry in entries} == {("Ana", "192.0.2.7")}


class TestListing:
    async def test_an_owner_sees_only_its_own(
        self, people: UserService, bakery: Registered, library: Registered
    ) -> None:
        assert [user.id for user in await people.users(bakery.owner_id)] == [bakery.user_id]
        assert [user.id for user in await people.users(None)] == [bakery.user_id, library.user_id]

    async def test_an_unknown_owner_is_not_found(self, people: UserService) -> None:
        with pytest.raises(NotFound):
            await people.users(NOBODY)

    async def test_an_operator_finds_the_owner_of_a_user(self, people: UserService, bakery: Registered) -> None:
        assert await people.owner_of(bakery.user_id) == bakery.owner_id
        with pytest.raises(NotFound, match="recado users list"):
            await people.owner_of(NOBODY)
