"""The end of an organisation over the API: closed, opened, exported, deleted. By its owners only."""

import json
from collections.abc import Mapping
from uuid import UUID

import httpx2
import pytest

from recado.operations.organizations.purge import CLOSED_FOR
from tests.support.callers import KnownCallers
from tests.world import World

ON_BOTH_DATABASES = True


@pytest.fixture
def head(callers: KnownCallers, world: World) -> Mapping[str, str]:
    return callers.role(world.owner_id, "owner")


@pytest.fixture
def path(world: World) -> str:
    return f"/api/v1/owners/{world.owner_id}"


async def test_it_is_closed_and_opened_again(api: httpx2.AsyncClient, head: Mapping[str, str], path: str) -> None:
    closed = await api.post(f"{path}/close", headers=head)
    assert (closed.status_code, closed.json()["closed_at"]) == (200, "2026-03-14T12:00:00Z")
    opened = await api.post(f"{path}/reopen", headers=head)
    assert (opened.status_code, opened.json()["closed_at"]) == (200, None)


async def test_everything_is_exported(
    api: httpx2.AsyncClient, head: Mapping[str, str], path: str, world: World
) -> None:
    await world.says("quero um bolo")
    answer = await api.get(f"{path}/export", headers=head)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-ndjson")
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert lines[0]["owner_id"] == str(world.owner_id)
    assert "quero um bolo" in [line["row"]["text"] for line in lines[1:-1] if line["table"] == "messages"]


async def test_it_is_deleted_30_days_after_its_closing(
    api: httpx2.AsyncClient, head: Mapping[str, str], path: str, world: World
) -> None:
    refused = await api.post(f"{path}/purge", headers=head)
    assert (refused.status_code, refused.json()["code"]) == (409, "operations.purge_refused")
    await api.post(f"{path}/close", headers=head)
    world.clock.advance(CLOSED_FOR)
    ordered = await api.post(f"{path}/purge", headers=head)
    assert (ordered.status_code, ordered.json()["purge_started_at"]) == (202, "2026-04-13T12:00:00Z")
    assert (await api.post(f"{path}/reopen", headers=head)).status_code == 409


@pytest.mark.parametrize("way", ["POST close", "POST reopen", "GET export", "POST purge"])
async def test_another_s_is_not_found_and_nobody_else_may(
    api: httpx2.AsyncClient, callers: KnownCallers, stranger: UUID, world: World, way: str, path: str
) -> None:
    method, _, what = way.partition(" ")
    theirs = await api.request(method, f"{path}/{what}", headers=callers.role(stranger, "owner"))
    assert theirs.status_code == 404
    admin = await api.request(method, f"{path}/{what}", headers=callers.role(world.owner_id, "admin"))
    assert (admin.status_code, admin.json()["code"]) == (403, "identity.not_allowed")
    assert (await world.owners.owner(world.owner_id)).closed_at is None
