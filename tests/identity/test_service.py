import asyncio
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy.exc import IntegrityError

from recado.core.clock import FrozenClock
from recado.core.database.engine import Database
from recado.core.errors import InvalidInput, NotFound
from recado.core.ids import UuidV7
from recado.core.sealing import OtherKey, Sealer
from recado.identity.errors import EmailTaken, PasswordRefused
from recado.identity.keys import KeyRing
from recado.identity.passwords import Passwords
from recado.identity.repository import AllUsers, owner_in
from recado.identity.service import IdentityService, OwnerChanges, Registered, Registration
from tests.support.keys import key_ring

ON_BOTH_DATABASES = True

PASSWORD = "pão de queijo às cinco"
NOBODY = UUID(int=404)


class OneId:
    """Make the same id again and again."""

    def new(self) -> UUID:
        return UUID(int=7)


def a_bakery(email: str = "ana@padaria.example", **changes: str) -> Registration:
    return Registration(**{"name": "Padaria da Ana", "email": email, "password": PASSWORD} | changes)


class TestRegistering:
    async def test_makes_an_owner_and_its_first_user(self, identity: IdentityService, clock: FrozenClock) -> None:
        registered = await identity.register_organization(a_bakery())
        owner = await identity.owner(registered.owner_id)
        [user] = await identity.users(registered.owner_id)
        assert (owner.name, owner.locale, owner.send_policy) == ("Padaria da Ana", "pt-BR", "prefer_silence")
        assert (owner.created_at, owner.is_closed) == (clock.now(), False)
        assert (user.id, user.owner_id, user.email) == (registered.user_id, owner.id, "ana@padaria.example")
        assert (user.role, user.active, user.last_login_at) == ("owner", True, None)

    async def test_lets_the_user_sign_in_at_once(
        self, identity: IdentityService, passwords: Passwords, database: Database
    ) -> None:
        await identity.register_organization(a_bakery())
        user = await database.read(lambda uow: AllUsers(uow).by_email(" ANA@padaria.example"), owner=None)
        assert user is not None
        assert PASSWORD not in (user.password_hash or "")
        assert (await passwords.verify(PASSWORD, user.password_hash)).right

    async def test_leaves_no_owner_behind_when_the_user_cannot_be_stored(self, identity: IdentityService) -> None:
        first = await identity.register_organization(a_bakery())
        # The owner's address is free again, its user's is not: the first insert succeeds and the second fails.
        await identity.set_owner(first.owner_id, OwnerChanges(email="contato@padaria.example"))
        with pytest.raises(EmailTaken, match="is registered already"):
            await identity.register_organization(a_bakery(name="Outra"))
        assert [owner.id for owner in await identity.owners()] == [first.owner_id]
        assert len(await identity.users(None)) == 1

    @pytest.mark.parametrize("email", ["ana@padaria.example", "ANA@Padaria.Example", " ana@padaria.example "])
    async def test_an_address_registers_once_however_it_is_written(self, identity: IdentityService, email: str) -> None:
        await identity.register_organization(a_bakery())
        with pytest.raises(EmailTaken):
            await identity.register_organization(a_bakery(email))

    async def test_of_many_at_once_with_one_address_exactly_one_succeeds(self, identity: IdentityService) -> None:
        forms = [a_bakery(name=f"Padaria {number}") for number in range(8)]
        results = await asyncio.gather(*map(identity.register_organization, forms), return_exceptions=True)
        assert sorted(type(result).__name__ for result in results) == ["EmailTaken"] * 7 + ["Registered"]
        assert len(await identity.owners()) == len(await identity.users(None)) == 1

    @pytest.mark.parametrize(
        ("form", "error"),
        [
            (a_bakery(name=" "), InvalidInput),
            (a_bakery(email="ana"), InvalidInput),
            (a_bakery(locale="fr"), InvalidInput),
            (a_bakery(password="curta"), PasswordRefused),
            (a_bakery(password="ana@padaria.example"), PasswordRefused),
        ],
    )
    async def test_refuses_what_cannot_be_used(
        self, identity: IdentityService, form: Registration, error: type[Exception]
    ) -> None:
        with pytest.raises(error):
            await identity.register_organization(form)
        assert await identity.owners() == []

    async def test_only_the_key_over_addresses_says_that_an_address_is_taken(
        self, database: Database, clock: FrozenClock, passwords: Passwords
    ) -> None:
        always_the_same = IdentityService(database, clock, OneId(), passwords, key_ring)
        await always_the_same.register_organization(a_bakery())
        with pytest.raises(IntegrityError):
            await always_the_same.register_organization(a_bakery("bob@example.com"))

    async def test_is_refused_with_another_key_than_the_owners_have(
        self, identity: IdentityService, database: Database, clock: FrozenClock, ids: UuidV7, passwords: Passwords
    ) -> None:
        first = await identity.register_organization(a_bakery())
        wrong = IdentityService(database, clock, ids, passwords, lambda: KeyRing(Sealer(b"o" * 32)))
        with pytest.raises(OtherKey, match=f"the data key of owner {first.owner_id} .* another RECADO_SECRET_KEY"):
            await wrong.register_organization(a_bakery("bob@example.com"))
        assert [owner.id for owner in await identity.owners()] == [first.owner_id]

    async def test_a_form_never_shows_its_password(self) -> None:
        assert PASSWORD not in repr(a_bakery())


