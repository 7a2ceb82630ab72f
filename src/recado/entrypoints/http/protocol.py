"""HTTP/1.1 on one connection, with limits that apply before the application sees a request.

uvicorn's server accepts connections, starts and stops; this class replaces its protocol. The parser is the same
(httptools). The differences: heads, bodies, time and memory are limited, the application gets complete requests, an
answer is one write, and refusals are counted instead of logged one by one.
"""

import asyncio
import urllib.parse
from collections import deque
from typing import TYPE_CHECKING, ClassVar, Final

import httptools
from starlette.types import ASGIApp, Scope

from recado.entrypoints.http.connections import Connections, Pool, Reason
from recado.entrypoints.http.exchange import Exchange
from recado.entrypoints.http.limits import Limits

if TYPE_CHECKING:
    from uvicorn import Config
    from uvicorn.server import ServerState

NOTHING, HEAD, BODY = range(3)

_HEADER_COST: Final = 150
"""Bytes that Python needs for a header besides its characters."""


def _refusal(status: bytes, sentence: bytes) -> bytes:
    return (
        b"HTTP/1.1 %b\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
        % (status, len(sentence), sentence)
    )


_MALFORMED: Final = _refusal(b"400 Bad Request", b"this is not an HTTP/1.1 request\n")
_TOO_SLOW: Final = _refusal(b"408 Request Timeout", b"the request did not arrive in time\n")
_BODY_TOO_LARGE: Final = _refusal(b"413 Content Too Large", b"the body is too large\n")
_HEAD_TOO_LARGE: Final = _refusal(
    b"431 Request Header Fields Too Large", b"the URL and headers are too large or too many\n"
)
_OVERLOADED: Final = _refusal(b"503 Service Unavailable", b"the server receives too much data; try again\n")
_ASGI: Final = {"version": "3.0", "spec_version": "2.3"}
_URGENT: Final = "/webhooks/"
"""Requests to these paths start at once."""
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class _Stop(Exception):
    """Stops the parser."""


