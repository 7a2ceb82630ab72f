import asyncio
from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from recado.core.clock import FrozenClock
from recado.core.database.engine import Database
from recado.core.errors import Conflict, InvalidInput, NotFound
from recado.core.ids import UuidV7
from recado.core.sealing import OtherKey, Sealer
from recado.identity.errors import EmailTaken, PasswordRefused
from recado.identity.keys import KeyRing
from recado.identity.models import Owner
from recado.identity.owners import OwnerChanges, OwnerService, Registered, Registration
from recado.identity.passwords import Passwords
from recado.identity.permissions import ALL
from recado.identity.principal import Principal, operator_of
from recado.identity.repository import AllUsers, owner_in
from recado.identity.tables import audit_entries
from recado.identity.users import UserService
from tests.support.crossing import crossing
from tests.support.keys import key_ring

ON_BOTH_DATABASES = True

PASSWORD = "pão de queijo às cinco"
NOBODY = UUID(int=404)


class OneId:
    """Make the same id again and again."""

    def new(self) -> UUID:
        return UUID(int=7)


@pytest.fixture
def on(clock: FrozenClock, ids: UuidV7, passwords: Passwords) -> Callable[[Database], OwnerService]:
    """The service on another database, such as one that holds its transactions."""
    return lambda database: OwnerService(database, clock, ids, passwords, key_ring)


def ana(registered: Registered) -> Principal:
    """The user that was registered with an owner."""
    return Principal("user", registered.owner_id, registered.user_id, "ana@padaria.example", ALL, "192.0.2.7")


def a_bakery(email: str = "ana@padaria.example", **changes: str) -> Registration:
    return Registration(**{"name": "Padaria da Ana", "email": email, "password": PASSWORD} | changes)


class TestRegistering:
    async def test_makes_an_owner_and_its_first_user(
        self, service: OwnerService, people: UserService, clock: FrozenClock
    ) -> None:
        registered = await service.register_organization(a_bakery())
        owner = await service.owner(registered.owner_id)
        [user] = await people.users(registered.owner_id)
        assert (owner.name, owner.locale, owner.send_policy) == ("Padaria da Ana", "pt-BR", "prefer_silence")
        assert (owner.created_at, owner.is_closed) == (clock.now(), False)
        assert (user.id, user.owner_id, user.email) == (registered.user_id, owner.id, "ana@padaria.example")
        assert (user.role, user.active, user.last_login_at) == ("owner", True, None)

    async def test_lets_the_user_sign_in_at_once(
        self, service: OwnerService, passwords: Passwords, database: Database
    ) -> None:
        await service.register_organization(a_bakery())
        user = await database.read(lambda uow: AllUsers(uow).of_spelling("ana@padaria.example"), owner=None)
        assert user is not None
        assert PASSWORD not in (user.password_hash or "")
        assert (await passwords.verify(PASSWORD, user.password_hash)).right

    async def test_leaves_no_owner_behind_when_the_user_cannot_be_stored(
        self, service: OwnerService, people: UserService
    ) -> None:
        first = await service.register_organization(a_bakery())
        # The owner's address is free again, its user's is not: the first insert succeeds and the second fails.
        await service.set_owner(ana(first), OwnerChanges(email="contato@padaria.example"))
        with pytest.raises(EmailTaken, match="is registered already"):
            await service.register_organization(a_bakery(name="Outra"))
        assert [owner.id for owner in await service.owners()] == [first.owner_id]
        assert len(await people.users(None)) == 1

    @pytest.mark.parametrize("email", ["ana@padaria.example", "ANA@Padaria.Example", " ana@padaria.example "])
    async def test_an_address_registers_once_however_it_is_written(self, service: OwnerService, email: str) -> None:
        await service.register_organization(a_bakery())
        with pytest.raises(EmailTaken):
            await service.register_organization(a_bakery(email))

    async def test_of_many_at_once_with_one_address_exactly_one_succeeds(
        self, service: OwnerService, people: UserService
    ) -> None:
        forms = [a_bakery(name=f"Padaria {number}") for number in range(8)]
        results = await asyncio.gather(*map(service.register_organization, forms), return_exceptions=True)
        assert sorted(type(result).__name__ for result in results) == ["EmailTaken"] * 7 + ["Registered"]
        assert len(await service.owners()) == len(await people.users(None)) == 1

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
        self, service: OwnerService, form: Registration, error: type[Exception]
    ) -> None:
        with pytest.raises(error):
            await service.register_organization(form)
        assert await service.owners() == []

    async def test_only_the_key_over_addresses_says_that_an_address_is_taken(
        self, database: Database, clock: FrozenClock, passwords: Passwords
    ) -> None:
        always_the_same = OwnerService(database, clock, OneId(), passwords, key_ring)
        await always_the_same.register_organization(a_bakery())
        with pytest.raises(IntegrityError):
            await always_the_same.register_organization(a_bakery("bob@example.com"))

    async def test_is_refused_with_another_key_than_the_owners_have(
        self, service: OwnerService, database: Database, clock: FrozenClock, ids: UuidV7, passwords: Passwords
    ) -> None:
        first = await service.register_organization(a_bakery())
        wrong = OwnerService(database, clock, ids, passwords, lambda: KeyRing(Sealer(b"o" * 32)))
        with pytest.raises(OtherKey, match=f"the data key of owner {first.owner_id} .* another RECADO_SECRET_KEY"):
            await wrong.register_organization(a_bakery("bob@example.com"))
        assert [owner.id for owner in await service.owners()] == [first.owner_id]

    async def test_a_form_never_shows_its_password(self) -> None:
        assert PASSWORD not in repr(a_bakery())