@pytest.fixture
async def bakery(identity: IdentityService) -> Registered:
    return await identity.register_organization(a_bakery())


class TestChangingAnOwner:
    async def test_changes_what_is_named_and_nothing_else(self, identity: IdentityService, bakery: Registered) -> None:
        before = await identity.owner(bakery.owner_id)
        after = await identity.set_owner(bakery.owner_id, OwnerChanges(locale="es", send_policy="prefer_delivery"))
        assert (after.locale, after.send_policy) == ("es", "prefer_delivery")
        assert (after.name, after.email, after.created_at) == (before.name, before.email, before.created_at)
        assert await identity.owner(bakery.owner_id) == after

    async def test_own_texts_and_words_are_kept(self, identity: IdentityService, bakery: Registered) -> None:
        changes = OwnerChanges(apology_text=" Já voltamos! ", stop_words=["chega"], start_words=["oi de novo"])
        owner = await identity.set_owner(bakery.owner_id, changes)
        assert owner.apology == "Já voltamos!"
        assert owner.is_stop_word("CHEGA")
        assert owner.is_start_word("Oi, de novo")

    @pytest.mark.parametrize("nothing", [None, "", "  "])
    async def test_none_gives_a_text_back_to_the_product(
        self, identity: IdentityService, bakery: Registered, nothing: str | None
    ) -> None:
        await identity.set_owner(bakery.owner_id, OwnerChanges(apology_text="Já voltamos!", stop_words=["chega"]))
        owner = await identity.set_owner(bakery.owner_id, OwnerChanges(apology_text=nothing, stop_words=None))
        assert owner.apology == "Desculpe, estou indisponível no momento"
        assert owner.is_stop_word("STOP")

    async def test_no_change_is_no_error(self, identity: IdentityService, bakery: Registered) -> None:
        owner = await identity.owner(bakery.owner_id)
        assert await identity.set_owner(bakery.owner_id, OwnerChanges()) == owner

    @pytest.mark.parametrize(
        "changes",
        [
            OwnerChanges(name=""),
            OwnerChanges(email="ana"),
            OwnerChanges(locale="tlh"),
            OwnerChanges(send_policy="shout"),
            OwnerChanges(apology_text="x" * 1_601),
        ],
    )
    async def test_refuses_what_cannot_be_used(
        self, identity: IdentityService, bakery: Registered, changes: OwnerChanges
    ) -> None:
        with pytest.raises(InvalidInput):
            await identity.set_owner(bakery.owner_id, changes)

    async def test_an_address_of_another_owner_is_taken(self, identity: IdentityService, bakery: Registered) -> None:
        await identity.register_organization(a_bakery("bob@example.com"))
        with pytest.raises(EmailTaken, match=r"bob@example\.com belongs to another owner"):
            await identity.set_owner(bakery.owner_id, OwnerChanges(email="Bob@example.com"))

    async def test_an_unknown_owner_is_not_found(self, identity: IdentityService) -> None:
        with pytest.raises(NotFound, match="there is no owner"):
            await identity.set_owner(NOBODY, OwnerChanges(name="x"))


class TestListingUsers:
    async def test_an_owner_sees_only_its_own(self, identity: IdentityService, bakery: Registered) -> None:
        other = await identity.register_organization(a_bakery("bob@example.com"))
        assert [user.id for user in await identity.users(bakery.owner_id)] == [bakery.user_id]
        assert [user.id for user in await identity.users(None)] == [bakery.user_id, other.user_id]

    async def test_an_unknown_owner_is_not_found(self, identity: IdentityService) -> None:
        with pytest.raises(NotFound):
            await identity.users(NOBODY)


class TestClosingAnAccount:
    async def test_marks_the_owner_and_keeps_the_first_time(
        self, identity: IdentityService, bakery: Registered, clock: FrozenClock
    ) -> None:
        first = clock.now()
        assert (await identity.close_account(bakery.owner_id)).closed_at == first
        clock.advance(timedelta(hours=1))
        assert (await identity.close_account(bakery.owner_id)).closed_at == first
        assert (await identity.owner(bakery.owner_id)).is_closed

    async def test_an_unknown_owner_is_not_found(self, identity: IdentityService) -> None:
        with pytest.raises(NotFound):
            await identity.close_account(NOBODY)


async def test_other_modules_ask_for_the_owner_inside_their_own_unit_of_work(
    identity: IdentityService, bakery: Registered, database: Database
) -> None:
    apology = await database.write(lambda uow: owner_in(uow, bakery.owner_id).apology, owner=bakery.owner_id)
    assert apology == (await identity.owner(bakery.owner_id)).apology
