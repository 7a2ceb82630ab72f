"""Where a caller calls from, when a proxy stands between."""

from dataclasses import replace

import httpx2
import pytest

from recado.bootstrap import Container
from recado.entrypoints.api.app import build_app
from tests.entrypoints.api.conftest import PUBLIC

PROXY, OTHER = "10.0.0.5", "192.0.2.9"


async def source(container: Container, peer: str, forwarded: str) -> str | None:
    """Sign in through `peer` and return where from, as the user is shown it."""
    transport = httpx2.ASGITransport(build_app(container), client=(peer, 5))
    async with httpx2.AsyncClient(transport=transport, base_url=f"{PUBLIC}/api/v1") as client:
        headers = {"X-Forwarded-For": forwarded}
        body = {"email": "a@recado.example", "password": "pão às seis"}
        assert (await client.post("/sessions", json=body, headers=headers)).status_code == 201
        [session] = (await client.get("/sessions", headers=headers)).json()["items"]
        found: str | None = session["source"]
        return found


async def test_is_the_proxy_unless_the_operator_trusts_it(container: Container) -> None:
    assert await source(container, PROXY, "203.0.113.7") == PROXY


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        (PROXY, "203.0.113.7", "203.0.113.7"),
        (PROXY, "203.0.113.7:4711", "203.0.113.7"),
        (PROXY, "[2001:db8::7]:4711", "2001:db8::7"),
        (PROXY, "203.0.113.7, 10.1.2.3", "203.0.113.7"),
        (PROXY, "198.51.100.1, 203.0.113.7", "203.0.113.7"),  # What a caller writes in front counts for nothing.
        (PROXY, "x" * 200, None),
        (PROXY, f"fe80::1%{'x' * 200}", "fe80::1"),
        (PROXY, "%eth0", None),
        (OTHER, "203.0.113.7", OTHER),
    ],
)
async def test_is_what_a_trusted_proxy_says(
    container: Container, peer: str, forwarded: str, expected: str | None
) -> None:
    container.settings.override(replace(container.settings(), trusted_proxies="10.0.0.0/8"))
    assert await source(container, peer, forwarded) == expected
