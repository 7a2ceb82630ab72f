"""A server on loopback with the protocol of `recado serve`, whose time passes only when a test says so."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import uvicorn
import uvloop
from starlette.types import Message, Receive, Scope, Send
from uvicorn.server import ServerState

from recado.core.metrics import REFUSED, Meters
from recado.entrypoints.http.connections import Connections
from recado.entrypoints.http.limits import Limits
from recado.entrypoints.http.protocol import protocol_for

PATIENCE = 60.0
SIGNED = "/signed"
"""Requests to this path that are answered 200 prove the identity of the caller."""


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop that `recado serve` runs on."""
    return {"uvloop": uvloop.new_event_loop}


@dataclass(slots=True)
class Seen:
    """A request as the application got it."""

    method: str
    raw_path: bytes
    query: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes


@dataclass(slots=True)
class App:
    """Keeps what it saw. Under /slow it waits to be released; under /large/N its answer has N bytes."""

    seen: list[Seen] = field(default_factory=list)
    waiting: int = 0
    gone: int = 0
    released: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        message = await receive()
        assert not message["more_body"]
        self.seen.append(
            Seen(scope["method"], scope["raw_path"], scope["query_string"], scope["headers"], message["body"])
        )
        match scope["path"].split("/"):
            case ["", "slow", *_]:
                await self._wait(receive)
            case ["", "broken", *_]:
                raise ValueError("the application is broken")
            case ["", "stream", *_]:
                await self._stream(send)
                return
            case ["", "large", size]:
                await self._say(send, 200, b"x" * int(size))
                return
        await self._say(send, 200 if scope["path"] in {SIGNED, "/known"} else 404, b"seen %d\n" % len(self.seen))

    async def _wait(self, receive: Receive) -> None:
        self.waiting += 1
        released = asyncio.ensure_future(self.released.wait())
        disconnected = asyncio.ensure_future(receive())
        await asyncio.wait({released, disconnected}, return_when=asyncio.FIRST_COMPLETED)
        self.gone += not released.done()
        released.cancel()
        disconnected.cancel()
        self.waiting -= 1

    async def _stream(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for piece in (b"one ", b"two"):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body"})

    async def _say(self, send: Send, status: int, body: bytes) -> None:
        start: Message = {"type": "http.response.start", "status": status, "headers": [(b"x-app", b"yes")]}
        await send(start)
        await send({"type": "http.response.body", "body": body})


@dataclass(frozen=True, slots=True)
class Caller:
    """A connection to the server."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self) -> bytes:
        """One answer with its length: the head and the body."""
        async with asyncio.timeout(PATIENCE):
            head = await self.reader.readuntil(b"\r\n\r\n")
            lines = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:] if line)
            return head + await self.reader.readexactly(int(lines.get(b"content-length", b"0")))

    async def rest(self) -> bytes:
        """Everything that comes until the server closes."""
        async with asyncio.timeout(PATIENCE):
            return await self.reader.read()

    async def is_closed(self) -> bool:
        """Waits until the server has closed; whether it did so without a word."""
        try:
            return await self.rest() == b""
        except ConnectionResetError:
            return True

    async def asks(self, path: str = "/", body: bytes = b"") -> bytes:
        self.send(request(path, body))
        return await self.answer()


@dataclass(slots=True)
class Server:
    """The server, and what is known of it within."""

    port: int
    app: App
    connections: Connections
    state: ServerState
    meters: Meters
    callers: list[Caller] = field(default_factory=list)

    async def call(self, data: bytes = b"") -> Caller:
        """Open a connection, have it accepted, and send."""
        before = self.connections.arrivals
        caller = Caller(*await asyncio.open_connection("127.0.0.1", self.port))
        self.callers.append(caller)
        await until(lambda: self.connections.arrivals > before)
        caller.send(data)
        return caller

    async def asks(self, path: str = "/", body: bytes = b"") -> bytes:
        """One request on a connection of its own."""
        return await (await self.call()).asks(path, body)

    def pass_seconds(self, seconds: float) -> None:
        """Let time pass for the connections: whole ticks, and one more."""
        for _ in range(int(seconds * 2) + 1):
            self.connections.tick()

    def refused(self) -> dict[str, int]:
        """How many connections were refused, by reason."""
        counted = self.meters.counted()[REFUSED].items()
        return {reason: int(number) for (reason,), number in counted if number}


@asynccontextmanager
async def serving(limits: Limits, meters: Meters) -> AsyncIterator[Server]:
    app, state = App(), ServerState()
    config = uvicorn.Config(app, log_config=None)
    config.load()
    connections = Connections(limits, meters, lambda path, status: path == SIGNED and status < 400, tick_seconds=3600)
    protocol, loop = protocol_for(connections), asyncio.get_running_loop()
    listener = await loop.create_server(lambda: protocol(config, state, {}, loop), "127.0.0.1", 0)
    server = Server(listener.sockets[0].getsockname()[1], app, connections, state, meters)
    try:
        yield server
    finally:
        listener.close()
        app.released.set()
        for caller in server.callers:
            caller.writer.close()
        await until(lambda: not state.connections and not state.tasks)
        connections.stop()
        await listener.wait_closed()
        assert (connections.open, connections.held) == (0, 0), "every connection and byte was given back"


@pytest.fixture
def limits() -> Limits:
    return Limits()


@pytest.fixture
async def server(limits: Limits, meters: Meters) -> AsyncIterator[Server]:
    async with serving(limits, meters) as server:
        yield server


def request(path: str = "/", body: bytes = b"", *headers: str, method: str = "POST") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: bot", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def chunked(path: str, *pieces: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: bot\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    return head + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + end


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


async def until(condition: Callable[[], object]) -> None:
    """Wait for something to come true, as long as a very busy machine may need."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in the code under test
            await asyncio.sleep(0.002)
