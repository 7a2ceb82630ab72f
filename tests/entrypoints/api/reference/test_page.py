"""The page at `/docs`."""

import base64
import hashlib
import re

import httpx2


async def test_shows_every_route(client: httpx2.AsyncClient) -> None:
    page = (await client.get("/docs")).text
    paths = (await client.get("/openapi.json")).json()["paths"]
    told = [f"{method.upper()} {path}" for path in paths for method in paths[path] if path.startswith("/api/")]
    assert told
    assert [each for each in told if f"<code>{each}</code>" not in page] == []


async def test_runs_no_script_and_loads_nothing(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/docs")
    assert "<script" not in answer.text
    assert re.findall(r"(?:src|href)=\"https?:", answer.text) == []
    assert answer.headers["content-security-policy"].startswith("default-src 'none'; ")


async def test_its_style_is_the_one_that_its_policy_allows(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/docs")
    [style] = re.findall(r"<style>(.*?)</style>", answer.text, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in answer.headers["content-security-policy"]
