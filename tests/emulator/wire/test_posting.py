import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from recado.emulator.wire.posting import Answered, Timers, Unanswered, Unreached, WebhookClient

TIMERS = Timers(connect=1.0, read=1.0)
PLAIN = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nOK"
Lines = list[bytes]


@asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[tuple[str, Lines, list[int]]]:
    """A server that gives one answer to everything: its URL, the request lines it saw, and its connections."""
    lines: Lines = []
    connections: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(1)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]))
                lines.append(head.partition(b"\r\n")[0])
                writer.write(answer)
                if b"content-length" not in answer.lower() and b"chunked" not in answer and answer:
                    break
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", lines, connections


@pytest.fixture
async def wire() -> AsyncIterator[WebhookClient]:
    wire = WebhookClient()
    yield wire
    await wire.close()


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(PLAIN, id="length"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"1\r\nO\r\n1\r\nK\r\n0\r\n\r\n",
            id="chunks",
        ),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nOK", id="until the end"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" + PLAIN, id="continue"),
    ],
)
async def test_reads_every_kind_of_answer(wire: WebhookClient, answer: bytes) -> None:
    async with answering(answer) as (url, _, _):
        assert await wire.post(f"{url}/", {}, b"a=1", TIMERS) == Answered(200, "text/plain", b"OK")


async def test_sends_the_url_as_it_is(wire: WebhookClient) -> None:
    async with answering(PLAIN) as (url, lines, _):
        await wire.post(f"{url}/a%7eb/%C3%A3?x=%20#rc=2", {}, b"", TIMERS)
        assert lines == [b"POST /a%7eb/%C3%A3?x=%20 HTTP/1.1"]


async def test_uses_a_young_connection_again(wire: WebhookClient) -> None:
    async with answering(PLAIN) as (url, lines, connections):
        for _ in range(3):
            await wire.post(f"{url}/", {}, b"", TIMERS)
        assert (len(lines), len(connections)) == (3, 1)


async def test_knows_no_connection_from_no_answer(wire: WebhookClient) -> None:
    assert await wire.post("http://127.0.0.1:1/", {}, b"", TIMERS) == Unreached()
    async with answering(b"") as (url, _, _):
        assert await wire.post(f"{url}/", {}, b"", Timers(connect=1.0, read=0.05)) == Unanswered()
    async with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nhalf") as (url, _, _):
        assert await wire.post(f"{url}/", {}, b"", Timers(connect=1.0, read=0.05)) == Unanswered()