class HttpConnection(asyncio.Protocol):
    """One connection. `protocol_for` returns the class that a server instantiates."""

    connections: ClassVar[Connections]

    def __init__(
        self,
        config: "Config",
        server_state: "ServerState",
        app_state: dict[str, object],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._app: ASGIApp = config.loaded_app
        self._loop = _loop or asyncio.get_running_loop()
        self._server_state = server_state
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
        self._init_progress()
        self._init_message()

    def _init_progress(self) -> None:
        """Set what the connection is doing."""
        self._reading = NOTHING
        self._piece = 0
        self._turned = False  # A head or a message ended in the piece that was parsed last.
        self._size = 0  # Bytes received of the head, or of the body with its chunk headers.
        self._begun = False  # There is a parser. A silent connection needs none.
        self._asked = False
        self._served = False
        self._exchange: Exchange | None = None
        self._waiting: deque[Exchange] | None = None
        self._paused = False  # Reading is paused.
        self._clogged: asyncio.Event | None = None  # The caller does not read what was written.
        self._deaf = False  # Further data is ignored.
        self._leaving = False
        self._gone = False
        self._thrown_away = 0

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

    # --- asyncio ------------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # streams give this one
        self._transport = transport
        if not self.connections.arrived(self):
            self._gone = True
            transport.abort()
            return
        # Pause writing while anything is buffered: at most one answer is kept for a caller that does not read.
        transport.set_write_buffer_limits(high=0)
        self._server_state.connections.add(self)  # type: ignore[arg-type]  # it only calls `shutdown`

    def connection_lost(self, _error: Exception | None) -> None:
        self._server_state.connections.discard(self)
        if not self._gone:
            self._gone = True
            self.connections.left(self)
        if self._exchange is not None:
            self._exchange.lose()
        self._waiting = None
        if self._begun:
            del self._parser  # It refers to this object, and this object to it.
        self._body = b""
        self.resume_writing()

    def eof_received(self) -> None:
        """Close the connection. A caller that only stopped sending looks the same as one that is gone."""

    def data_received(self, data: bytes) -> None:
        if self._done():
            self._throw_away(len(data))
            return
        if self._exchange is not None:
            self._pause_reading()
        before = self._reading
        most = self._limits.head_bytes
        if len(data) <= most:
            self._feed(data)
        else:
            view = memoryview(data)
            for start in range(0, len(data), most):
                self._feed(view[start : start + most])
                if self._done():
                    return
        if self._exchange is None and not self._leaving:
            self._wait_on(before)

    def pause_writing(self) -> None:
        self._clogged = self._clogged or asyncio.Event()
        if not self._leaving:
            self.connections.unread(self)

    def resume_writing(self) -> None:
        clogged, self._clogged = self._clogged, None
        if clogged is None:
            return
        clogged.set()
        if self._gone or self._leaving:
            return
        self.connections.busy(self)
        if self._exchange is None:
            self._go_on()

    # --- The server and the pool of connections -----------------------------------------------------------------------

    def shutdown(self) -> None:
        """Close the connection after the requests that have begun are answered."""
        if self._exchange is None and self._reading == NOTHING:
            self._leave()
            return
        self._keep_alive = False
        self._deaf = self._deaf or self._reading == NOTHING
        for exchange in (self._exchange, *(self._waiting or ())):
            if exchange is not None:
                exchange.keep_alive = False

    def overdue(self) -> None:
        if self._reading != NOTHING or self._size:
            self._refuse("slow", _TOO_SLOW)
            return
        if not self._asked:
            self.connections.refused("silent")
        self._leave()

    def close_idle(self) -> None:
        self._drop(_OVERLOADED, linger=False)

    def abort(self) -> None:
        if not self._gone:
            self._gone = True
            self.connections.left(self)
        self._transport.abort()

    # --- Parsing ------------------------------------------------------------------------------------------------------

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
                self._refuse("malformed", _MALFORMED)
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
                self._refuse("body", _BODY_TOO_LARGE)
        elif self._size > self._limits.head_bytes:
            self._refuse("head", _HEAD_TOO_LARGE)
        elif self._reading == HEAD:
            self._charge(size)

    def on_message_begin(self) -> None:
        if self._done():
            raise _Stop
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
            self._refuse("head", _HEAD_TOO_LARGE)
            raise _Stop
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
            self._refuse("head", _HEAD_TOO_LARGE)
            raise _Stop
        if self._declared > self._limits.body_bytes:
            self._refuse("body", _BODY_TOO_LARGE)
            raise _Stop
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
                raise _Stop
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
            self._refuse("body", _BODY_TOO_LARGE)
            raise _Stop
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
            raise _Stop

    def on_message_complete(self) -> None:
        self._reading = NOTHING
        self._turned = True
        exchange = Exchange(self, self._scope(), self._body, size=self._charged, keep_alive=self._keep_alive)
        self._body = b""
        self._charged = self._reserved = 0
        if self._exchange is None and self._clogged is None:
            self._start(exchange)
            return
        if self._waiting is None:
            self._waiting = deque()
        if len(self._waiting) >= self._limits.pipelined:
            self.connections.frees(self, exchange.size)
            self._refuse("pipelined", _OVERLOADED)
            raise _Stop
        self._waiting.append(exchange)

    def _head_size(self) -> int:
        return len(self._url) + sum(len(name) + len(value) + len(": \r\n") for name, value in self._headers)

    def _charge(self, size: int) -> None:
        self._charged += size
        self.connections.holds(self, size)

    def _wait_on(self, before: int) -> None:
        """Set the deadline for the next bytes of a request."""
        if self._reading == before:
            return  # More bytes of the same head or body do not extend the deadline.
        if self._reading == BODY:
            more = max(0, self._declared - len(self._body)) - self._reserved
            self._reserved += more
            self._charge(more + self._head_size() + _HEADER_COST * len(self._headers))
            if not self._leaving:
                self.connections.waits(self, self.connections.body_ticks)
        elif self._served:
            self.connections.waits(self, self.connections.head_ticks)

    # --- Answering ----------------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        self._transport.write(data)

    async def written(self) -> None:
        if self._clogged is not None:
            await self._clogged.wait()

    def answered(self, exchange: Exchange) -> None:
        self._server_state.total_requests += 1
        self._served = True
        self._exchange = None
        if self._gone:
            return
        self.connections.frees(self, exchange.size)
        if not self.trusted:
            self.trusted = self.connections.trusts(exchange.scope["path"], exchange.status)
        if not exchange.keep_alive:
            self._leave()
        elif self._clogged is None:
            self._go_on()
        else:
            self._pause_reading()  # A caller that does not read gets no second answer.

    def broken(self) -> None:
        self.abort()

    def _start(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self.connections.busy(self)
        if exchange.scope["path"].startswith(_URGENT):
            self._run()
        else:
            self.connections.in_turn(self._run)

    def _run(self) -> None:
        exchange, tasks = self._exchange, self._server_state.tasks
        if exchange is not None and not self._gone:
            task = self._loop.create_task(exchange.run(self._app))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    def _go_on(self) -> None:
        """Start the next request after the last answer was sent."""
        if self._waiting:
            self._start(self._waiting.popleft())
        elif self._deaf:
            self._leave()
        else:
            if self._reading == NOTHING:
                self.connections.idles(self)
            else:
                ticks = self.connections.head_ticks if self._reading == HEAD else self.connections.body_ticks
                self.connections.waits(self, ticks)
            self._resume_reading()

    def _done(self) -> bool:
        """Return whether the connection reads nothing more."""
        return self._leaving or self._deaf

    # --- Ending -------------------------------------------------------------------------------------------------------

    def _refuse(self, reason: Reason, answer: bytes) -> None:
        """Count a refusal and send it, unless an earlier request still waits for its answer."""
        self.connections.refused(reason)
        self._drop(answer)

    def _drop(self, answer: bytes, *, linger: bool = True) -> None:
        """Stop reading. A request that the application already has is still answered."""
        self._body = b""
        self._headers = []
        self.connections.frees(self, self._charged)
        self._charged = self._reserved = 0
        if self._exchange is not None:
            self._deaf = True
            return
        self._leave(answer, linger=linger)

    def _leave(self, answer: bytes = b"", *, linger: bool = False) -> None:
        """Close. With `linger` only our side is closed: a caller that still sends could lose the answer to a reset."""
        self._leaving = True
        self.connections.leaves(self, unread=self._clogged is not None)
        if answer:
            self._transport.write(answer)
        if linger:
            self._transport.write_eof()
            self._resume_reading()
        else:
            self._transport.close()

    def _throw_away(self, size: int) -> None:
        self._thrown_away += size
        if self._thrown_away > self._limits.leave_bytes:
            self.abort()

    def _pause_reading(self) -> None:
        if not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._paused:
            self._paused = False
            self._transport.resume_reading()


def protocol_for(connections: Connections) -> type[HttpConnection]:
    """Return the protocol class of a server with these connections."""

    class Bound(HttpConnection):
        pass

    Bound.connections = connections
    return Bound


def _address(found: object) -> tuple[str, int] | None:
    """Return host and port. A Unix socket has neither."""
    match found:
        case (str() as host, int() as port, *_):
            return host, port
        case _:
            return None
