"""Agents and what they answer from."""

from collections.abc import Mapping
from uuid import UUID

import httpx2
import pytest

from tests.support.callers import KnownCallers
from tests.world import World

ON_BOTH_DATABASES = True

ANY = {"If-Match": "*"}
LLM = {"model": "openai-chat:gpt-5", "api_key": "sk-segredo", "prompt": "Seja breve."}


@pytest.fixture
def admin(callers: KnownCallers, world: World) -> Mapping[str, str]:
    return callers.role(world.owner_id, "admin")


@pytest.fixture
def theirs(callers: KnownCallers, stranger: UUID) -> Mapping[str, str]:
    return callers.role(stranger, "admin")


class TestAgents:
    async def test_one_is_set_and_answers_from_then_on(self, api: httpx2.AsyncClient, admin: Mapping[str, str]) -> None:
        await api.put("/api/v1/agents/echo", json={}, headers={**admin, **ANY})
        saved = await api.put("/api/v1/agents/llm", json=LLM, headers={**admin, **ANY})
        assert saved.status_code == 200
        listed = (await api.get("/api/v1/agents", headers=admin)).json()["items"]
        assert [(each["id"], each["active"], each["has_api_key"]) for each in listed] == [
            ("echo", False, False),
            ("llm", True, True),
        ]
        assert "sk-segredo" not in saved.text

    async def test_nobody_overwrites_what_another_has_changed(
        self, api: httpx2.AsyncClient, admin: Mapping[str, str]
    ) -> None:
        await api.put("/api/v1/agents/llm", json=LLM, headers={**admin, **ANY})
        tag = (await api.get("/api/v1/agents/llm", headers=admin)).headers["etag"]
        first = await api.put("/api/v1/agents/llm", json={"prompt": "a"}, headers={**admin, "If-Match": tag})
        second = await api.put("/api/v1/agents/llm", json={"prompt": "b"}, headers={**admin, "If-Match": tag})
        assert (first.status_code, first.json()["prompt"], second.status_code) == (200, "a", 412)
        now = await api.get("/api/v1/agents/llm", headers=admin)
        assert (now.json()["prompt"], now.headers["etag"]) == ("a", first.headers["etag"])

    async def test_the_secret_of_your_own_is_shown_when_it_is_made(
        self, api: httpx2.AsyncClient, admin: Mapping[str, str]
    ) -> None:
        form = {"url": "https://agent.example/hook"}
        first = await api.put("/api/v1/agents/http", json=form, headers={**admin, **ANY})
        again = await api.put("/api/v1/agents/http", json=form, headers={**admin, **ANY})
        renewed = await api.post("/api/v1/agents/http/secret", headers=admin)
        assert again.json()["secret"] is None
        assert renewed.json()["secret"] not in (None, first.json()["secret"])

    @pytest.mark.parametrize(
        ("agent", "form"),
        [
            ("ecko", {}),
            ("llm", {"model": "openai-chat:gpt-5"}),
            ("http", {"url": "http://127.0.0.1:8000"}),
            ("echo", {"prompt": "a"}),
        ],
    )
    async def test_what_cannot_work_is_refused(
        self, api: httpx2.AsyncClient, admin: Mapping[str, str], agent: str, form: dict[str, str]
    ) -> None:
        answer = await api.put(f"/api/v1/agents/{agent}", json=form, headers={**admin, **ANY})
        assert answer.status_code in {404, 422}
        assert (await api.get("/api/v1/agents", headers=admin)).json()["items"] == []

    async def test_one_that_was_not_set_is_not_found(
        self, api: httpx2.AsyncClient, admin: Mapping[str, str], theirs: Mapping[str, str]
    ) -> None:
        await api.put("/api/v1/agents/echo", json={}, headers={**theirs, **ANY})
        assert (await api.get("/api/v1/agents/echo", headers=admin)).status_code == 404

    async def test_changes_are_audited(self, api: httpx2.AsyncClient, admin: Mapping[str, str], world: World) -> None:
        await api.put("/api/v1/agents/llm", json=LLM, headers={**admin, **ANY})
        rows = await world.rows(
            "SELECT actor_name, action, object_id, source FROM audit_entries WHERE action = :a", a="agent.set"
        )
        assert [tuple(row.values()) for row in rows] == [("Bia", "agent.set", "llm", "203.0.113.7")]


