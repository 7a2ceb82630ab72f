"""Who reads why a server was not reached reads words, and no names of classes."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
import pytest

from recado.core.outbound.http_clients import HttpClients
from recado.core.outbound.reasons import reason_of
from tests.support.servers.ports import reserved_port


async def reason(url: str) -> str:
    clients = HttpClients()
    try:
        with pytest.raises(httpx2.HTTPError) as failure:
            await clients.client("anywhere").post(url, timeout=5)
    finally:
        await clients.close_loop_clients()
    return reason_of(failure.value)


@contextmanager
def answering(said: bytes) -> Iterator[int]:
    """A port that says this to each caller, and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(1_000)
                connection.sendall(said)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listening.getsockname()[1]
        thread.join()


async def test_nothing_listens() -> None:
    assert await reason(f"http://127.0.0.1:{reserved_port()}/") == "the connection was refused"


async def test_the_name_leads_nowhere() -> None:
    assert await reason("http://nowhere.invalid/") == "its name was not found"


async def test_it_does_not_speak_tls() -> None:
    with answering(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        assert await reason(f"https://127.0.0.1:{port}/") == "TLS failed"


async def test_it_hangs_up() -> None:
    with answering(b"") as port:
        assert await reason(f"http://127.0.0.1:{port}/") == "the connection broke"


def test_no_one_vouches_for_it() -> None:
    error = httpx2.ConnectError("certificate verify failed")
    error.__cause__ = ssl.SSLCertVerificationError("self-signed certificate")
    assert reason_of(error) == "its certificate is not valid"


def test_anything_else() -> None:
    assert reason_of(httpx2.UnsupportedProtocol("no")) == "no connection"
