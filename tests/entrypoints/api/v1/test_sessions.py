"""People sign in and out over HTTP, and choose their passwords."""

from collections.abc import AsyncIterator
from typing import Final

import httpx2
import pytest
from argon2 import PasswordHasher

from recado.bootstrap import Container
from recado.entrypoints.api.app import build_app
from recado.identity.access.links import LinkService
from recado.identity.mail.jobs import put_link_mail
from recado.identity.passwords import Passwords
from recado.identity.permissions import OF_ROLE
from tests.world import World

ON_BOTH_DATABASES = True

URL: Final = "https://recado.example"
EMAIL, PASSWORD = "dona@padaria.example", "pão quente às seis"
NEW_PASSWORD = "cavalo correto bateria"
COOKIE: Final = "__Host-recado_session"
OURS: Final = {"Origin": URL}


@pytest.fixture
async def site(container: Container) -> AsyncIterator[httpx2.AsyncClient]:
    """The server as a browser sees it: it knows real sessions and keeps cookies."""
    container.authenticator.reset_override()
    container.passwords.override(Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)))
    transport = httpx2.ASGITransport(build_app(container), client=("8.8.4.4", 4711))
    async with httpx2.AsyncClient(transport=transport, base_url=f"{URL}/api/v1", headers=OURS) as client:
        yield client


async def signs_in(site: httpx2.AsyncClient, password: str = PASSWORD) -> httpx2.Response:
    return await site.post("/sessions", json={"email": EMAIL, "password": password})


class TestSigningIn:
    async def test_opens_a_session_that_the_cookie_bears(self, site: httpx2.AsyncClient, world: World) -> None:
        assert (await site.get("/me")).status_code == 401
        world.advance(1)
        answer = await signs_in(site)
        assert answer.status_code == 201
        assert (answer.json()["user"]["email"], answer.json()["user"]["role"]) == (EMAIL, "owner")
        assert answer.headers["cache-control"] == "no-store"
        me = (await site.get("/me")).json()
        assert (me["kind"], me["owner_id"], me["name"]) == ("user", str(world.owner_id), EMAIL)
        assert me["permissions"] == sorted(OF_ROLE["owner"])
        assert (await site.get("/audit")).json()["items"][0]["source"] == "8.8.4.4"

    async def test_gives_the_cookie_to_this_site_only_and_to_no_script(self, site: httpx2.AsyncClient) -> None:
        answer = await signs_in(site)
        name, _, rest = answer.headers["set-cookie"].partition("=")
        assert name == COOKIE
        parts = {each.strip().lower() for each in rest.split(";")[1:]}
        assert parts == {"httponly", "secure", "samesite=lax", "path=/", "max-age=2592000"}
        assert site.cookies[COOKIE] not in answer.text

    async def test_again_ends_the_session_before(self, site: httpx2.AsyncClient) -> None:
        await signs_in(site)
        first = site.cookies[COOKIE]
        await signs_in(site)
        assert site.cookies[COOKIE] != first
        site.cookies.set(COOKIE, first, domain="recado.example")
        assert (await site.get("/me", headers={"Cookie": f"{COOKIE}={first}"})).status_code == 401

    async def test_with_anything_else_is_told_the_same(self, site: httpx2.AsyncClient) -> None:
        wrong = await signs_in(site, "wrong password")
        unknown = await site.post("/sessions", json={"email": "nobody@padaria.example", "password": PASSWORD})
        assert (wrong.status_code, wrong.json()["code"]) == (401, "api.wrong_credentials")
        assert (unknown.status_code, unknown.json()) == (401, wrong.json())
        assert "set-cookie" not in wrong.headers

    async def test_too_often_has_to_wait(self, site: httpx2.AsyncClient) -> None:
        for _ in range(6):
            assert (await signs_in(site, "wrong password")).status_code == 401
        refused = await signs_in(site)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        assert refused.json()["code"] == "api.too_many_requests"

    @pytest.mark.parametrize("body", [{}, {"email": EMAIL}, {"email": EMAIL, "password": "x" * 2_000}, [], "x"])
    async def test_with_a_body_that_makes_no_sense_is_refused_without_repeating_it(
        self, site: httpx2.AsyncClient, body: object
    ) -> None:
        answer = await site.post("/sessions", json=body)
        assert answer.status_code == 422
        assert "xxx" not in answer.text


