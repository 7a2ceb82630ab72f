"""Post forms to applications with Twilio's three time limits, and send the URL exactly as it was signed.

Common HTTP clients normalise a URL before they send it (`%7e` becomes `~`), which would break the signature. They also
measure time differently: here the connection, the gap between two packets and the whole request have separate limits.
"""

import asyncio
import ssl
from collections import defaultdict
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

MAX_BODY = 1 << 20
# Servers close idle connections after some seconds. A younger connection is safe to reuse, so a lost answer on it means
# that the application died, not that the connection was stale.
_IDLE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Timers:
    connect: float
    read: float


@dataclass(frozen=True, slots=True)
class Answered:
    status: int
    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Unreached:
    """No connection: the application cannot have seen the request."""


@dataclass(frozen=True, slots=True)
class Unanswered:
    """The request went out, and no whole answer came back."""


Outcome = Answered | Unreached | Unanswered


@dataclass(slots=True)
class _Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    used_at: float

    def fresh(self, now: float) -> bool:
        return now - self.used_at < _IDLE_SECONDS and not self.reader.at_eof() and not self.writer.is_closing()


class WebhookClient:
    def __init__(self) -> None:
        self._idle: defaultdict[tuple[str, str], list[_Connection]] = defaultdict(list)

    async def post(self, url: str, headers: dict[str, str], body: bytes, timers: Timers) -> Outcome:
        parts = urlsplit(url)
        try:
            connection = self._reuse(parts) or await self._connect(parts, timers.connect)
        except (OSError, TimeoutError):
            return Unreached()
        keep = False
        try:
            connection.writer.write(_request(parts, headers, body))
            answer, keep = await _answer(connection.reader, timers.read)
            return answer
        except (OSError, TimeoutError, EOFError, ValueError, asyncio.LimitOverrunError):
            return Unanswered()
        finally:
            self._put_back(parts, connection, keep)

    def _reuse(self, parts: SplitResult) -> _Connection | None:
        now = asyncio.get_running_loop().time()
        idle = self._idle[parts.scheme, parts.netloc]
        while idle:
            connection = idle.pop()
            if connection.fresh(now):
                return connection
            connection.writer.close()
        return None

    async def _connect(self, parts: SplitResult, seconds: float) -> _Connection:
        secure = parts.scheme == "https"
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection(
                parts.hostname,
                parts.port or (443 if secure else 80),
                ssl=ssl.create_default_context() if secure else None,
            )
        return _Connection(reader, writer, 0.0)

    def _put_back(self, parts: SplitResult, connection: _Connection, keep: bool) -> None:
        if not keep:
            connection.writer.close()
            return
        connection.used_at = asyncio.get_running_loop().time()
        self._idle[parts.scheme, parts.netloc].append(connection)

    async def close(self) -> None:
        idle = [connection for pool in self._idle.values() for connection in pool]
        self._idle.clear()
        for connection in idle:
            connection.writer.close()
        await asyncio.gather(*(connection.writer.wait_closed() for connection in idle), return_exceptions=True)


def _request(parts: SplitResult, headers: dict[str, str], body: bytes) -> bytes:
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    host = parts.netloc.rpartition("@")[2]
    lines = [f"POST {target} HTTP/1.1", f"Host: {host}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def _answer(reader: asyncio.StreamReader, gap: float) -> tuple[Answered, bool]:
    status, headers = await _head(reader, gap)
    while status < 200:
        status, headers = await _head(reader, gap)
    body, ended = await _body(reader, status, headers, gap)
    keep = ended and headers.get("connection", "").lower() != "close"
    return Answered(status, headers.get("content-type", ""), body), keep


async def _head(reader: asyncio.StreamReader, gap: float) -> tuple[int, dict[str, str]]:
    async with asyncio.timeout(gap):
        head = await reader.readuntil(b"\r\n\r\n")
    first, *rest = head.decode("latin-1").split("\r\n")
    headers: dict[str, str] = {}
    for line in rest:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return int(first.split(" ", 2)[1]), headers


async def _body(reader: asyncio.StreamReader, status: int, headers: dict[str, str], gap: float) -> tuple[bytes, bool]:
    """Return the body, and whether it had its own end (otherwise it ends with the connection)."""
    if status in (204, 304):
        return b"", True
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return await _chunks(reader, gap), True
    if "content-length" in headers:
        return await _exactly(reader, int(headers["content-length"]), gap), True
    async with asyncio.timeout(gap):
        return await reader.read(MAX_BODY), False


async def _chunks(reader: asyncio.StreamReader, gap: float) -> bytes:
    body = bytearray()
    while True:
        async with asyncio.timeout(gap):
            size = int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16)
        chunk = await _exactly(reader, size + 2, gap)
        if size == 0:
            return bytes(body)
        body += chunk[:-2]


async def _exactly(reader: asyncio.StreamReader, size: int, gap: float) -> bytes:
    if size > MAX_BODY:
        raise ValueError("The answer is larger than anything Twilio would read.")
    body = bytearray()
    while len(body) < size:
        async with asyncio.timeout(gap):
            part = await reader.read(size - len(body))
        if not part:
            raise EOFError
        body += part
    return bytes(body)
