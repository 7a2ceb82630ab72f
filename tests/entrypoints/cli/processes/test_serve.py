"""`recado serve` as a process: its address, its output, and that unknown callers do not stop it."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest

from tests.entrypoints.cli.conftest import Recado

PATIENCE = 60.0


@pytest.fixture
def environment(environment: Mapping[str, str]) -> Mapping[str, str]:
    return {**environment, "RECADO_PUBLIC_URL": "https://bot.example"}


@contextmanager
def serving(environment: Mapping[str, str]) -> Iterator[tuple["subprocess.Popen[str]", str, int]]:
    """Yield the process with its host and port. It must end with status 0 after SIGTERM."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RECADO_")}
    words = [sys.executable, "-m", "recado", "serve", "--port", "0", "--json"]
    with subprocess.Popen(words, env={**inherited, **environment}, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            told = urlsplit(json.loads(process.stdout.readline())["url"])
            yield process, str(told.hostname), int(told.port or 0)
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()


def test_it_tells_the_port_that_the_system_gave_and_answers_there_whatever_strangers_do(
    environment: Mapping[str, str],
) -> None:
    with serving(environment) as (_, host, port), ExitStack() as stack:
        for _ in range(50):
            stack.enter_context(socket.create_connection((host, port), timeout=PATIENCE))
        endless = stack.enter_context(socket.create_connection((host, port), timeout=PATIENCE))
        endless.sendall(b"POST / HTTP/1.1\r\nX: " + b"a" * 17_000)
        assert endless.recv(100).startswith(b"HTTP/1.1 431 ")
        answers = {
            path: ask(host, port, method, path)
            for method, path in (("GET", "/readyz"), ("POST", "/webhooks/twilio/messages"))
        }
        assert answers == {"/readyz": 200, "/webhooks/twilio/messages": 403}


def ask(host: str, port: int, method: str, path: str) -> int:
    with closing(HTTPConnection(host, port, timeout=PATIENCE)) as connection:
        connection.request(method, path, body="AccountSid=AC1" if method == "POST" else None)
        return connection.getresponse().status


def test_a_port_that_is_taken_gets_one_sentence(environment: Mapping[str, str]) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        port = other.getsockname()[1]
        sentence = Recado(environment).refuses("serve", "--port", port, status=2)
    assert sentence == f"Error: 127.0.0.1, port {port}: Address already in use; choose others with --host and --port\n"


def test_an_invalid_port_gets_a_sentence_too(environment: Mapping[str, str]) -> None:
    assert "'--port'" in Recado(environment).refuses("serve", "--port", "70000", status=2)
