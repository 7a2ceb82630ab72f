"""uvicorn's server with our protocol, limits and end."""

import resource
import socket
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Final

import uvicorn

from recado.core.metrics import Meters
from recado.entrypoints.http.connections import Connections
from recado.entrypoints.http.limits import Limits, connections_for
from recado.entrypoints.http.listening import BACKLOG
from recado.entrypoints.http.protocol import protocol_for
from recado.entrypoints.shutdown import call_after, exit_late

if TYPE_CHECKING:
    from starlette.types import ASGIApp

GRACE_SECONDS: Final = 10
"""The time that running requests get when the server is stopped."""

EXIT_SECONDS: Final = GRACE_SECONDS + 4.0
"""The process exits this long after it was stopped, even if an agent of a tick or the database blocks it."""

Hook = Callable[[], object]


class Server(uvicorn.Server):
    """Calls `ready` once it accepts requests, and `on_signal` at the first SIGTERM or SIGINT.

    `on_stop` is called in the event loop before it waits for the requests that run: those that last until they are
    ended must end then.
    """

    def __init__(self, config: uvicorn.Config, *, ready: Hook, on_signal: Hook, on_stop: Hook) -> None:
        super().__init__(config)
        self._ready = ready
        self._on_signal = on_signal
        self._on_stop = on_stop

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._on_stop()
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop the server. The process exits in time, whatever blocks its end."""
        if not self.should_exit:
            call_after(EXIT_SECONDS, lambda: exit_late(EXIT_SECONDS))
            self._on_signal()
        super().handle_exit(sig, frame)


def make_server(app: "ASGIApp", meters: Meters, *, ready: Hook, on_signal: Hook, on_stop: Hook) -> Server:
    """Return a server for an application. The limit of open files sets the number of connections."""
    limits = Limits(connections=connections_for(resource.getrlimit(resource.RLIMIT_NOFILE)[0], BACKLOG))
    config = uvicorn.Config(
        app,
        http=protocol_for(Connections(limits, meters, proves_identity)),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
        backlog=BACKLOG,
    )
    return Server(config, ready=ready, on_signal=on_signal, on_stop=on_stop)


def proves_identity(path: str, status: int) -> bool:
    """Return whether only a caller that signs, sends a key or is signed in gets this answer.

    The connection of such a caller is kept longer, and is among the last to be closed when there are too many.
    """
    asks_for_password = path == "/api/v1/passwords/reset"  # The answer is the same for everybody.
    return status < 400 and path.startswith(("/webhooks/", "/internal/", "/api/")) and not asks_for_password
