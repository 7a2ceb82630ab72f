"""What was used, by day and by month."""

from collections.abc import Mapping
from uuid import UUID

import httpx2
import pytest

from recado.bootstrap import Container
from tests.support.callers import KnownCallers
from tests.world import World

ON_BOTH_DATABASES = True


@pytest.fixture
def viewer(callers: KnownCallers, world: World) -> Mapping[str, str]:
    return callers.role(world.owner_id, "viewer")


async def test_is_told_by_day_and_by_month(
    api: httpx2.AsyncClient, viewer: Mapping[str, str], world: World, container: Container
) -> None:
    await world.says("oi")
    await container.usage().count()
    [day] = (await api.get("/api/v1/usage", headers=viewer)).json()["items"]
    [month] = (await api.get("/api/v1/usage?by=month&from=2026-01-01&to=2026-12-31", headers=viewer)).json()["items"]
    assert day == {
        "id": "2026-03-14",
        "messages_received": 1,
        "messages_sent": 1,
        "agent_runs": 1,
        "input_tokens": 0,
        "output_tokens": 0,
    }
    assert month == {**day, "id": "2026-03"}


async def test_of_another_is_not_told(
    api: httpx2.AsyncClient, callers: KnownCallers, world: World, stranger: UUID, container: Container
) -> None:
    await world.says("oi")
    await container.usage().count()
    answer = await api.get("/api/v1/usage", headers=callers.role(stranger, "owner"))
    assert answer.json()["items"] == []


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("to=0001-01-01", 200),
        ("from=9999-12-31&to=9999-12-31", 200),
        ("from=2026-04-01", 422),
        ("from=2020-01-01", 422),
        ("from=yesterday", 422),
        ("by=year", 422),
    ],
)
async def test_of_any_days_is_nothing_or_refused(
    api: httpx2.AsyncClient, viewer: Mapping[str, str], query: str, status: int
) -> None:
    answer = await api.get(f"/api/v1/usage?{query}", headers=viewer)
    assert (answer.status_code, answer.json().get("items", [])) == (status, [])
