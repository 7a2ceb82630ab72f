"""The listening socket: the bound port is served, and a port that cannot be bound gets one sentence."""

import socket
from contextlib import closing

import pytest

from recado.core.errors import ConfigurationError
from recado.entrypoints.http.listening import bind, listen, url_of

EVERYWHERE = [("0.0.0.0", "127.0.0.1"), ("::", "[::1]"), ("::1", "[::1]")]  # noqa: S104 - what is tested


def test_port_0_takes_one_that_is_free_and_tells_it() -> None:
    with bind("127.0.0.1", 0) as listener:
        listen(listener)
        port = listener.getsockname()[1]
        assert (port > 0, url_of(listener)) == (True, f"http://127.0.0.1:{port}")


def test_a_caller_of_a_server_that_is_not_ready_to_listen_is_refused() -> None:
    with bind("127.0.0.1", 0) as listener, pytest.raises(ConnectionRefusedError):
        socket.create_connection(listener.getsockname()[:2], timeout=5)


@pytest.mark.parametrize(("host", "shown"), EVERYWHERE)
def test_the_url_is_one_that_can_be_called(host: str, shown: str) -> None:
    with bind(host, 0) as listener:
        listen(listener)
        port = listener.getsockname()[1]
        assert url_of(listener) == f"http://{shown}:{port}"
        socket.create_connection((shown.strip("[]"), port), timeout=5).close()


def refusal(host: str, port: int) -> str:
    with pytest.raises(ConfigurationError) as refused:
        bind(host, port).close()
    return str(refused.value)


def test_a_port_that_is_taken_gets_one_sentence() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        port = other.getsockname()[1]
        assert refusal("127.0.0.1", port) == (
            f"127.0.0.1, port {port}: Address already in use; choose others with --host and --port"
        )


def test_of_two_that_bound_before_either_listened_the_second_gets_an_error() -> None:
    with bind("127.0.0.1", 0) as first, bind("127.0.0.1", first.getsockname()[1]) as second:
        listen(first)
        with pytest.raises(ConfigurationError, match="Address already in use"):
            listen(second)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "x" * 70 + ".example", "a..b"])
def test_an_unknown_host_is_named(host: str) -> None:
    assert refusal(host, 0) == f"{host!r} is not a host that this machine knows; choose others with --host and --port"


def test_an_address_of_another_machine_is_no_place_to_listen_at() -> None:
    assert refusal("192.0.2.1", 0).startswith("192.0.2.1, port 0: Cannot assign requested address")
