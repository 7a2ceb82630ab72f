"""The page of a link: a person chooses a password in a browser without a script."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from uuid import UUID

import httpx2
import pytest
from argon2 import PasswordHasher
from fastapi import FastAPI

from recado.core.clock import FrozenClock
from recado.core.database.engine import Database
from recado.core.database.sqlite.database import SqliteDatabase
from recado.core.ids import UuidV7
from recado.entrypoints.api.links import add_links
from recado.identity.access.links import LinkOver, LinkService
from recado.identity.access.sessions import SessionService
from recado.identity.access.sign_in import SignedIn, SignInForm, SignInService
from recado.identity.models import User
from recado.identity.owners import OwnerChanges
from recado.identity.passwords import Passwords
from recado.identity.users import NewUser
from tests.world import World

ON_BOTH_DATABASES = True

EMAIL = "o'hara&bia@padaria.example"
WEAK = Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
PASSWORD = "cavalo correto bateria & <ação>"


@pytest.fixture
async def world(database: Database, clock: FrozenClock, ids: UuidV7) -> World:
    return await World.open(database, clock, ids)


@pytest.fixture
def links(world: World) -> LinkService:
    return LinkService(world.database, world.clock, world.ids, WEAK, None)


@asynccontextmanager
async def browser_of(links: LinkService, world: World) -> AsyncIterator[httpx2.AsyncClient]:
    app = FastAPI()
    add_links(app, links, world.owners)
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="https://recado.example") as client:
        yield client


class LinksOf(LinkService):
    """Links that are all of one user."""

    def __init__(self, user: User, world: World) -> None:
        super().__init__(world.database, world.clock, world.ids, WEAK, None)
        self._user = user

    async def user_of(self, token: str) -> User | LinkOver:
        assert token
        return self._user


@pytest.fixture
async def browser(world: World, links: LinkService) -> AsyncIterator[httpx2.AsyncClient]:
    async with browser_of(links, world) as client:
        yield client


@pytest.fixture
async def page(world: World, links: LinkService) -> str:
    """The path that an invitation opens."""
    issued = await links.invite(world.operator, NewUser(EMAIL, "operator"))
    return f"/links/{issued.token}"


async def can_sign_in(world: World) -> bool:
    sessions = SessionService(world.database, world.clock)
    door = SignInService(world.database, world.clock, world.ids, WEAK, sessions)
    return isinstance(await door.sign_in(SignInForm(EMAIL, PASSWORD)), SignedIn)


class TestThePage:
    async def test_asks_for_a_password_and_lets_the_user_in(
        self, browser: httpx2.AsyncClient, page: str, world: World
    ) -> None:
        shown = await browser.get(page)
        assert (shown.status_code, shown.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert "Escolha uma senha para o&#x27;hara&amp;bia@padaria.example" in shown.text
        saved = await browser.post(page, data={"password": PASSWORD})
        assert (saved.status_code, "A senha foi salva" in saved.text) == (200, True)
        assert await can_sign_in(world)
        assert PASSWORD not in saved.text

    async def test_is_good_for_one_password(self, browser: httpx2.AsyncClient, page: str) -> None:
        await browser.get(page)  # Looking at it uses nothing up.
        await browser.post(page, data={"password": PASSWORD})
        for again in (await browser.get(page), await browser.post(page, data={"password": PASSWORD})):
            assert (again.status_code, "não vale mais" in again.text, "<form" in again.text) == (410, True, False)

    @pytest.mark.parametrize(
        "body",
        [
            *(b"", b"password=", b"password=senha123", b"password=%ff", b"\xff", b"a=1&" * 100, b"password=a%00b"),
            b"password=p%e3o+de+queijo+%e0s+cinco",  # Another encoding: any other signs there would be the same.
        ],
    )
    async def test_asks_again_when_the_password_is_none(
        self, browser: httpx2.AsyncClient, page: str, world: World, body: bytes
    ) -> None:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        asked = await browser.post(page, content=body, headers=headers)
        assert (asked.status_code, "Use ao menos oito caracteres" in asked.text) == (422, True)
        assert "<form" in asked.text
        assert not await can_sign_in(world)

    async def test_speaks_the_language_of_the_organisation(
        self, browser: httpx2.AsyncClient, page: str, world: World
    ) -> None:
        await world.owners.set_owner(world.operator, OwnerChanges(locale="es"))
        shown = (await browser.get(page)).text
        assert ('<html lang="es">' in shown, "Nueva contraseña" in shown) == (True, True)

    async def test_of_no_link_speaks_the_language_of_the_browser(self, browser: httpx2.AsyncClient) -> None:
        for language, words in (("en-GB,en;q=0.9", "was used already"), ("es", "ya no vale"), ("", "não vale mais")):
            over = await browser.get("/links/nothing", headers={"Accept-Language": language})
            assert (over.status_code, words in over.text) == (410, True)

    async def test_says_to_come_again_when_nothing_can_be_stored(self, world: World) -> None:
        nowhere = LinkService(SqliteDatabase("sqlite:////nowhere/at.all"), world.clock, world.ids, WEAK, None)
        async with browser_of(nowhere, world) as browser:
            for answer in (
                await browser.get(f"/links/{'x' * 43}", headers={"Accept-Language": "en"}),
                await browser.post(
                    f"/links/{'x' * 43}", data={"password": PASSWORD}, headers={"Accept-Language": "en"}
                ),
            ):
                assert (answer.status_code, "Wait a moment" in answer.text) == (503, True)
                assert answer.headers["content-type"] == "text/html; charset=utf-8"

    async def test_of_an_organisation_that_is_gone_is_over(self, world: World) -> None:
        [user, *_] = await world.users.users(world.owner_id)
        links = LinksOf(replace(user, owner_id=UUID(int=404)), world)
        async with browser_of(links, world) as browser:
            assert (await browser.get("/links/any")).status_code == 410

    async def test_is_kept_nowhere_and_loads_nothing(self, browser: httpx2.AsyncClient, page: str) -> None:
        shown = await browser.get(page)
        assert shown.headers["cache-control"] == "no-store"
        assert shown.headers["referrer-policy"] == "no-referrer"
        policy = shown.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; style-src 'sha256-")
        assert "form-action 'self'; frame-ancestors 'none'" in policy
        assert re.findall(r"<script|src=|href=|url\(", shown.text) == []
        assert page.rpartition("/")[2] not in shown.text
