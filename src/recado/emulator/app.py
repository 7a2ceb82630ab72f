"""Serve the emulator: as an ASGI application, in a running event loop, as a process, or in a thread of a test.

The server is uvicorn with one addition, because no ASGI application can reset a connection: the fault that accepts a
message and then resets the connection needs the socket.
"""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import AsyncIterator, Callable, Iterator

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from recado.emulator.phone.control import control_routes
from recado.emulator.rules.refusals import NOT_ALLOWED, NOT_FOUND, Refusal
from recado.emulator.service import Emulator
from recado.emulator.settings import EmulatorSettings
from recado.emulator.wire.rest import refuse, rest_routes

Ready = Callable[[str], None]
"""Called with the base URL when connections are accepted."""

_BACKLOG = 2048


def build_app(settings: EmulatorSettings) -> Starlette:
    """For another server or none; without `settings.base_url` it cannot know the host of its media links."""
    return _app_of(Emulator(settings))


async def serve(settings: EmulatorSettings, host: str = "127.0.0.1", port: int = 0, ready: Ready | None = None) -> None:
    """Serve until cancelled. Signals are left to the owner of the process."""
    with _listen(host, port) as listener:
        server = _server(settings, listener, host, ready)
        serving = asyncio.create_task(server.serve_quietly([listener]))
        try:
            await asyncio.shield(serving)
        except asyncio.CancelledError:
            server.should_exit = True
            await serving
            raise


def run(settings: EmulatorSettings, host: str = "127.0.0.1", port: int = 0, ready: Ready | None = None) -> None:
    """Serve until the process is stopped."""
    with _listen(host, port) as listener, contextlib.suppress(KeyboardInterrupt):
        _server(settings, listener, host, ready).run(sockets=[listener])


@contextlib.contextmanager
def running(settings: EmulatorSettings, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """An emulator in a thread of its own, for tests; the value is its base URL."""
    with _listen(host, port) as listener:
        started = threading.Event()
        server = _server(settings, listener, host, lambda _: started.set())
        thread = threading.Thread(target=server.run, args=([listener],), name="emulator", daemon=True)
        thread.start()
        started.wait(timeout=10)
        try:
            yield _base_url(listener, host)
        finally:
            server.should_exit = True
            thread.join(timeout=10)


def _app_of(emulator: Emulator) -> Starlette:
    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        emulator.start()
        try:
            yield
        finally:
            await emulator.stop()

    return Starlette(
        routes=[*rest_routes(emulator), *control_routes(emulator)],
        lifespan=lifespan,
        exception_handlers={HTTPException: _not_ours},
    )


async def _not_ours(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return refuse({404: NOT_FOUND, 405: NOT_ALLOWED}.get(status) or Refusal(20500, status))


class _Protocol(HttpToolsProtocol):
    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["recado.reset"] = self._reset  # type: ignore[typeddict-unknown-key]

    def _reset(self) -> None:
        # With a linger time of zero the system sends RST and not an orderly end.
        connection = self.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._tell = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._tell()

    async def serve_quietly(self, sockets: list[socket.socket]) -> None:
        """`serve` without taking over the signals of the process."""
        await self._serve(sockets)


def _server(settings: EmulatorSettings, listener: socket.socket, host: str, ready: Ready | None) -> _Server:
    emulator = Emulator(settings)
    base_url = _base_url(listener, host)
    emulator.store.base_url = settings.base_url or base_url
    config = uvicorn.Config(
        _app_of(emulator),
        http=_Protocol,
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="critical",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=_BACKLOG,
        timeout_graceful_shutdown=1,
    )
    return _Server(config, lambda: None if ready is None else ready(base_url))


@contextlib.contextmanager
def _listen(host: str, port: int) -> Iterator[socket.socket]:
    """Bound before the server starts, so that its URL is known even for port 0."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family, backlog=_BACKLOG) as listener:
        yield listener


def _base_url(listener: socket.socket, host: str) -> str:
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{shown}:{listener.getsockname()[1]}"
