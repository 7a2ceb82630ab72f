"""The organisation of whoever calls."""

from uuid import UUID

import httpx2

from tests.support.callers import KnownCallers
from tests.world import World

ON_BOTH_DATABASES = True


class TestReading:
    async def test_shows_your_organisation(self, api: httpx2.AsyncClient, callers: KnownCallers, world: World) -> None:
        answer = await api.get(f"/api/v1/owners/{world.owner_id}", headers=callers.key(world.owner_id, "owner.read"))
        assert answer.status_code == 200
        assert answer.json() == {
            "id": str(world.owner_id),
            "name": "Padaria",
            "email": "dona@padaria.example",
            "purge_started_at": None,
            "purged_rows": None,
            "locale": "pt-BR",
            "apology_text": None,
            "handoff_text": None,
            "nudge_text": None,
            "send_policy": "prefer_silence",
            "stop_words": None,
            "start_words": None,
            "created_at": "2026-03-14T12:00:00Z",
            "closed_at": None,
        }

    async def test_lists_no_other(
        self, api: httpx2.AsyncClient, callers: KnownCallers, world: World, stranger: UUID
    ) -> None:
        answer = await api.get("/api/v1/owners", headers=callers.key(world.owner_id, "owner.read"))
        assert [each["id"] for each in answer.json()["items"]] == [str(world.owner_id)]
        assert answer.json()["next_cursor"] is None
        theirs = await api.get("/api/v1/owners", headers=callers.key(stranger, "owner.read"))
        assert [each["id"] for each in theirs.json()["items"]] == [str(stranger)]

    async def test_of_another_is_like_that_of_none(
        self, api: httpx2.AsyncClient, callers: KnownCallers, world: World, stranger: UUID
    ) -> None:
        headers = callers.key(world.owner_id, "owner.read")
        for id_ in (stranger, UUID(int=5)):
            answer = await api.get(f"/api/v1/owners/{id_}", headers=headers)
            assert (answer.status_code, answer.json()["detail"]) == (404, f"there is no owner {id_}")


class TestChanging:
    async def test_changes_what_is_named(self, api: httpx2.AsyncClient, callers: KnownCallers, world: World) -> None:
        headers = {**callers.role(world.owner_id, "admin"), "If-Match": "*"}
        path = f"/api/v1/owners/{world.owner_id}"
        changed = await api.patch(path, json={"name": "Padaria Nova", "stop_words": ["chega"]}, headers=headers)
        assert (changed.status_code, changed.json()["name"], changed.json()["locale"]) == (200, "Padaria Nova", "pt-BR")
        restored = await api.patch(path, json={"stop_words": None}, headers=headers)
        assert (restored.json()["stop_words"], restored.json()["name"]) == (None, "Padaria Nova")

    async def test_of_two_at_once_the_second_reads_again(
        self, api: httpx2.AsyncClient, callers: KnownCallers, world: World
    ) -> None:
        headers = callers.role(world.owner_id, "admin")
        path = f"/api/v1/owners/{world.owner_id}"
        tag = (await api.get(path, headers=headers)).headers["etag"]
        first = await api.patch(path, json={"name": "A"}, headers={**headers, "If-Match": tag})
        second = await api.patch(path, json={"name": "B"}, headers={**headers, "If-Match": tag})
        assert (first.status_code, second.status_code) == (200, 412)
        assert (await api.get(path, headers=headers)).json()["name"] == "A"

    async def test_of_another_is_not_found_whatever_the_body_is(
        self, api: httpx2.AsyncClient, callers: KnownCallers, world: World, stranger: UUID
    ) -> None:
        answer = await api.patch(
            f"/api/v1/owners/{world.owner_id}", content=b"{", headers=callers.role(stranger, "owner")
        )
        assert answer.status_code == 404

    async def test_to_what_cannot_be_is_refused(
        self, api: httpx2.AsyncClient, callers: KnownCallers, world: World, stranger: UUID
    ) -> None:
        headers = {**callers.role(world.owner_id, "admin"), "If-Match": "*"}
        path = f"/api/v1/owners/{world.owner_id}"
        taken = await api.patch(path, json={"email": "dono@floricultura.example"}, headers=headers)
        wrong = await api.patch(path, json={"locale": "xx"}, headers=headers)
        assert (taken.status_code, wrong.status_code) == (409, 422)
        assert stranger != world.owner_id
