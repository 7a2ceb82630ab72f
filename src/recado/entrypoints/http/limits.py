"""What a caller may cost before the application knows who it is. All limits of the HTTP server stand here.

Twilio opens a connection within 5 seconds, reads for 15 and sends a few kilobytes at once; a proxy keeps connections
and sends whole requests. The limits leave both a wide margin and are no settings: where one is met, a larger number
is no help.
"""

from dataclasses import dataclass
from typing import Final

from recado.channels.twilio.webhook.routes import MAX_BODY

MAX_CONNECTIONS: Final = 4096
TICK_SECONDS: Final = 0.5
"""How often deadlines are looked at, and so how exact they are."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes, counts and seconds; each for one connection unless it says otherwise."""

    head_bytes: int = 16 * 1024
    """Bytes of a request line and its headers. Twilio sends one kilobyte, and the path and query are in it."""

    head_lines: int = 100
    """Headers of a request. Twilio sends fifteen, a chain of proxies adds a dozen."""

    body_bytes: int = MAX_BODY
    """Bytes of a body, on every path; with chunks, twice as much with everything around them."""

    held_bytes: int = 32 * 1024 * 1024
    """Bytes of requests that are not answered yet, of all connections. It is 128 of the largest bodies at once, or
    15,000 webhooks; above it the connection that holds most goes."""

    connections: int = MAX_CONNECTIONS
    """Open connections of the process. A silent one costs three kilobytes; a proxy keeps some dozens. Fewer if the
    system allows the process fewer files: see `connections_for`."""

    head_seconds: float = 5.0
    """From a connection's start, or a later request's first byte, to the end of its head. Twilio sends it at once."""

    body_seconds: float = 10.0
    """From the end of a head to the end of its body. With the head it is the 15 seconds after which Twilio has left."""

    idle_seconds: float = 5.0
    """How long a connection is kept after an answer if nothing signed or with a key ever came over it."""

    trusted_idle_seconds: float = 75.0
    """How long it is kept otherwise. Longer than the 60 seconds of nginx and of load balancers, so that they close it
    and never send into one that is just being closed."""

    unread_seconds: float = 15.0
    """How long an answer may lie unread. Twilio reads for 15 seconds."""

    leave_seconds: float = 2.0
    """From a refusal to the end of the connection, so that a caller who still sends can read it."""

    leave_bytes: int = 512 * 1024
    """Bytes thrown away meanwhile."""

    pipelined: int = 8
    """Whole requests that may wait for the answer of the one before them. Neither Twilio nor a proxy sends any so."""


RESERVED_FILES: Final = 256
"""Open files for everything but callers: the database, logs, a worker's pipes, calls of ours."""


def connections_for(open_files: int, backlog: int) -> int:
    """How many connections a process may hold that may open so many files.

    The system hands over what it kept all at once, before any can be closed: so a whole backlog is left free. With no
    file left, new connections would be dropped, of whichever caller.
    """
    return min(MAX_CONNECTIONS, max(open_files - backlog - RESERVED_FILES, open_files // 4))