class TestChangingAnOwner:
    async def test_changes_what_is_named_and_nothing_else(self, service: OwnerService, bakery: Registered) -> None:
        before = await service.owner(bakery.owner_id)
        after = await service.set_owner(ana(bakery), OwnerChanges(locale="es", send_policy="prefer_delivery"))
        assert (after.locale, after.send_policy) == ("es", "prefer_delivery")
        assert (after.name, after.email, after.created_at) == (before.name, before.email, before.created_at)
        assert await service.owner(bakery.owner_id) == after

    async def test_own_texts_and_words_are_kept(self, service: OwnerService, bakery: Registered) -> None:
        changes = OwnerChanges(apology_text=" Já voltamos! ", stop_words=["chega"], start_words=["oi de novo"])
        owner = await service.set_owner(ana(bakery), changes)
        assert owner.apology == "Já voltamos!"
        assert owner.is_stop_word("CHEGA")
        assert owner.is_start_word("Oi, de novo")

    @pytest.mark.parametrize("nothing", [None, "", "  "])
    async def test_none_gives_a_text_back_to_the_product(
        self, service: OwnerService, bakery: Registered, nothing: str | None
    ) -> None:
        await service.set_owner(ana(bakery), OwnerChanges(apology_text="Já voltamos!", stop_words=["chega"]))
        owner = await service.set_owner(ana(bakery), OwnerChanges(apology_text=nothing, stop_words=None))
        assert owner.apology == "Desculpe, estou indisponível no momento"
        assert owner.is_stop_word("STOP")

    async def test_no_change_is_no_error(self, service: OwnerService, bakery: Registered) -> None:
        owner = await service.owner(bakery.owner_id)
        assert await service.set_owner(ana(bakery), OwnerChanges()) == owner

    @pytest.mark.parametrize(
        "changes",
        [
            OwnerChanges(name=""),
            OwnerChanges(email="ana"),
            OwnerChanges(locale="tlh"),
            OwnerChanges(send_policy="shout"),
            OwnerChanges(apology_text="x" * 1_601),
            OwnerChanges(stop_words=[]),
            OwnerChanges(stop_words=[" "]),
        ],
    )
    async def test_refuses_what_cannot_be_used(
        self, service: OwnerService, bakery: Registered, changes: OwnerChanges
    ) -> None:
        with pytest.raises(InvalidInput):
            await service.set_owner(ana(bakery), changes)

    async def test_an_address_of_another_owner_is_taken(self, service: OwnerService, bakery: Registered) -> None:
        await service.register_organization(a_bakery("bob@example.com"))
        with pytest.raises(EmailTaken, match=r"bob@example\.com belongs to another owner"):
            await service.set_owner(ana(bakery), OwnerChanges(email="Bob@example.com"))

    async def test_who_comes_while_another_changes_it_is_shown_the_change(
        self, service: OwnerService, on: Callable[[Database], OwnerService], database: Database, bakery: Registered
    ) -> None:
        """Both have read the same state, and say that they change that one."""
        seen = await service.owner(bakery.owner_id)

        def unchanged(owner: Owner) -> None:
            if owner != seen:
                raise Conflict("changed meanwhile")

        principal = operator_of(bakery.owner_id, "x")
        first, second = await crossing(
            database,
            lambda holding: on(holding).set_owner(principal, OwnerChanges(name="Padaria"), check=unchanged),
            lambda: service.set_owner(principal, OwnerChanges(name="Confeitaria"), check=unchanged),
        )
        assert (type(first), type(second)) == (Owner, Conflict)
        assert (await service.owner(bakery.owner_id)).name == "Padaria"

    async def test_an_unknown_owner_is_not_found(self, service: OwnerService) -> None:
        with pytest.raises(NotFound, match="there is no owner"):
            await service.set_owner(operator_of(NOBODY, "x"), OwnerChanges(name="x"))


