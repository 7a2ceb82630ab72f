"""Servers that owners chose and that do not answer as servers do: they hold up no one else."""

import asyncio
import contextlib
import gzip
import ssl
from collections.abc import AsyncIterator

import httpcore2
import httpx2
import pytest

from recado.core.outbound.addresses import is_not_metadata
from recado.core.outbound.dialling import MOST_HEAD, READ_AT_ONCE, BoundedStream, GuardedTransport
from tests.support.patience import PATIENCE

HINT = b"HTTP/1.1 103\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Server:
    """Sends what a test says once a request has come."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.endless = b""
        self.url = ""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while await reader.readuntil(b"\r\n\r\n"):
                writer.writelines(self.parts)
                await writer.drain()
                while self.endless:
                    writer.write(self.endless)
                    await writer.drain()
        writer.close()


class Plain(httpcore2.AsyncNetworkStream):
    """A connection that always has more."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        self.asked.append(max_bytes)
        return b"x" * max_bytes


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    async with await asyncio.start_server(made.answer, "127.0.0.1", 0) as listening:
        made.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/"
        yield made


@pytest.fixture
async def client() -> AsyncIterator[httpx2.AsyncClient]:
    transport = GuardedTransport(ssl.create_default_context(), is_not_metadata)
    async with httpx2.AsyncClient(transport=transport, timeout=PATIENCE) as client:
        yield client


async def test_hints_without_end_end_the_request(server: Server, client: httpx2.AsyncClient) -> None:
    """They would be parsed for as long as the caller waits, in the event loop of all owners."""
    server.endless = HINT * 1_000
    with pytest.raises(httpx2.RemoteProtocolError, match="does not end"):
        await client.get(server.url)


async def test_some_hints_are_none_of_our_business(server: Server, client: httpx2.AsyncClient) -> None:
    server.parts = [HINT * 100, OK]
    for _ in range(MOST_HEAD // (len(HINT) * 100) + 2):  # Each request begins to count anew on the same connection.
        assert (await client.get(server.url)).text == "ok"


async def test_a_long_body_is_read_to_its_end(server: Server, client: httpx2.AsyncClient) -> None:
    body = b"x" * (3 * MOST_HEAD)
    server.parts = [b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body), body]
    assert (await client.get(server.url)).content == body


async def test_an_answer_without_end_is_not_kept(server: Server, client: httpx2.AsyncClient) -> None:
    """What reads a whole answer, such as the library for models, would fill the memory of all owners' worker."""
    server.parts = [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"]
    server.endless = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    with pytest.raises(httpx2.ReadError, match="longer than"):
        await client.get(server.url)


async def test_an_answer_of_tiny_parts_without_end_is_cut_off(server: Server, client: httpx2.AsyncClient) -> None:
    """Each part is an event for the parser: one byte costs as much as four thousand."""
    server.parts = [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"]
    server.endless = b"1\r\nx\r\n" * 1_000
    with pytest.raises(httpx2.ReadError, match="too many parts"):
        await client.get(server.url)


async def test_an_answer_is_not_unpacked(server: Server, client: httpx2.AsyncClient) -> None:
    """A small one may be enormous when it is."""
    packed = gzip.compress(b"x" * 10_000_000)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    server.parts = [head, packed]
    assert (await client.get(server.url)).content == packed


async def test_little_is_read_at_once() -> None:
    """Between two reads others have a turn, and what was read may be thousands of tiny parts of a body."""
    plain = Plain()
    assert len(await BoundedStream(plain).read(64 * 1024)) == READ_AT_ONCE
    assert plain.asked == [READ_AT_ONCE]
