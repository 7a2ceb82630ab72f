"""A server that only receives webhooks does not build the API."""

import asyncio
from collections.abc import Sequence

import httpx2
from fastapi import APIRouter, FastAPI

from recado.entrypoints.api.late import LateRoutes


class Building:
    """Counts how often it builds."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> Sequence[APIRouter]:
        self.times += 1
        router = APIRouter()

        @router.get("/things")
        async def things() -> str:
            return "coisas"

        return [router]


def serving(building: Building) -> httpx2.AsyncClient:
    app = FastAPI()

    @app.get("/healthz")
    async def healthz() -> str:
        return "ok"

    return httpx2.AsyncClient(transport=httpx2.ASGITransport(LateRoutes(app, building)), base_url="http://recado")


async def test_until_somebody_calls_it() -> None:
    building = Building()
    async with serving(building) as client:
        assert (await client.get("/healthz")).json() == "ok"
        assert building.times == 0
        answers = await asyncio.gather(*(client.get("/api/v1/things") for _ in range(10)))
    assert [each.json() for each in answers] == ["coisas"] * 10
    assert building.times == 1


async def test_and_its_description_is_whole() -> None:
    async with serving(Building()) as client:
        assert set((await client.get("/openapi.json")).json()["paths"]) == {"/healthz", "/api/v1/things"}
