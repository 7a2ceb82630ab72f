"""People are added, invited, and let in or not, from the command line."""

import asyncio

import pytest
from argon2 import PasswordHasher

from recado.core.clock import SystemClock
from recado.core.database.sqlite.database import SqliteDatabase
from recado.core.ids import UuidV7
from recado.identity.access.links import LinkService
from recado.identity.access.sessions import SessionService
from recado.identity.access.sign_in import SignedIn, SignInForm, SignInService, WrongCredentials
from recado.identity.models import User
from recado.identity.passwords import Passwords
from tests.entrypoints.cli.conftest import NOBODY, PUBLIC, Item, Recado

EMAIL = "bia@padaria.example"
PASSWORD = "cavalo correto bateria"


async def _with_services(url: str, token: str | None) -> bool:
    """Choose the password by a link, if there is one; return whether it lets the user in."""
    database, clock = SqliteDatabase(url), SystemClock()
    ids, passwords = UuidV7(clock), Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    try:
        if token is not None:
            links = LinkService(database, clock, ids, passwords, None)
            assert isinstance(await links.redeem(token, PASSWORD, None), User)
        door = SignInService(database, clock, ids, passwords, SessionService(database, clock))
        ended = await door.sign_in(SignInForm(EMAIL, PASSWORD))
        assert isinstance(ended, SignedIn | WrongCredentials)
        return isinstance(ended, SignedIn)
    finally:
        await database.close()


def lets_in(recado: Recado, link: object = None) -> bool:
    token = None if link is None else str(link).rpartition("/")[2]
    return asyncio.run(_with_services(recado.environment["RECADO_DATABASE_URL"], token))


@pytest.fixture
def bia(recado: Recado, owner: str) -> Item:
    words = ["users", "add", "--owner", owner, "--email", EMAIL, "--role", "operator", "--name", "Bia"]
    return recado.one(*words, "--password-env", "PW", PW=PASSWORD)


def test_a_user_is_added_and_can_sign_in(recado: Recado, owner: str, bia: Item) -> None:
    assert bia == {
        "user_id": bia["user_id"],
        "owner_id": owner,
        "email": EMAIL,
        "name": "Bia",
        "role": "operator",
        "active": True,
        "invited": False,
    }
    assert bia in recado.many("users", "list", "--owner", owner)
    assert lets_in(recado)


class TestAnInvitation:
    def words(self, owner: str) -> list[str]:
        return ["users", "invite", "--owner", owner, "--email", EMAIL, "--role", "viewer"]

    def test_without_a_mail_server_its_link_is_printed_once(self, recado: Recado, owner: str) -> None:
        invited = recado.one(*self.words(owner), RECADO_PUBLIC_URL=PUBLIC)
        assert str(invited["link"]).startswith(f"{PUBLIC}/links/")
        assert invited["invited"] is True
        assert lets_in(recado, invited["link"])
        [_, user] = recado.many("users", "list", "--owner", owner)
        assert (user["invited"], "link" in user) == (False, False)

    def test_is_read_by_people_too(self, recado: Recado, owner: str) -> None:
        shown = recado.says(*self.words(owner), RECADO_PUBLIC_URL=PUBLIC)
        assert f"\n{PUBLIC}/links/" in shown

    def test_needs_the_address_of_the_link(self, recado: Recado, owner: str) -> None:
        assert "RECADO_PUBLIC_URL is missing" in recado.refuses(*self.words(owner), status=2)
        assert len(recado.many("users", "list", "--owner", owner)) == 1

    def test_with_a_mail_server_a_worker_sends_it(self, recado: Recado, owner: str) -> None:
        mail = {"RECADO_SMTP_URL": "smtps://mail.example.com", "RECADO_SMTP_FROM": "recado@example.com"}
        assert recado.one(*self.words(owner), **mail)["link"] is None
        assert recado.one("queue", "stats")["waiting"] == 1

    def test_of_a_role_that_there_is_not_is_refused(self, recado: Recado, owner: str) -> None:
        words = ["users", "invite", "--owner", owner, "--email", EMAIL, "--role", "boss"]
        assert "use owner, admin, operator, viewer" in recado.refuses(*words, RECADO_PUBLIC_URL=PUBLIC)


class TestAChange:
    def test_of_the_role(self, recado: Recado, bia: Item) -> None:
        assert recado.one("users", "role", bia["user_id"], "admin")["role"] == "admin"

    def test_disables_and_enables(self, recado: Recado, owner: str, bia: Item) -> None:
        assert recado.one("users", "disable", bia["user_id"])["active"] is False
        assert not lets_in(recado)
        assert "operator (disabled)" in recado.says("users", "list", "--owner", owner)
        assert recado.one("users", "enable", bia["user_id"])["active"] is True
        assert lets_in(recado)

    def test_of_the_last_owner_is_refused(self, recado: Recado, owner: str) -> None:
        [user] = recado.many("users", "list", "--owner", owner)
        assert "is the last owner who can sign in" in recado.refuses("users", "disable", user["user_id"])

    def test_of_the_password_by_a_link(self, recado: Recado, bia: Item) -> None:
        link = recado.one("users", "reset", bia["user_id"], RECADO_PUBLIC_URL=PUBLIC)["link"]
        assert lets_in(recado, link)

    @pytest.mark.parametrize("words", [["disable"], ["enable"], ["reset"], ["role"]], ids=str)
    def test_of_nobody_gets_a_sentence(self, recado: Recado, words: list[str]) -> None:
        more = ["viewer"] if words == ["role"] else []
        sentence = recado.refuses("users", *words, NOBODY, *more, RECADO_PUBLIC_URL=PUBLIC)
        assert sentence == f"Error: there is no user {NOBODY}; `recado users list` shows them\n"


def test_users_of_all_organisations_are_listed_by_owner(recado: Recado, owner: str) -> None:
    shown = recado.says("users", "list")
    assert owner in shown
    assert max(len(line) for line in shown.splitlines()) <= 80


def test_users_of_an_unknown_owner_get_a_sentence(recado: Recado) -> None:
    assert recado.refuses("users", "list", "--owner", NOBODY) == f"Error: there is no owner {NOBODY}\n"
