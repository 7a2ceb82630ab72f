"""A link lets its user choose a password, once and not for long."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import select

from recado.core.clock import FrozenClock
from recado.core.database.engine import Database
from recado.core.errors import InvalidInput, NotFound
from recado.core.ids import SYSTEM_OWNER, UuidV7
from recado.core.queue.transactions import Transaction
from recado.identity.access.links import Asked, Issued, LinkOrder, LinkOver, LinkService, ResetRequested
from recado.identity.access.sessions import SessionService
from recado.identity.access.sign_in import (
    PasswordChanged,
    SignedIn,
    SignInForm,
    SignInService,
    TooManyTries,
    WrongCredentials,
)
from recado.identity.errors import EmailTaken, NoMail, PasswordRefused, TooManyLinks
from recado.identity.models import User
from recado.identity.owners import Registered
from recado.identity.passwords import Passwords
from recado.identity.permissions import OF_ROLE, NotAllowed
from recado.identity.principal import Principal, operator_of
from recado.identity.tables import audit_entries, user_links
from recado.identity.users import NewUser, UserChanges, UserService
from tests.identity.conftest import PASSWORD

ON_BOTH_DATABASES = True

ANA = "ana@padaria.example"
BIA = "bia@padaria.example"
HOME = "8.8.4.4"
NEW_PASSWORD = "cavalo correto bateria"


class PutLetters:
    """Keeps what would be mailed."""

    def __init__(self) -> None:
        self.put: list[LinkOrder] = []

    def __call__(self, tx: Transaction, order: LinkOrder) -> None:
        assert tx.uow.owner in {None, order.owner_id}
        self.put.append(order)


@pytest.fixture
def links(database: Database, clock: FrozenClock, ids: UuidV7, passwords: Passwords) -> LinkService:
    """Links where no mail can be sent."""
    return LinkService(database, clock, ids, passwords, None)


@pytest.fixture
def letters() -> PutLetters:
    return PutLetters()


@pytest.fixture
def mailed(
    database: Database, clock: FrozenClock, ids: UuidV7, passwords: Passwords, letters: PutLetters
) -> LinkService:
    return LinkService(database, clock, ids, passwords, letters)


@pytest.fixture
def door(database: Database, clock: FrozenClock, ids: UuidV7, passwords: Passwords) -> SignInService:
    return SignInService(database, clock, ids, passwords, SessionService(database, clock))


def token_of(issued: Issued) -> str:
    assert issued.token is not None
    return issued.token


@pytest.fixture
async def invited(links: LinkService, ana: Principal) -> Issued:
    return await links.invite(ana, NewUser(BIA, "operator", "Bia"))


class TestAnInvitation:
    async def test_lets_its_user_choose_a_password_and_sign_in(
        self, links: LinkService, door: SignInService, invited: Issued
    ) -> None:
        assert (invited.user.role, invited.user.can_enter) == ("operator", False)
        assert await door.sign_in(SignInForm(BIA, NEW_PASSWORD, HOME)) == WrongCredentials()
        assert await links.user_of(token_of(invited)) == invited.user
        user = await links.redeem(token_of(invited), NEW_PASSWORD, HOME)
        assert isinstance(user, User)
        assert (user.id, user.can_enter) == (invited.user.id, True)
        assert isinstance(await door.sign_in(SignInForm(BIA, NEW_PASSWORD, HOME)), SignedIn)

    async def test_is_good_for_one_use(self, links: LinkService, door: SignInService, invited: Issued) -> None:
        uses = [links.redeem(token_of(invited), f"{NEW_PASSWORD} {number}", HOME) for number in range(5)]
        ended = await asyncio.gather(*uses)
        assert sum(isinstance(each, User) for each in ended) == 1
        assert await links.redeem(token_of(invited), NEW_PASSWORD, HOME) == LinkOver()
        assert await links.user_of(token_of(invited)) == LinkOver()
        won = next(number for number, each in enumerate(ended) if isinstance(each, User))
        assert isinstance(await door.sign_in(SignInForm(BIA, f"{NEW_PASSWORD} {won}", HOME)), SignedIn)

    async def test_is_good_for_seven_days(self, links: LinkService, invited: Issued, clock: FrozenClock) -> None:
        clock.advance(timedelta(days=7, seconds=-1))
        assert isinstance(await links.user_of(token_of(invited)), User)
        clock.advance(timedelta(seconds=1))
        assert await links.redeem(token_of(invited), NEW_PASSWORD, HOME) == LinkOver()

    async def test_is_not_used_up_by_a_password_that_is_refused(self, links: LinkService, invited: Issued) -> None:
        for password in ("short", "senha123", BIA):
            with pytest.raises(PasswordRefused):
                await links.redeem(token_of(invited), password, HOME)
        assert isinstance(await links.redeem(token_of(invited), NEW_PASSWORD, HOME), User)

    async def test_of_a_user_who_was_disabled_is_over(
        self, links: LinkService, people: UserService, ana: Principal, invited: Issued
    ) -> None:
        await people.disable(ana, invited.user.id)
        assert await links.redeem(token_of(invited), NEW_PASSWORD, HOME) == LinkOver()
        with pytest.raises(InvalidInput, match="recado users enable"):
            await links.renew(ana, invited.user.id)

    async def test_keeps_the_rules_of_adding_a_user(self, links: LinkService, ana: Principal) -> None:
        with pytest.raises(EmailTaken):
            await links.invite(ana, NewUser(ANA, "viewer"))
        with pytest.raises(NotAllowed):
            await links.invite(replace(ana, permissions=OF_ROLE["admin"]), NewUser(BIA, "owner"))

    async def test_is_in_no_table_and_in_no_log(self, invited: Issued, database: Database) -> None:
        rows = await database.read(lambda uow: uow.all(select(user_links)), owner=None)
        entries = await database.read(lambda uow: uow.all(select(audit_entries)), owner=None)
        for shown in (repr(rows), repr(entries), repr(invited)):
            assert token_of(invited) not in shown

    @pytest.mark.parametrize("text", ["", "x" * 43, "ã" * 43, "x" * 100_000])
    async def test_is_told_from_other_texts(self, links: LinkService, text: str) -> None:
        assert await links.redeem(text, NEW_PASSWORD, HOME) == LinkOver()


class TestAReset:
    async def test_changes_the_password_and_ends_every_session(
        self,
        links: LinkService,
        door: SignInService,
        ana: Principal,
        bakery: Registered,
        database: Database,
        clock: FrozenClock,
    ) -> None:
        before = await door.sign_in(SignInForm(ANA, PASSWORD, HOME))
        assert isinstance(before, SignedIn)
        issued = await links.renew(ana, bakery.user_id)
        assert isinstance(await links.redeem(token_of(issued), NEW_PASSWORD, HOME), User)
        assert await door.sign_in(SignInForm(ANA, PASSWORD, HOME)) == WrongCredentials()
        assert isinstance(await door.sign_in(SignInForm(ANA, NEW_PASSWORD, HOME)), SignedIn)
        assert await SessionService(database, clock).principal_of(before.token) is None

    async def test_is_good_for_an_hour(
        self, links: LinkService, ana: Principal, bakery: Registered, clock: FrozenClock
    ) -> None:
        issued = await links.renew(ana, bakery.user_id)
        clock.advance(timedelta(minutes=59, seconds=59))
        assert isinstance(await links.user_of(token_of(issued)), User)
        clock.advance(timedelta(seconds=1))
        assert await links.user_of(token_of(issued)) == LinkOver()

    async def test_ends_the_links_before_it(self, links: LinkService, ana: Principal, bakery: Registered) -> None:
        first, second = await links.renew(ana, bakery.user_id), await links.renew(ana, bakery.user_id)
        assert await links.redeem(token_of(first), NEW_PASSWORD, HOME) == LinkOver()
        assert isinstance(await links.redeem(token_of(second), NEW_PASSWORD, HOME), User)

    async def test_lets_in_at_once_whom_others_have_kept_out_by_guessing(
        self, links: LinkService, door: SignInService, ana: Principal, bakery: Registered
    ) -> None:
        for _ in range(6):
            await door.sign_in(SignInForm(ANA, "guess", "9.9.9.9"))
        assert isinstance(await door.sign_in(SignInForm(ANA, PASSWORD, HOME)), TooManyTries)
        await links.redeem(token_of(await links.renew(ana, bakery.user_id)), NEW_PASSWORD, HOME)
        assert isinstance(await door.sign_in(SignInForm(ANA, NEW_PASSWORD, HOME)), SignedIn)

    async def test_buys_no_guesses_at_others_from_the_same_address(
        self, links: LinkService, door: SignInService, ana: Principal, bakery: Registered
    ) -> None:
        """Who may invite people could redeem a link after each guess."""
        for number in range(21):
            assert await door.sign_in(SignInForm(f"{number}@padaria.example", "guess", HOME)) == WrongCredentials()
        for number in range(3):
            await links.redeem(token_of(await links.renew(ana, bakery.user_id)), f"{NEW_PASSWORD} {number}", HOME)
            assert isinstance(await door.sign_in(SignInForm("22@padaria.example", "guess", HOME)), TooManyTries)
            assert isinstance(await door.sign_in(SignInForm(ANA, f"{NEW_PASSWORD} {number}", HOME)), SignedIn)

    async def test_is_not_for_those_above_or_elsewhere(
        self, links: LinkService, ana: Principal, bakery: Registered, library: Registered
    ) -> None:
        with pytest.raises(NotAllowed):
            await links.renew(replace(ana, permissions=OF_ROLE["admin"]), bakery.user_id)
        for user_id in (library.user_id, UUID(int=404)):
            with pytest.raises(NotFound):
                await links.renew(ana, user_id)


class TestWhatEndsALink:
    """Whoever holds a link, perhaps since before somebody else decided, must not come in by it afterwards."""

    @pytest.fixture
    async def bia(self, links: LinkService, invited: Issued) -> User:
        """An operator who has chosen a password."""
        chosen = await links.redeem(token_of(invited), NEW_PASSWORD, HOME)
        assert isinstance(chosen, User)
        return chosen

    async def test_another_role(self, links: LinkService, people: UserService, ana: Principal, invited: Issued) -> None:
        """Who invited an operator has no way to become the owner that another has made of this operator."""
        await people.change_role(ana, invited.user.id, "owner")
        assert await links.user_of(token_of(invited)) == LinkOver()
        assert await links.redeem(token_of(invited), NEW_PASSWORD, HOME) == LinkOver()
        again = await links.renew(ana, invited.user.id)
        assert isinstance(await links.redeem(token_of(again), NEW_PASSWORD, HOME), User)

    async def test_being_disabled_though_enabled_again(
        self, links: LinkService, people: UserService, ana: Principal, bia: User
    ) -> None:
        reset = await links.renew(ana, bia.id)
        await people.disable(ana, bia.id)
        await people.enable(ana, bia.id)
        assert await links.redeem(token_of(reset), PASSWORD, HOME) == LinkOver()

    async def test_a_new_password(self, links: LinkService, door: SignInService, ana: Principal, bia: User) -> None:
        reset = await links.renew(ana, bia.id)
        herself = Principal("user", bia.owner_id, bia.id, "Bia", OF_ROLE["operator"], HOME)
        assert isinstance(await door.change_password(herself, NEW_PASSWORD, PASSWORD), PasswordChanged)
        assert await links.redeem(token_of(reset), "outra coisa ainda", HOME) == LinkOver()
        assert isinstance(await door.sign_in(SignInForm(BIA, PASSWORD, HOME)), SignedIn)

    async def test_and_nothing_else(self, links: LinkService, people: UserService, ana: Principal, bia: User) -> None:
        reset = await links.renew(ana, bia.id)
        await people.change(ana, bia.id, UserChanges(name="Beatriz", role="operator", active=True))
        assert isinstance(await links.redeem(token_of(reset), PASSWORD, HOME), User)


class TestHowManyLinks:
    """Each is a mail to an address that its user cannot choose."""

    async def test_one_user_gets_few_an_hour(
        self, mailed: LinkService, letters: PutLetters, ana: Principal, bakery: Registered, clock: FrozenClock
    ) -> None:
        made = 0
        for _ in range(3_600):
            try:
                await mailed.renew(ana, bakery.user_id)
            except TooManyLinks as error:
                clock.advance(error.wait)
            else:
                made += 1
            if made == 18:
                break
        with pytest.raises(TooManyLinks) as refused:
            await mailed.renew(ana, bakery.user_id)
        assert (len(letters.put), refused.value.wait) == (18, timedelta(hours=1))
        other = await mailed.invite(ana, NewUser(BIA, "viewer"))
        await mailed.renew(ana, other.user.id)
        clock.advance(timedelta(days=1))
        await mailed.renew(ana, bakery.user_id)

    async def test_many_at_once_are_counted(self, mailed: LinkService, ana: Principal, bakery: Registered) -> None:
        ended = await asyncio.gather(*(mailed.renew(ana, bakery.user_id) for _ in range(20)), return_exceptions=True)
        assert sum(isinstance(each, Issued) for each in ended) == 6
        assert sum(isinstance(each, TooManyLinks) for each in ended) == 14

    async def test_an_organisation_invites_a_hundred_and_then_slowly(
        self, mailed: LinkService, ana: Principal, library: Registered
    ) -> None:
        for number in range(101):
            await mailed.invite(ana, NewUser(f"{number}@padaria.example", "viewer"))
        with pytest.raises(TooManyLinks):
            await mailed.invite(ana, NewUser(BIA, "viewer"))
        bob = Principal("user", library.owner_id, library.user_id, "Bob", OF_ROLE["owner"], HOME)
        assert isinstance(await mailed.invite(bob, NewUser(BIA, "viewer")), Issued)

    async def test_an_operator_makes_as_many_as_they_like(self, mailed: LinkService, bakery: Registered) -> None:
        for _ in range(20):
            await mailed.renew(operator_of(bakery.owner_id, "rita"), bakery.user_id)

    @pytest.mark.usefixtures("library")
    async def test_asking_for_addresses_that_are_taken_is_counted(self, mailed: LinkService, ana: Principal) -> None:
        """The answer tells that somebody elsewhere has the address."""
        for _ in range(101):
            with pytest.raises(EmailTaken):
                await mailed.invite(ana, NewUser("bob@livraria.example", "viewer"))
        with pytest.raises(TooManyLinks):
            await mailed.invite(ana, NewUser("bob@livraria.example", "viewer"))


class TestByMail:
    async def test_nobody_but_the_user_sees_the_link(
        self, mailed: LinkService, letters: PutLetters, ana: Principal, bakery: Registered, database: Database
    ) -> None:
        invited = await mailed.invite(ana, NewUser(BIA, "viewer"))
        assert (invited.token, (await mailed.renew(ana, bakery.user_id)).token) == (None, None)
        assert letters.put == [
            LinkOrder(bakery.owner_id, invited.user.id, "invite"),
            LinkOrder(bakery.owner_id, bakery.user_id, "reset"),
        ]
        assert await database.read(lambda uow: uow.all(select(user_links)), owner=None) == []

    async def test_anybody_may_ask_and_learns_nothing(
        self, mailed: LinkService, letters: PutLetters, bakery: Registered, database: Database
    ) -> None:
        """Nor by the time it takes: what is stored for an unknown address is as much, and a worker looks at it."""
        written = []
        for email in (" ANA@padaria.example", "nobody@padaria.example"):
            assert await mailed.request_reset(email, HOME) == ResetRequested()
            written.append(len(await database.read(lambda uow: uow.all(select(audit_entries)), owner=None)))
        known, unknown = letters.put
        assert known == LinkOrder(bakery.owner_id, bakery.user_id, "reset", Asked(HOME))
        assert unknown == LinkOrder(SYSTEM_OWNER, unknown.user_id, "reset", Asked(HOME))
        assert written[0] == written[1]

    @pytest.mark.usefixtures("bakery")
    async def test_too_many_requests_are_slowed_down(self, mailed: LinkService, letters: PutLetters) -> None:
        for _ in range(6):
            assert await mailed.request_reset(ANA, HOME) == ResetRequested()
        for email in (ANA, ANA.upper()):
            assert isinstance(await mailed.request_reset(email, HOME), TooManyTries)
        assert len(letters.put) == 6

    async def test_who_was_disabled_gets_none(
        self, mailed: LinkService, letters: PutLetters, people: UserService, ana: Principal
    ) -> None:
        user = await people.add(ana, NewUser(BIA, "viewer"), NEW_PASSWORD)
        await people.disable(ana, user.id)
        assert await mailed.request_reset(BIA, HOME) == ResetRequested()
        [order] = letters.put
        assert order.owner_id == SYSTEM_OWNER, "as for an address that nobody has"

    @pytest.mark.usefixtures("bakery")
    async def test_without_mail_nobody_can_ask(self, links: LinkService) -> None:
        with pytest.raises(NoMail, match="recado users reset"):
            await links.request_reset(ANA, HOME)

    async def test_a_text_that_is_no_address_is_refused(self, mailed: LinkService) -> None:
        with pytest.raises(InvalidInput):
            await mailed.request_reset("ana", HOME)


async def test_each_step_is_audited(links: LinkService, ana: Principal, invited: Issued, database: Database) -> None:
    again = await links.renew(ana, invited.user.id)
    await links.redeem(token_of(again), NEW_PASSWORD, HOME)
    about_her = select(audit_entries).where(audit_entries.c.object_id == str(invited.user.id))
    entries = await database.read(lambda uow: uow.all(about_her.order_by(audit_entries.c.id)), owner=None)
    assert [(entry["action"], entry["actor_name"], entry["source"]) for entry in entries] == [
        ("user.invited", "Ana", "192.0.2.7"),
        ("user.link_requested", "Ana", "192.0.2.7"),
        ("user.password_changed", "Bia", HOME),
    ]
    assert entries[-1]["detail"] == {"by": "link"}, "which Ana could have used as well"
