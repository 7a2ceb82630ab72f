"""HTTP/1.1 on one connection, with limits that apply before the application sees a request.

uvicorn's server accepts connections, starts and stops; this class replaces its protocol. The parser is the same
(httptools). The differences: heads, bodies, time and memory are limited, the application gets complete requests, an
answer is one write, and refusals are counted instead of logged one by one.
"""

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

from starlette.types import ASGIApp

from recado.entrypoints.http.connections import Connections, Reason
from recado.entrypoints.http.exchange import Exchange
from recado.entrypoints.http.refusals import OVERLOADED, TOO_SLOW
from recado.entrypoints.http.request_reader import BODY, HEAD, NOTHING, RequestReader, Stop

if TYPE_CHECKING:
    from uvicorn import Config
    from uvicorn.server import ServerState

_HEADER_COST: Final = 150
"""Bytes that Python needs for a header besides its characters."""


_URGENT: Final = "/webhooks/"
"""Requests to these paths start at once."""


class HttpConnection(RequestReader):
    """One connection. `protocol_for` returns the class that a server instantiates."""

    def __init__(
        self,
        config: "Config",
        server_state: "ServerState",
        app_state: dict[str, object],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(app_state)
        self._app: ASGIApp = config.loaded_app
        self._loop = _loop or asyncio.get_running_loop()
        self._server_state = server_state
        self._waiting: deque[Exchange] | None = None
        self._paused = False  # Reading is paused.
        self._clogged: asyncio.Event | None = None  # The caller does not read what was written.
        self._leaving = False
        self._gone = False
        self._thrown_away = 0

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
            self._refuse("slow", TOO_SLOW)
            return
        if not self._asked:
            self.connections.refused("silent")
        self._leave()

    def close_idle(self) -> None:
        self._drop(OVERLOADED, linger=False)

    def abort(self) -> None:
        if not self._gone:
            self._gone = True
            self.connections.left(self)
        self._transport.abort()

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

    def _accept(self, exchange: Exchange) -> None:
        """Start a complete request, or let it wait for the answer to an earlier one."""
        if self._exchange is None and self._clogged is None:
            self._start(exchange)
            return
        if self._waiting is None:
            self._waiting = deque()
        if len(self._waiting) >= self._limits.pipelined:
            self.connections.frees(self, exchange.size)
            self._refuse("pipelined", OVERLOADED)
            raise Stop
        self._waiting.append(exchange)

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