class TestClosingAnAccount:
    async def test_marks_the_owner_and_keeps_the_first_time(
        self, service: OwnerService, bakery: Registered, clock: FrozenClock
    ) -> None:
        first = clock.now()
        assert (await service.close_account(ana(bakery))).closed_at == first
        clock.advance(timedelta(hours=1))
        assert (await service.close_account(ana(bakery))).closed_at == first
        assert (await service.owner(bakery.owner_id)).is_closed

    async def test_an_unknown_owner_is_not_found(self, service: OwnerService) -> None:
        with pytest.raises(NotFound):
            await service.close_account(operator_of(NOBODY, "x"))


class TestTheAudit:
    async def test_tells_who_registered_whom(self, service: OwnerService, database: Database) -> None:
        by_itself = await service.register_organization(a_bakery())
        by_command = await service.register_organization(a_bakery("bia@padaria.example"), operator="root")
        assert await audited(database, by_itself.owner_id) == [("ana@padaria.example", "owner.registered", None)]
        assert await audited(database, by_command.owner_id) == [("cli:root", "owner.registered", None)]

    async def test_names_what_was_changed_and_not_its_text(
        self, service: OwnerService, bakery: Registered, database: Database, clock: FrozenClock
    ) -> None:
        await service.set_owner(ana(bakery), OwnerChanges(apology_text="Já voltamos!", name="Pão"))
        [_, entry] = await database.read(lambda uow: uow.all(select(audit_entries)), owner=None)
        assert (entry["actor_kind"], entry["actor_id"], entry["source"]) == ("user", bakery.user_id, "192.0.2.7")
        assert (entry["object_kind"], entry["object_id"]) == ("owner", str(bakery.owner_id))
        assert (entry["detail"], entry["at"]) == ({"fields": ["apology_text", "name"]}, clock.now())

    async def test_has_nothing_of_what_did_not_happen(
        self, service: OwnerService, bakery: Registered, database: Database
    ) -> None:
        other = await service.register_organization(a_bakery("bob@example.com"))
        with pytest.raises(EmailTaken):
            await service.set_owner(ana(bakery), OwnerChanges(email="bob@example.com"))
        await service.set_owner(ana(bakery), OwnerChanges())
        for _ in range(2):
            await service.close_account(ana(other))
        assert [action for _, action, _ in await audited(database, bakery.owner_id)] == ["owner.registered"]
        actions = [action for _, action, _ in await audited(database, other.owner_id)]
        assert actions == ["owner.registered", "owner.closed"]


async def audited(database: Database, owner_id: UUID) -> list[tuple[str, str, object]]:
    """Return who did what, in order."""
    entries = await database.read(
        lambda uow: uow.all(select(audit_entries).order_by(audit_entries.c.id)), owner=owner_id
    )
    found = [entry for entry in entries if entry["owner_id"] == owner_id]
    return [(entry["actor_name"], entry["action"], entry["detail"]) for entry in found]


async def test_other_modules_ask_for_the_owner_inside_their_own_unit_of_work(
    service: OwnerService, bakery: Registered, database: Database
) -> None:
    apology = await database.write(lambda uow: owner_in(uow, bakery.owner_id).apology, owner=bakery.owner_id)
    assert apology == (await service.owner(bakery.owner_id)).apology
