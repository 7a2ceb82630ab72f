"""A reserved port for a server that must know its port before it starts.

A free port that is found, closed and bound later may be taken by then. A reserved port is held by a socket that
never listens: a server that says `SO_REUSEADDR`, as nearly all do, may bind the port beside it, again and again, while
the system gives it to no one who asks for any port, and refuses connections to it as long as no server is there.
"""

import socket
import sys
from types import TracebackType
from typing import Final, Self

LOOPBACK: Final = "127.0.0.1"


class ReservedPort:
    """A port of loopback that is kept until `close`."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind((LOOPBACK, 0))
        self.number: int = self._socket.getsockname()[1]
        if sys.platform != "linux":  # Elsewhere the same flag lets no second socket bind the very same address.
            self._socket.close()

    def close(self) -> None:
        """Give the port back to the system."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()
