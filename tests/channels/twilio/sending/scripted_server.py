"""A server that answers, stalls or breaks off as a test says, one act for each request."""

import asyncio
import json
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Self, TypeAlias
from urllib.parse import parse_qs, parse_qsl, urlsplit


@dataclass(frozen=True)
class Received:
    """A request, taken apart."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    connection: int

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.target).query)

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True))


Act: TypeAlias = Callable[[asyncio.StreamWriter], Awaitable[None]]


def answers(status: int, payload: object, *, headers: str = "") -> Act:
    """A whole answer; `bytes` are sent as they are, anything else as JSON."""
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()

    async def act(writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body)
        await writer.drain()

    return act


def breaks_off() -> Act:
    """Half an answer, then the end."""

    async def act(writer: asyncio.StreamWriter) -> None:
        writer.write(b'HTTP/1.1 201 Created\r\nContent-Length: 500\r\n\r\n{"sid": ')
        await writer.drain()
        writer.close()

    return act


def closes() -> Act:
    async def act(writer: asyncio.StreamWriter) -> None:
        writer.close()

    return act


def resets() -> Act:
    """A TCP reset after the request was read."""

    async def act(writer: asyncio.StreamWriter) -> None:
        connection: socket.socket = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    return act


def hangs(arrived: asyncio.Event | None = None) -> Act:
    """Never answers; `arrived` is set when the request is here."""

    async def act(_: asyncio.StreamWriter) -> None:
        if arrived:
            arrived.set()
        await asyncio.Event().wait()

    return act


class ScriptedServer:
    """Performs the acts in order; a request too many hangs. `greeting` is written before anything is read."""

    def __init__(self, *acts: Act, greeting: bytes = b"") -> None:
        self._acts = list(acts)
        self._greeting = greeting
        self._tasks: set[asyncio.Task[None]] = set()
        self._connections = 0
        self.received: list[Received] = []
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def then(self, *acts: Act) -> None:
        self._acts.extend(acts)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        self._tasks.add(asyncio.create_task(self._converse(reader, writer, self._connections)))

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        try:
            if self._greeting:
                writer.write(self._greeting)
                await writer.drain()
            while not writer.is_closing():
                self.received.append(await _request(reader, number))
                act = self._acts.pop(0) if self._acts else hangs()
                await act(writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


async def _request(reader: asyncio.StreamReader, connection: int) -> Received:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    method, target, _ = head[0].split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Received(method, target, headers, body, connection)
