"""Reserved ports belong to one server: before its start, between restarts and after them."""

import socket
from contextlib import ExitStack

import pytest

from recado.entrypoints.reserved_port import LOOPBACK, ReservedPort


def test_it_is_never_given_out_as_a_free_port() -> None:
    with ReservedPort() as port, ExitStack() as stack:
        others = [stack.enter_context(socket.create_server((LOOPBACK, 0))) for _ in range(500)]

        assert port.number not in {other.getsockname()[1] for other in others}


def test_a_server_may_bind_it_again_and_again() -> None:
    with ReservedPort() as port:
        for _ in range(2):
            with socket.create_server((LOOPBACK, port.number)), socket.create_connection((LOOPBACK, port.number)):
                pass


def test_only_one_server_at_a_time() -> None:
    with ReservedPort() as port, socket.create_server((LOOPBACK, port.number)), pytest.raises(OSError, match="in use"):
        socket.create_server((LOOPBACK, port.number))


def test_connections_are_refused_while_no_server_is_there() -> None:
    with ReservedPort() as port, pytest.raises(ConnectionRefusedError):
        socket.create_connection((LOOPBACK, port.number))
