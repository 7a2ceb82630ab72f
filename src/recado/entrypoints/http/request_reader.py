"""From bytes to complete requests, within the limits of a head and a body."""

import asyncio
import urllib.parse
from abc import abstractmethod
from typing import ClassVar, Final

import httptools
from starlette.types import Scope

from recado.entrypoints.http.connections import Connections, Pool, Reason
from recado.entrypoints.http.exchange import Exchange
from recado.entrypoints.http.limits import Limits
from recado.entrypoints.http.refusals import BODY_TOO_LARGE, HEAD_TOO_LARGE, MALFORMED

NOTHING, HEAD, BODY = range(3)
_ASGI: Final = {"version": "3.0", "spec_version": "2.3"}
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class Stop(Exception):
    """Stops the parser."""


class RequestReader(asyncio.Protocol):
    """The part of a connection that reads requests. The connection accepts complete requests and sends refusals."""

    connections: ClassVar[Connections]

    def __init__(self, app_state: dict[str, object]) -> None:
        self._app_state = app_state
        self._limits: Limits = self.connections.limits
        self._transport: asyncio.Transport
        self._parser: httptools.HttpRequestParser
        self._server: tuple[str, int] | None = None
        self._client: tuple[str, int] | None = None
        self.trusted = False
        self.held = 0
        self.deadline = 0
        self.pool: Pool | None = None
        self._exchange: Exchange | None = None
        self._served = False
        self._deaf = False  # Further data is ignored.
        self._init_reading()
        self._init_message()

    def _init_reading(self) -> None:
        """Set what is being read."""
        self._reading = NOTHING
        self._piece = 0
        self._turned = False  # A head or a message ended in the piece that was parsed last.
        self._size = 0  # Bytes received of the head, or of the body with its chunk headers.
        self._begun = False  # There is a parser. A silent connection needs none.
        self._asked = False

    def _init_message(self) -> None:
        """Set what is known of the message that is being read."""
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._declared = -1
        self._expects = False
        self._keep_alive = True
        self._version = "1.1"
        self._body: bytes | bytearray = b""
        self._charged = 0  # Bytes of this message that are counted in `held`.
        self._reserved = 0  # The part of `_charged` that is announced and has not arrived.

    @abstractmethod
    def _accept(self, exchange: Exchange) -> None:
        """Handle a complete request."""

    @abstractmethod
    def _refuse(self, reason: Reason, answer: bytes) -> None:
        """Count a refusal and answer with it."""

    @abstractmethod
    def _done(self) -> bool:
        """Return whether the connection reads nothing more."""

    # The methods that an exchange calls.

    @abstractmethod
    def write(self, data: bytes) -> None: ...

    @abstractmethod
    async def written(self) -> None: ...

    @abstractmethod
    def answered(self, exchange: Exchange) -> None: ...

    @abstractmethod
    def broken(self) -> None: ...

    # The methods that the pool of connections calls.

    @abstractmethod
    def overdue(self) -> None: ...

    @abstractmethod
    def close_idle(self) -> None: ...

    @abstractmethod
    def abort(self) -> None: ...

    # The parser.

    def _feed(self, piece: bytes | memoryview) -> None:
        if not self._begun:
            self._begun = True
            self._parser = httptools.HttpRequestParser(self)
            self._parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._turned = False
        self._piece = len(piece)
        try:
            self._parser.feed_data(piece)
        except httptools.HttpParserUpgrade:
            # The request is complete and is answered in HTTP/1.1. The data after it is in another protocol.
            self._deaf = True
            return
        except httptools.HttpParserError:
            if not self._done():
                self._refuse("malformed", MALFORMED)
            return
        self._measure(self._piece)

    def _measure(self, size: int) -> None:
        """Count bytes of an incomplete head or body. This also bounds what the parser keeps or skips."""
        if self._turned:
            self._size = 0
            return
        self._size += size
        if self._reading == BODY:
            if self._size > 2 * self._limits.body_bytes:
                self._refuse("body", BODY_TOO_LARGE)
        elif self._size > self._limits.head_bytes:
            self._refuse("head", HEAD_TOO_LARGE)
        elif self._reading == HEAD:
            self._charge(size)

    def on_message_begin(self) -> None:
        if self._done():
            raise Stop
        self._reading = HEAD
        self._asked = True
        self._url = b""
        self._headers = []
        self._declared = -1
        self._expects = False
        self._body = b""

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._reading == BODY:
            return  # A trailer is ignored. It must not look like a header.
        if len(self._headers) >= self._limits.head_lines:
            self._refuse("head", HEAD_TOO_LARGE)
            raise Stop
        name = name.lower()
        if name == b"content-length":
            self._declared = int(value)
        elif name == b"expect":
            self._expects = value.lower() == b"100-continue"
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        self._reading = BODY
        self._turned = True
        most = self._limits.head_bytes
        if self._size + self._piece > most and self._head_size() > most:
            self._refuse("head", HEAD_TOO_LARGE)
            raise Stop
        if self._declared > self._limits.body_bytes:
            self._refuse("body", BODY_TOO_LARGE)
            raise Stop
        parser = self._parser
        self._version = parser.get_http_version()
        self._keep_alive = (
            self._keep_alive and self._version == "1.1" and parser.should_keep_alive() and not parser.should_upgrade()
        )
        if self._declared > self._piece:
            # The announced body counts now, so that a body without room is refused before it is read.
            self._reserved = self._declared
            self._charge(self._declared)
            if self._done():
                raise Stop
        if self._expects and self._version == "1.1" and self._exchange is None:
            self._transport.write(_CONTINUE)

    def _scope(self) -> Scope:
        url = httptools.parse_url(self._url)
        raw_path = url.path
        path = raw_path.decode("ascii")
        if not self._served:
            self._server = _address(self._transport.get_extra_info("sockname"))
            self._client = _address(self._transport.get_extra_info("peername"))
        return {
            "type": "http",
            "asgi": _ASGI.copy(),
            "http_version": self._version,
            "server": self._server,
            "client": self._client,
            "scheme": "http",
            "method": self._parser.get_method().decode("ascii"),
            "root_path": "",
            "path": urllib.parse.unquote(path) if "%" in path else path,
            "raw_path": raw_path,
            "query_string": url.query or b"",
            "headers": self._headers,
            "state": self._app_state.copy(),
        }

    def on_body(self, body: bytes) -> None:
        if len(self._body) + len(body) > self._limits.body_bytes:
            self._refuse("body", BODY_TOO_LARGE)
            raise Stop
        if not self._body:
            self._body = body
        else:
            if isinstance(self._body, bytes):
                self._body = bytearray(self._body)
            self._body += body
        self._reserved -= len(body)
        if self._reserved < 0:
            more, self._reserved = -self._reserved, 0
            self._charge(more)
        if self._done():
            raise Stop

    def on_message_complete(self) -> None:
        self._reading = NOTHING
        self._turned = True
        exchange = Exchange(self, self._scope(), self._body, size=self._charged, keep_alive=self._keep_alive)
        self._body = b""
        self._charged = self._reserved = 0
        self._accept(exchange)

    def _head_size(self) -> int:
        return len(self._url) + sum(len(name) + len(value) + len(": \r\n") for name, value in self._headers)

    def _charge(self, size: int) -> None:
        self._charged += size
        self.connections.holds(self, size)


def _address(found: object) -> tuple[str, int] | None:
    """Return host and port. A Unix socket has neither."""
    match found:
        case (str() as host, int() as port, *_):
            return host, port
        case _:
            return None