class TestSigningOut:
    async def test_ends_the_session(self, site: httpx2.AsyncClient) -> None:
        await signs_in(site)
        token = site.cookies[COOKIE]
        answer = await site.delete("/sessions/current")
        assert answer.status_code == 204
        assert f'{COOKIE}=""' in answer.headers["set-cookie"]
        assert (await site.get("/me", headers={"Cookie": f"{COOKIE}={token}"})).status_code == 401

    async def test_is_not_done_by_another_site(self, site: httpx2.AsyncClient) -> None:
        await signs_in(site)
        answer = await site.delete("/sessions/current", headers={"Origin": "https://evil.example"})
        assert (answer.status_code, answer.json()["code"]) == (403, "api.foreign_origin")
        assert (await site.get("/me")).status_code == 200


class TestWhereAUserIsSignedIn:
    async def test_is_listed_with_where_from_and_which_is_this_one(
        self, site: httpx2.AsyncClient, world: World
    ) -> None:
        await signs_in(site)
        elsewhere = site.cookies[COOKIE]
        site.cookies.clear()
        world.advance(90)
        await signs_in(site)
        found = (await site.get("/sessions")).json()["items"]
        assert [each["current"] for each in found] == [True, False]
        assert {each["source"] for each in found} == {"8.8.4.4"}
        assert found[0]["created_at"] > found[1]["created_at"] == found[1]["last_used_at"]
        assert elsewhere not in str(found)
        pages = [(await site.get("/sessions", params={"limit": 1})).json()]
        pages.append((await site.get("/sessions", params={"limit": 1, "cursor": pages[0]["next_cursor"]})).json())
        assert [page["items"] for page in pages] == [[found[0]], [found[1]]]

    async def test_is_not_where_a_session_has_ended(self, site: httpx2.AsyncClient, world: World) -> None:
        await signs_in(site)
        site.cookies.clear()
        world.advance(12 * 3_600)
        await signs_in(site)
        assert [each["current"] for each in (await site.get("/sessions")).json()["items"]] == [True]

    async def test_ends_there_and_stays_here(self, site: httpx2.AsyncClient, world: World) -> None:
        await signs_in(site)
        lost = site.cookies[COOKIE]
        site.cookies.clear()
        world.advance(1)
        await signs_in(site)
        [_, other] = (await site.get("/sessions")).json()["items"]
        answer = await site.delete(f"/sessions/{other['id']}")
        assert (answer.status_code, "set-cookie" in answer.headers) == (204, False)
        assert (await site.get("/me", headers={"Cookie": f"{COOKIE}={lost}"})).status_code == 401
        assert len((await site.get("/sessions")).json()["items"]) == 1
        entry = (await site.get("/audit", params={"object_kind": "session"})).json()["items"][0]
        assert (entry["action"], entry["object_id"]) == ("session.ended", other["id"])
        assert (await site.delete(f"/sessions/{other['id']}")).status_code == 404

    async def test_ends_here_with_the_cookie(self, site: httpx2.AsyncClient) -> None:
        await signs_in(site)
        [here] = (await site.get("/sessions")).json()["items"]
        answer = await site.delete(f"/sessions/{here['id']}")
        assert f'{COOKIE}=""' in answer.headers["set-cookie"]
        assert (await site.get("/me")).status_code == 401

    async def test_is_known_to_this_user_alone(self, site: httpx2.AsyncClient) -> None:
        """Not even to another user of the organisation, nor to an API key."""
        await signs_in(site)
        owners = dict(site.cookies)
        key = (await site.post("/keys", json={"name": "loja"})).json()["key"]
        link = (await site.post("/users", json={"email": "bia@padaria.example", "role": "admin"})).json()["link"]
        [session] = (await site.get("/sessions")).json()["items"]
        site.cookies.clear()
        await site.post("/passwords", json={"token": link.rpartition("/")[2], "password": NEW_PASSWORD})
        await site.post("/sessions", json={"email": "bia@padaria.example", "password": NEW_PASSWORD})
        assert [each["current"] for each in (await site.get("/sessions")).json()["items"]] == [True]
        assert (await site.delete(f"/sessions/{session['id']}")).status_code == 404
        site.cookies.clear()
        bearer = {"Authorization": f"Bearer {key}"}
        assert (await site.get("/sessions", headers=bearer)).json() == {"items": [], "next_cursor": None}
        assert (await site.delete(f"/sessions/{session['id']}", headers=bearer)).status_code == 404
        assert (await site.get("/me", headers={"Cookie": f"{COOKIE}={owners[COOKIE]}"})).status_code == 200


