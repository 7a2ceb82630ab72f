"""The listening socket: bound by us and handed to the server, so that what was bound is what is served.

A port that is probed as free and bound later can be taken in between; one that is bound cannot. Port 0 asks the system
for one, and `url_of` tells which it gave.
"""

import errno
import socket
from typing import Final

from recado.core.errors import ConfigurationError

BACKLOG: Final = 4096
"""Connections the kernel keeps until they are accepted (it takes its own limit if that is lower).

One more than fit is not refused: its first packet is dropped and sent again a second later, which would be the whole
time that a webhook should take.
"""

RECEIVE_BYTES: Final = 64 * 1024
"""What the kernel takes of a connection before we read. Left to itself it takes megabytes, and a thousand callers who
send as fast as they can would be a second's work in one turn of the loop."""

_EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - listened at only if asked for
_ADVICE: Final = "choose others with --host and --port"


def bind(host: str, port: int) -> socket.socket:
    """A socket that is bound and not listening yet; raises `ConfigurationError` where it cannot be.

    `listen` follows when there is something to serve: until then a caller is refused, which Twilio takes as a reason to
    use its fallback, and is not left hanging.
    """
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise ConfigurationError(f"{host!r} is no host that this machine knows; {_ADVICE}") from error
    family, kind, protocol, _, address = found[0]
    listener = socket.socket(family, kind, protocol)
    try:
        # A server that was just stopped leaves connections behind that would block the port for a minute.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)  # Handed on to what it accepts.
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise _refused(host, port, error) from error
    listener.setblocking(False)
    return listener


def listen(listener: socket.socket) -> None:
    """Have the kernel take connections. Raises `ConfigurationError` when another began to listen there meanwhile."""
    host, port = listener.getsockname()[:2]
    try:
        listener.listen(BACKLOG)
    except OSError as error:
        raise _refused(host, port, error) from error


def url_of(listener: socket.socket) -> str:
    """Where a client on this machine reaches it."""
    host, port = listener.getsockname()[:2]
    host = _EVERYWHERE.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _refused(host: str, port: int, error: OSError) -> ConfigurationError:
    reason = error.strerror or str(error)
    if error.errno == errno.EACCES and port < 1024:
        reason = "ports below 1024 are for root; take a higher one and put a proxy in front"
    return ConfigurationError(f"{host}, port {port}: {reason}; {_ADVICE}")
