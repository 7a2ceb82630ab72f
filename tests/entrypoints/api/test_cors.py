"""Pages of other sites that call the API from a browser."""

from dataclasses import replace

import httpx2

from recado.bootstrap import Container
from recado.entrypoints.api.app import build_app
from tests.entrypoints.api.conftest import PUBLIC

ASKS = {"Origin": "https://app.example", "Access-Control-Request-Method": "PATCH"}


async def test_may_not(client: httpx2.AsyncClient) -> None:
    answer = await client.options("/api/v1/owners", headers=ASKS)
    assert "access-control-allow-origin" not in answer.headers
    assert answer.status_code == 405


async def test_may_where_the_operator_names_them(container: Container) -> None:
    container.settings.override(replace(container.settings(), cors_origins="https://app.example"))
    transport = httpx2.ASGITransport(build_app(container))
    async with httpx2.AsyncClient(transport=transport, base_url=PUBLIC) as client:
        named = await client.options("/api/v1/owners", headers=ASKS)
        other = await client.options("/api/v1/owners", headers={**ASKS, "Origin": "https://other.example"})
        refused = await client.get("/api/v1/owners", headers={"Origin": "https://app.example"})
        health = await client.get("/healthz", headers={"Origin": "https://app.example"})
    assert (named.status_code, named.headers["access-control-allow-origin"]) == (200, "https://app.example")
    assert "access-control-allow-credentials" not in named.headers
    assert "access-control-allow-origin" not in other.headers
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, "https://app.example")
    assert "access-control-allow-origin" not in health.headers
