"""One request and its answer, as the ASGI application sees them.

The application is called when the request is complete. So an incomplete request costs no task, no trace and no log
line, and `receive` never waits for a body.
"""

import asyncio
import http
import re
from collections.abc import Iterable
from typing import Final, Protocol

import structlog
from starlette.types import ASGIApp, Message, Scope

log = structlog.get_logger(__name__)

_NAME: Final = re.compile(rb"[\x00-\x20\x7f()<>@,;:\[\]={}\\\"]")
_VALUE: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_STATUS_LINES: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in http.HTTPStatus
}
_SECRET: Final = re.compile(r"[^/]{37,}")
"""A part of a path that is longer than an id: it may be the secret of a link."""
_NO_BODY: Final = frozenset({204, 304})
_LARGE: Final = 65_536
"""A body of this size or more is not copied into one piece with its head."""


class ResponseWriter(Protocol):
    """The connection, as an exchange uses it."""

    def write(self, data: bytes) -> None: ...

    async def written(self) -> None:
        """Wait until all written data is sent or the connection is lost."""

    def answered(self, exchange: "Exchange") -> None:
        """Note that the answer is complete."""

    def broken(self) -> None:
        """Note that the answer cannot be completed."""


class Exchange:
    """An ASGI request, and the state of its answer."""

    __slots__ = (
        "_body", "_chunked", "_complete", "_event", "_given", "_left", "_lost", "_start", "_wire", "_written",
        "keep_alive", "scope", "size", "status",
    )  # fmt: skip

    def __init__(
        self, wire: ResponseWriter, scope: Scope, body: bytes | bytearray, *, size: int, keep_alive: bool
    ) -> None:
        self.scope = scope
        self.keep_alive = keep_alive
        self.size = size
        """Bytes that count for the connection until the answer is complete."""
        self.status = 0
        self._wire = wire
        self._body = body
        self._given = False
        self._start: Message = {}
        self._written = False
        self._complete = False
        self._chunked = False
        self._left = -1
        self._lost = False
        self._event: asyncio.Event | None = None

    async def run(self, app: ASGIApp) -> None:
        """Let the application answer. If it fails before it sent anything, the caller gets 500."""
        try:
            await app(self.scope, self.receive, self.send)
            if not (self._complete or self._lost):
                raise RuntimeError("the application returned without a complete answer")  # noqa: TRY301 - logged below
        except Exception:
            log.exception("serve.request_failed", method=self.scope["method"], path=_loggable(self.scope["path"]))
            await self._fail()
        except BaseException:
            self._wire.broken()
            raise

    def lose(self) -> None:
        """Note that the caller is gone."""
        self._lost = True
        self._wake()

    # --- What the application calls -----------------------------------------------------------------------------------

    async def receive(self) -> Message:
        if not self._given:
            self._given = True
            body, self._body = bytes(self._body), b""
            return {"type": "http.request", "body": body, "more_body": False}
        if not (self._lost or self._complete):
            if self._event is None:
                self._event = asyncio.Event()
            await self._event.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if not self._start:
            if kind != "http.response.start":
                raise RuntimeError(f"an answer begins with http.response.start, not with {kind}")
            self._start = message
            self.status = message["status"]
            return
        if kind != "http.response.body" or self._complete:
            raise RuntimeError(f"{kind} is not allowed at this point of an answer")
        if self._written:
            await self._wire.written()
        if not self._lost:
            self._send_body(message.get("body", b""), more=message.get("more_body", False))

    # --- The answer on the wire ---------------------------------------------------------------------------------------

    def _send_body(self, body: bytes, *, more: bool) -> None:
        head = b"" if self._written else self._head(len(body), more=more)
        body = self._framed(body, more=more)
        self._written = True
        if len(body) < _LARGE:
            if head or body:
                self._wire.write(head + body)
        else:
            self._wire.write(head)
            self._wire.write(body)
        if not more:
            self._complete = True
            self._wake()
            self._wire.answered(self)

    def _framed(self, body: bytes, *, more: bool) -> bytes:
        """Return a piece of the body as it is sent: in chunks, or counted against content-length."""
        if self.scope["method"] == "HEAD" or self.status in _NO_BODY:
            self._left = 0
            return b""
        if self._chunked:
            return (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + (b"" if more else b"0\r\n\r\n")
        if self._left >= 0:
            self._left -= len(body)
            if self._left < 0 or (self._left and not more):
                raise RuntimeError("the body is not as long as content-length says")
        return body

    def _head(self, length: int, *, more: bool) -> bytes:
        """Return the status line and headers."""
        parts = [_status_line(self.status)]
        closes = False
        headers: Iterable[tuple[bytes, bytes]] = self._start.get("headers", ())
        for given, value in headers:
            name = given.lower()
            if _NAME.search(name) or _VALUE.search(value):
                raise RuntimeError(f"a header of the answer cannot be sent: {name!r}")
            if name == b"content-length":
                self._left = int(value)
            elif name == b"transfer-encoding":
                continue  # Only this class knows how the body is sent.
            elif name == b"connection":
                closes = b"close" in value.lower()
            parts += (name, b": ", value, b"\r\n")
        parts.append(self._framing_header(length, more=more))
        self.keep_alive = self.keep_alive and not closes
        if not self.keep_alive and not closes:
            parts.append(b"connection: close\r\n")
        parts.append(b"\r\n")
        return b"".join(parts)

    def _framing_header(self, length: int, *, more: bool) -> bytes:
        """Return the header that says where the body ends; the first piece of the body decides which one."""
        if self._left >= 0 or self.status in _NO_BODY or self.scope["method"] == "HEAD":
            return b""
        if not more:
            self._left = length
            return b"content-length: %d\r\n" % length
        if self.scope["http_version"] == "1.1":
            self._chunked = True
            return b"transfer-encoding: chunked\r\n"
        self.keep_alive = False  # The body ends with the connection.
        return b""

    async def _fail(self) -> None:
        if self._written or self._lost:
            self._wire.broken()
            return
        text, self._left, self._chunked = b"Internal Server Error", -1, False
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
        self._start, self.status = {"headers": headers}, 500
        self._send_body(text, more=False)

    def _wake(self) -> None:
        if self._event is not None:
            self._event.set()


def _status_line(status: int) -> bytes:
    return _STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status


def _loggable(path: str) -> str:
    """Return a path as it may be written into the log."""
    return _SECRET.sub("…", path)[:200]
