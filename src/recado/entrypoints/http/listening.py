"""The listening socket. It is bound here and handed to the server.

A port that is checked first and bound later could be taken in between. Port 0 asks the system for a free port;
`url_of` says which one it is.
"""

import errno
import socket
from typing import Final

from recado.core.errors import ConfigurationError

BACKLOG: Final = 4096
"""Connections the kernel keeps until they are accepted (it takes its own limit if that is lower).

A connection beyond that is not refused: its first packet is dropped and sent again a second later, too late for a
webhook.
"""

RECEIVE_BYTES: Final = 64 * 1024
"""The receive buffer of the kernel for a connection. By default it grows to megabytes, and a thousand callers that send
as fast as they can would block one turn of the loop for a second."""

_EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - used only when a person asks for it
_ADVICE: Final = "choose others with --host and --port"


def bind(host: str, port: int) -> socket.socket:
    """Return a bound socket that does not listen yet. Raises `ConfigurationError` if it cannot be bound.

    Call `listen` when the server is ready. Until then callers are refused at once, and Twilio uses its fallback,
    instead of waiting for an answer.
    """
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise ConfigurationError(f"{host!r} is not a host that this machine knows; {_ADVICE}") from error
    family, kind, protocol, _, address = found[0]
    listener = socket.socket(family, kind, protocol)
    try:
        # Connections of a server that was just stopped would block the port for a minute.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)  # Accepted connections inherit it.
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise _refused(host, port, error) from error
    listener.setblocking(False)
    return listener


def listen(listener: socket.socket) -> None:
    """Start to listen. Raises `ConfigurationError` when another process started to listen there meanwhile."""
    host, port = listener.getsockname()[:2]
    try:
        listener.listen(BACKLOG)
    except OSError as error:
        raise _refused(host, port, error) from error


def url_of(listener: socket.socket) -> str:
    """Return the URL at which a client on this machine reaches the socket."""
    host, port = listener.getsockname()[:2]
    host = _EVERYWHERE.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _refused(host: str, port: int, error: OSError) -> ConfigurationError:
    reason = error.strerror or str(error)
    if error.errno == errno.EACCES and port < 1024:
        reason = "ports below 1024 are for root; use a higher port behind a proxy"
    return ConfigurationError(f"{host}, port {port}: {reason}; {_ADVICE}")