class TestTheAgentOfANumber:
    @pytest.fixture
    def path(self, world: World) -> str:
        return f"/api/v1/numbers/{world.address_id}/agent"

    async def test_is_set_read_listed_and_unset(
        self, api: httpx2.AsyncClient, admin: Mapping[str, str], path: str, world: World
    ) -> None:
        assert (await api.get(path, headers=admin)).status_code == 404
        set_ = await api.put(path, json={"agent": "llm", **LLM}, headers={**admin, **ANY})
        read = await api.get(path, headers=admin)
        listed = (await api.get("/api/v1/numbers/agents", headers=admin)).json()["items"]
        assert (set_.status_code, read.headers["etag"]) == (200, set_.headers["etag"])
        assert [read.json()] == listed
        assert (read.json()["id"], read.json()["agent"]) == (str(world.address_id), "llm")
        assert "sk-segredo" not in set_.text + read.text
        for _ in range(2):
            assert (await api.delete(path, headers=admin)).status_code == 204
        assert (await api.get(path, headers=admin)).status_code == 404

    async def test_is_not_overwritten_by_who_has_not_seen_it(
        self, api: httpx2.AsyncClient, admin: Mapping[str, str], path: str
    ) -> None:
        form = {"agent": "llm", **LLM}
        first = await api.put(path, json=form, headers={**admin, **ANY})
        tag = {"If-Match": first.headers["etag"]}
        second = await api.put(path, json={"agent": "llm", "prompt": "b"}, headers={**admin, **tag})
        third = await api.put(path, json={"agent": "echo"}, headers={**admin, **tag})
        assert (second.json()["prompt"], third.status_code) == ("b", 412)
        assert (await api.put(path, json=form, headers=admin)).status_code == 428

    async def test_has_a_secret_of_its_own(self, api: httpx2.AsyncClient, admin: Mapping[str, str], path: str) -> None:
        form = {"url": "https://agent.example/hook"}
        owners = await api.put("/api/v1/agents/http", json=form, headers={**admin, **ANY})
        numbers = await api.put(path, json={"agent": "http", **form}, headers={**admin, **ANY})
        renewed = await api.post(f"{path}/secret", headers=admin)
        shown = [each.json()["secret"] for each in (owners, numbers, renewed)]
        assert (None not in shown, len(set(shown))) == (True, 3)
        await api.delete(path, headers=admin)
        assert (await api.post(f"{path}/secret", headers=admin)).status_code == 422

    async def test_is_of_a_number_that_is_there(
        self, api: httpx2.AsyncClient, admin: Mapping[str, str], theirs: Mapping[str, str], path: str
    ) -> None:
        form = {"agent": "echo"}
        assert (await api.put(path, json=form, headers={**theirs, **ANY})).status_code == 404
        assert (await api.get("/api/v1/numbers/agents", headers=theirs)).json()["items"] == []
        await api.put(path, json=form, headers={**admin, **ANY})
        await api.delete(path.removesuffix("/agent"), headers=admin)
        assert (await api.get(path, headers=admin)).status_code == 404
        assert (await api.get("/api/v1/numbers/agents", headers=admin)).json()["items"] == []


class TestKnowledge:
    async def test_what_is_added_is_found(self, api: httpx2.AsyncClient, admin: Mapping[str, str]) -> None:
        form = {"name": "horario.md", "text": "# Horário\n\nAbrimos às seis da manhã."}
        added = await api.post("/api/v1/knowledge", json=form, headers=admin)
        assert (added.status_code, added.json()["name"], added.json()["chunks"]) == (201, "horario.md", 1)
        found = await api.get("/api/v1/knowledge/search", params={"query": "que horas abrem?"}, headers=admin)
        assert [each["document"] for each in found.json()["items"]] == ["horario.md"]
        assert (await api.get(f"/api/v1/knowledge/{added.json()['id']}", headers=admin)).json() == added.json()

    async def test_is_listed_page_by_page(self, api: httpx2.AsyncClient, admin: Mapping[str, str]) -> None:
        for number in range(5):
            await api.post("/api/v1/knowledge", json={"name": f"{number}.md", "text": "pão"}, headers=admin)
        names: list[str] = []
        cursor: str | None = None
        for _ in range(3):
            params = {"limit": "2"} if cursor is None else {"limit": "2", "cursor": cursor}
            page = (await api.get("/api/v1/knowledge", params=params, headers=admin)).json()
            names += [each["name"] for each in page["items"]]
            cursor = page["next_cursor"]
        assert (names, cursor) == ([f"{number}.md" for number in range(5)], None)

    async def test_is_deleted_by_its_owner_only(
        self, api: httpx2.AsyncClient, admin: Mapping[str, str], theirs: Mapping[str, str]
    ) -> None:
        added = (await api.post("/api/v1/knowledge", json={"name": "a.md", "text": "pão"}, headers=admin)).json()["id"]
        path = f"/api/v1/knowledge/{added}"
        assert (await api.delete(path, headers=theirs)).status_code == 404
        assert (await api.delete(path, headers=admin)).status_code == 204
        assert (await api.delete(path, headers=admin)).status_code == 404

    async def test_that_is_no_text_is_refused(self, api: httpx2.AsyncClient, admin: Mapping[str, str]) -> None:
        answer = await api.post("/api/v1/knowledge", json={"name": "a.md", "text": " "}, headers=admin)
        assert answer.status_code == 422
