"""Ports for servers of tests that are told theirs, and that are stopped and started again on it."""

from recado.entrypoints.reserved_port import ReservedPort

_RESERVED: list[ReservedPort] = []


def reserved_port() -> int:
    """A port of loopback that is this process's as long as it lives; connections are refused while no server is there.

    For a server that can be asked where it listens, port 0 is simpler.
    """
    port = ReservedPort()
    _RESERVED.append(port)
    return port.number
