"""The people of an organisation, its keys and its audit, over HTTP."""

from uuid import UUID

import httpx2

from recado.bootstrap import Container
from tests.support.callers import KnownCallers
from tests.world import World

ON_BOTH_DATABASES = True

USERS, KEYS = "/api/v1/users", "/api/v1/keys"
BIA = {"email": "bia@padaria.example", "role": "operator", "name": "Bia"}


class TestUsers:
    async def test_are_invited_read_and_listed(
        self, api: httpx2.AsyncClient, callers: KnownCallers, world: World
    ) -> None:
        headers = callers.role(world.owner_id, "admin")
        invited = await api.post(USERS, json=BIA, headers=headers)
        assert invited.status_code == 201
        user = invited.json()
        assert user.pop("link").startswith("https://recado.example/links/")
        assert {name: user[name] for name in BIA} == BIA
        assert (user["active"], user["invited"], user["last_login_at"]) == (True, True, None)
        assert (await api.get(f"{USERS}/{user['id']}", headers=headers)).json() == user
        listed = (await api.get(USERS, headers=headers)).json()
        assert user in listed["items"]
        assert (len(listed["items"]), listed["next_cursor"]) == (2, None)
        first = (await api.get(USERS, headers=headers, params={"limit": 1})).json()
        second = await api.get(USERS, headers=headers, params={"limit": 1, "cursor": first["next_cursor"]})
        assert first["items"] + second.json()["items"] == listed["items"]

    async def test_change_in_one_request_all_or_nothing(
        self, api: httpx2.AsyncClient, callers: KnownCallers, world: World
    ) -> None:
        headers = callers.role(world.owner_id, "owner")
        id_ = (await api.post(USERS, json=BIA, headers=headers)).json()["id"]
        read = await api.get(f"{USERS}/{id_}", headers=headers)
        tagged = {**headers, "If-Match": read.headers["etag"]}
        changed = await api.patch(f"{USERS}/{id_}", json={"name": "Bê", "role": "viewer"}, headers=tagged)
        assert (changed.status_code, changed.json()["name"], changed.json()["role"]) == (200, "Bê", "viewer")
        assert (await api.patch(f"{USERS}/{id_}", json={"active": False}, headers=tagged)).status_code == 412
        assert (await api.patch(f"{USERS}/{id_}", json={"active": False}, headers=headers)).status_code == 428
        now = {**headers, "If-Match": changed.headers["etag"]}
        gone = await api.patch(f"{USERS}/{id_}", json={"active": False}, headers=now)
        assert (gone.status_code, gone.json()["active"]) == (200, False)
        link = await api.post(f"{USERS}/{id_}/link", headers=headers)
        assert (link.status_code, link.json()["detail"]) == (422, f"{BIA['email']} was disabled")

    async def test_get_few_links_an_hour(self, api: httpx2.AsyncClient, callers: KnownCallers, world: World) -> None:
        headers = callers.role(world.owner_id, "admin")
        link = f"{USERS}/{(await api.post(USERS, json=BIA, headers=headers)).json()['id']}/link"
        answers = [await api.post(link, headers=headers) for _ in range(7)]
        assert [each.status_code for each in answers] == [200] * 6 + [429]
        assert answers[-1].json()["code"] == "identity.too_many_links"
        assert answers[-1].headers["retry-after"] == "1"

    async def test_are_changed_by_those_who_read_them_before_a_sign_in(
        self, api: httpx2.AsyncClient, callers: KnownCallers, world: World
    ) -> None:
        headers = callers.role(world.owner_id, "owner")
        invited = (await api.post(USERS, json=BIA, headers=headers)).json()
        password = {"token": invited["link"].rpartition("/")[2], "password": "um bolo de milho"}
        assert (await api.post("/api/v1/passwords", json=password)).status_code == 200
        read = await api.get(f"{USERS}/{invited['id']}", headers=headers)
        signing_in = {"email": BIA["email"], "password": password["password"]}
        assert (await api.post("/api/v1/sessions", json=signing_in)).status_code == 201
        signed_in = await api.get(f"{USERS}/{invited['id']}", headers=headers)
        assert (read.json()["last_login_at"], signed_in.json()["last_login_at"] is None) == (None, False)
        known = {**headers, "If-Match": read.headers["etag"]}
        assert (await api.patch(f"{USERS}/{invited['id']}", json={"name": "Bê"}, headers=known)).status_code == 200

    async def test_of_whom_the_last_owner_stays(
        self, api: httpx2.AsyncClient, callers: KnownCallers, world: World
    ) -> None:
        headers = {**callers.role(world.owner_id, "owner"), "If-Match": "*"}
        [user] = (await api.get(USERS, headers=headers)).json()["items"]
        body = {"name": "Dona", "role": "viewer"}
        refused = await api.patch(f"{USERS}/{user['id']}", json=body, headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (409, "identity.last_owner")
        assert (await api.get(f"{USERS}/{user['id']}", headers=headers)).json() == user

    async def test_above_oneself_stay_as_they_are(
        self, api: httpx2.AsyncClient, callers: KnownCallers, world: World
    ) -> None:
        headers = {**callers.role(world.owner_id, "admin"), "If-Match": "*"}
        [user] = (await api.get(USERS, headers=headers)).json()["items"]
        for answer in (
            await api.patch(f"{USERS}/{user['id']}", json={"name": "x"}, headers=headers),
            await api.post(f"{USERS}/{user['id']}/link", headers=headers),
            await api.post(USERS, json={**BIA, "role": "owner"}, headers=headers),
        ):
            assert (answer.status_code, answer.json()["code"]) == (403, "identity.not_allowed")

    async def test_have_one_address_each(self, api: httpx2.AsyncClient, callers: KnownCallers, world: World) -> None:
        headers = callers.role(world.owner_id, "admin")
        await api.post(USERS, json=BIA, headers=headers)
        taken = await api.post(USERS, json=BIA, headers=headers)
        assert (taken.status_code, taken.json()["code"]) == (409, "identity.email_taken")
        wrong = await api.post(USERS, json={**BIA, "email": "bia"}, headers=headers)
        assert (wrong.status_code, wrong.json()["code"]) == (422, "core.invalid_input")


class TestKeys:
    async def test_are_made_shown_once_and_revoked(
        self, container: Container, api: httpx2.AsyncClient, callers: KnownCallers, world: World
    ) -> None:
        headers = callers.role(world.owner_id, "admin")
        made = await api.post(KEYS, json={"name": "loja", "scopes": ["conversations.read"]}, headers=headers)
        assert made.status_code == 201
        key = made.json()
        text = key.pop("key")
        assert (await container.api_keys().principal_of(text)) is not None
        assert (key["scopes"], key["created_by"], key["revoked_at"]) == (["conversations.read"], "Bia", None)
        listed = await api.get(KEYS, headers=headers)
        assert [each["id"] for each in listed.json()["items"]] == [key["id"]]
        assert text not in listed.text
        revoked = await api.delete(f"{KEYS}/{key['id']}", headers=headers)
        assert (revoked.status_code, revoked.json()["revoked_at"]) == (200, "2026-03-14T12:00:00Z")
        assert (await container.api_keys().principal_of(text)) is None

    async def test_that_cannot_be_are_refused(
        self, api: httpx2.AsyncClient, callers: KnownCallers, world: World
    ) -> None:
        headers = callers.role(world.owner_id, "owner")
        for body in (
            {"name": " "},
            {"name": "loja", "scopes": ["users.write"]},
            {"name": "loja", "scopes": []},
            {"name": "loja", "expires_at": "2020-01-01T00:00:00Z"},
            {"name": "loja", "expires_at": "2030-01-01T00:00:00"},
            {"name": "loja", "expires_at": "9999-12-31T23:59:59.999999-14:00"},
        ):
            assert (await api.post(KEYS, json=body, headers=headers)).status_code == 422
        assert (await api.get(KEYS, headers=headers)).json()["items"] == []

    async def test_of_another_owner_are_not_found(
        self, api: httpx2.AsyncClient, callers: KnownCallers, world: World, stranger: UUID
    ) -> None:
        made = await api.post(KEYS, json={"name": "loja"}, headers=callers.role(world.owner_id, "owner"))
        for send in (api.get, api.delete):
            answer = await send(f"{KEYS}/{made.json()['id']}", headers=callers.role(stranger, "owner"))
            assert answer.status_code == 404


async def test_the_audit_tells_what_was_done(
    api: httpx2.AsyncClient, callers: KnownCallers, world: World, stranger: UUID
) -> None:
    headers = callers.role(world.owner_id, "admin")
    world.advance(1)
    made = (await api.post(KEYS, json={"name": "loja"}, headers=headers)).json()
    entry = (await api.get("/api/v1/audit", headers=headers, params={"limit": 1})).json()["items"][0]
    assert (entry["action"], entry["object_id"], entry["detail"]) == ("key.created", made["id"], {"scopes": None})
    assert (entry["actor_name"], entry["source"]) == ("Bia", "203.0.113.7")
    about = {"object_kind": "key", "object_id": made["id"]}
    found = await api.get("/api/v1/audit", headers=headers, params=about)
    assert found.json()["items"] == [entry]
    unclear = await api.get("/api/v1/audit", headers=headers, params={"object_id": made["id"]})
    assert (unclear.status_code, unclear.json()["code"]) == (422, "core.invalid_input")
    theirs = (await api.get("/api/v1/audit", headers=callers.role(stranger, "admin"))).json()["items"]
    assert [each["action"] for each in theirs] == ["owner.registered"]
