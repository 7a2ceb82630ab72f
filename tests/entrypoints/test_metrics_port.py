"""The metrics port of a worker: enough HTTP for a scraper, and no request can stop the worker."""

import asyncio
from collections.abc import AsyncIterator

import httpx2
import pytest

from recado.core.clock import SystemClock
from recado.core.metrics import AGENT_RUNS, Meters
from recado.entrypoints.metrics_port import CALLERS, listen, show_metrics
from recado.operations.exposition import CONTENT_TYPE, Exposition
from recado.operations.gauges import Gauges


def no_gauges() -> Gauges:
    raise AssertionError("a worker does not read the database for its metrics")


@pytest.fixture
async def port(meters: Meters) -> AsyncIterator[int]:
    meters.count(AGENT_RUNS, "reply")
    server = await listen(Exposition(meters, no_gauges, "the key", 300.0, SystemClock()), "127.0.0.1", 0)
    yield port_of(server)
    server.close()
    await server.wait_closed()


def port_of(server: asyncio.Server) -> int:
    port: int = server.sockets[0].getsockname()[1]
    return port


async def ask(port: int, path: str = "/metrics", method: str = "GET", key: str = "the key") -> httpx2.Response:
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        return await client.request(method, path, headers={"Authorization": f"Bearer {key}"})


async def test_it_shows_the_metrics(port: int) -> None:
    response = await ask(port)
    assert (response.status_code, response.headers["content-type"]) == (200, CONTENT_TYPE)
    assert 'recado_agent_runs_total{result="reply"} 1.0' in response.text


@pytest.mark.parametrize(
    ("path", "method", "key", "status"),
    [("/", "GET", "the key", 404), ("/metrics", "POST", "the key", 405), ("/metrics?a=b", "GET", "another", 401)],
)
async def test_it_shows_nothing_else_and_only_with_the_key(
    port: int, path: str, method: str, key: str, status: int
) -> None:
    response = await ask(port, path, method, key)
    assert (response.status_code, response.content) == (status, b"")


async def test_a_caller_with_another_protocol_is_closed(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"x" * 100_000)
    writer.write_eof()
    assert await reader.read() == b""
    writer.close()
    assert (await ask(port)).status_code == 200


async def test_the_number_of_callers_is_limited(port: int) -> None:
    silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3 * CALLERS)]
    async with asyncio.timeout(60):
        ended = [asyncio.create_task(reader.read()) for reader, _ in silent]
        while sum(task.done() for task in ended) < 2 * CALLERS:
            await asyncio.wait([task for task in ended if not task.done()], return_when=asyncio.FIRST_COMPLETED)
        for _, writer in silent:
            writer.close()
        await asyncio.gather(*ended, return_exceptions=True)
    assert (await ask(port)).status_code == 200


async def test_a_port_that_is_taken_stops_no_worker(port: int, meters: Meters) -> None:
    assert await show_metrics(Exposition(meters, no_gauges, None, 300.0, SystemClock()), "127.0.0.1", port) is None


async def test_without_a_port_nothing_listens(meters: Meters) -> None:
    assert await show_metrics(Exposition(meters, no_gauges, None, 300.0, SystemClock()), "127.0.0.1", 0) is None