class TestThePassword:
    async def test_is_changed_by_who_knows_it_and_signs_out_everywhere(self, site: httpx2.AsyncClient) -> None:
        await signs_in(site)
        wrong = await site.put("/me/password", json={"current": "wrong password", "new": NEW_PASSWORD})
        assert (wrong.status_code, wrong.json()["code"]) == (401, "api.wrong_credentials")
        common = await site.put("/me/password", json={"current": PASSWORD, "new": "senha123"})
        assert (common.status_code, common.json()["code"]) == (422, "identity.password_refused")
        assert (await site.put("/me/password", json={"current": PASSWORD, "new": NEW_PASSWORD})).status_code == 204
        assert (await site.get("/me")).status_code == 401
        assert (await signs_in(site, NEW_PASSWORD)).status_code == 201

    async def test_of_a_key_does_not_exist(self, site: httpx2.AsyncClient) -> None:
        await signs_in(site)
        key = (await site.post("/keys", json={"name": "loja"})).json()["key"]
        site.cookies.clear()
        body = {"current": PASSWORD, "new": NEW_PASSWORD}
        answer = await site.put("/me/password", json=body, headers={"Authorization": f"Bearer {key}"})
        assert (answer.status_code, answer.json()["code"]) == (403, "identity.not_allowed")

    async def test_is_chosen_by_a_link_once(self, site: httpx2.AsyncClient) -> None:
        await signs_in(site)
        invited = await site.post("/users", json={"email": "bia@padaria.example", "role": "viewer", "name": "Bia"})
        link = invited.json()["link"]
        assert link.startswith(f"{URL}/links/")
        site.cookies.clear()
        body = {"token": link.rpartition("/")[2], "password": NEW_PASSWORD}
        chosen = await site.post("/passwords", json=body)
        assert (chosen.status_code, chosen.json()["invited"]) == (200, False)
        again = await site.post("/passwords", json=body)
        assert (again.status_code, again.json()["code"]) == (410, "api.link_over")
        signed_in = await site.post("/sessions", json={"email": "bia@padaria.example", "password": NEW_PASSWORD})
        assert signed_in.status_code == 201

    async def test_that_is_lost_is_asked_for_without_learning_who_has_an_account(
        self, container: Container, site: httpx2.AsyncClient, world: World
    ) -> None:
        passwords = container.passwords()
        mailing = LinkService(world.database, world.clock, world.ids, passwords, put_link_mail)
        container.links.override(mailing)
        answers = [
            await site.post("/passwords/reset", json={"email": email}) for email in (EMAIL, "nobody@padaria.example")
        ]
        assert [each.status_code for each in answers] == [202, 202]
        assert answers[0].json() == answers[1].json() == {"status": "accepted"}
        jobs = await world.rows("SELECT name FROM message_queue WHERE name = 'identity.link_mail'")
        assert len(jobs) == 2, "the worker looks whether there is one, which takes no caller's time"

    async def test_that_is_lost_needs_a_mail_server(self, site: httpx2.AsyncClient) -> None:
        answer = await site.post("/passwords/reset", json={"email": EMAIL})
        assert (answer.status_code, answer.json()["code"]) == (409, "identity.no_mail")
