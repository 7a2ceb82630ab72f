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
