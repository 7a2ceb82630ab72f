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
from pathlib import Path
from typing import TextIO
from urllib.parse import urlsplit

import pytest

from recado.entrypoints.cli.processes.serve import banner
from recado.settings import Settings
from tests.entrypoints.cli.conftest import Recado

PATIENCE = 60.0


@pytest.fixture
def environment(environment: Mapping[str, str]) -> Mapping[str, str]:
    return {**environment, "RECADO_PUBLIC_URL": "https://bot.example"}


@contextmanager
def serving(
    environment: Mapping[str, str], log: TextIO | None = None
) -> Iterator[tuple["subprocess.Popen[str]", str, int]]:
    """Yield the process with its host and port. It must end with status 0 after SIGTERM."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RECADO_")}
    words = [sys.executable, "-m", "recado", "serve", "--port", "0", "--json"]
    with subprocess.Popen(
        words, env={**inherited, **environment}, stdout=subprocess.PIPE, stderr=log, text=True
    ) as process:
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


class TestTheBanner:
    def test_says_what_to_point_twilio_at_and_what_is_missing(self) -> None:
        settings = Settings(public_url="https://bot.example/recado")
        lines = list(banner(settings, "http://127.0.0.1:9", with_worker=False))
        assert lines[0] == "Recado listens at http://127.0.0.1:9; stop it with Ctrl-C."
        assert "  Webhook of each number at Twilio (POST): https://bot.example/recado/webhooks/twilio/messages" in lines
        assert "  Health: http://127.0.0.1:9/readyz" in lines
        assert "`recado worker`" in lines[-1]

    def test_does_not_ask_for_a_worker_that_runs(self) -> None:
        settings = Settings(public_url="https://bot.example")
        assert "worker" not in "".join(banner(settings, "http://127.0.0.1:9", with_worker=True))

    def test_says_that_twilio_cannot_reach_this_machine(self) -> None:
        settings = Settings(public_url="http://127.0.0.1:8000")
        assert "Twilio cannot reach" in "".join(banner(settings, "http://127.0.0.1:8000", with_worker=True))


def test_a_first_start_tells_no_step_of_other_libraries(environment: Mapping[str, str], tmp_path: Path) -> None:
    log = tmp_path / "log"
    fresh = {**environment, "RECADO_DATABASE_URL": f"sqlite:///{tmp_path / 'new.db'}"}
    with log.open("w") as lines, serving(fresh, lines):
        pass
    assert [json.loads(line)["logger"].partition(".")[0] for line in log.read_text().splitlines()] == ["recado"] * 2


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
