"""All limits of the HTTP server: what a caller may cost before the application knows who it is.

Twilio opens a connection within 5 seconds, reads for 15 and sends a few kilobytes at once; a proxy keeps connections
and sends complete requests. The limits leave a wide margin for both. They are not settings: a caller that reaches one
is an attacker or broken, and a higher limit would not help.
"""

from dataclasses import dataclass
from typing import Final

from recado.channels.twilio.webhook.routes import MAX_BODY

MAX_CONNECTIONS: Final = 4096
TICK_SECONDS: Final = 0.5
"""The interval at which deadlines are checked, and so their precision."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes, counts and seconds, for one connection each unless noted otherwise."""

    head_bytes: int = 16 * 1024
    """Bytes of a request line and its headers. Twilio sends one kilobyte, including path and query."""

    head_lines: int = 100
    """Headers of a request. Twilio sends fifteen, a chain of proxies adds a dozen."""

    body_bytes: int = MAX_BODY
    """Bytes of a body, on every path. With chunked encoding, twice as much including the chunk headers."""

    held_bytes: int = 32 * 1024 * 1024
    """Bytes of unanswered requests of all connections. It is 128 of the largest bodies at once, or 15,000 webhooks;
    above it the connections that hold most are closed."""

    connections: int = MAX_CONNECTIONS
    """Open connections of the process. A silent one costs three kilobytes; a proxy keeps some dozens. There are fewer
    if the system allows the process fewer files: see `connections_for`."""

    head_seconds: float = 5.0
    """From the start of a connection, or the first byte of a later request, to the end of the head."""

    body_seconds: float = 10.0
    """From the end of a head to the end of its body. Together with the head that is Twilio's own limit, 15 seconds."""

    idle_seconds: float = 5.0
    """How long a connection is kept after an answer when no signed request, or one with a key, came over it."""

    trusted_idle_seconds: float = 75.0
    """How long it is kept otherwise. This is longer than the 60 seconds of nginx and of load balancers, so that they
    close it and never send into a connection that is being closed."""

    unread_seconds: float = 15.0
    """How long an answer may stay unread. Twilio reads for 15 seconds."""

    leave_seconds: float = 2.0
    """From a refusal to the end of the connection, so that a caller that still sends can read the answer."""

    leave_bytes: int = 512 * 1024
    """Bytes that are read and ignored in this time."""

    pipelined: int = 8
    """Complete requests that may wait for the answer to an earlier one. Twilio and proxies send none."""


RESERVED_FILES: Final = 256
"""Open files for everything except callers: the database, logs, pipes to worker processes, our own calls."""


def connections_for(open_files: int, backlog: int) -> int:
    """Return the number of connections for a process that may open so many files.

    The system may hand over the whole backlog at once, before any connection can be closed. So as many files are left
    free. Without a free file new connections of any caller would be dropped.
    """
    return min(MAX_CONNECTIONS, max(open_files - backlog - RESERVED_FILES, open_files // 4))
