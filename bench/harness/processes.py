"""Processes, ports and files that end with the bench, and clients."""

import asyncio
import contextlib
import http.client
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import urlsplit

from harness.figures import give_up

if TYPE_CHECKING:
    from recado.entrypoints.reserved_port import ReservedPort


Condition = Callable[[], bool]


@dataclass(slots=True)
class Workbench:
    """A temporary directory and the processes started in it."""

    home: Path
    _processes: list["subprocess.Popen[bytes]"] = field(default_factory=list)
    _logs: int = 0

    def start(self, command: Sequence[str], env: Mapping[str, str]) -> "subprocess.Popen[bytes]":
        """Start a process; what it writes goes to a log that is shown if it ends too early."""
        self._logs += 1
        with (self.home / f"log-{self._logs}.txt").open("wb") as log:
            process = subprocess.Popen(command, env=dict(env), stdout=log, stderr=log, cwd=self.home)
        self._processes.append(process)
        return process

    def stop(self, process: "subprocess.Popen[bytes]", patience: float = 15.0) -> None:
        """Ask a process to stop, then kill it. By its own id, never by name."""
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(patience)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process in self._processes:
            self._processes.remove(process)

    def stop_all(self) -> None:
        for process in reversed(list(self._processes)):
            self.stop(process)

    def complain(self, process: "subprocess.Popen[bytes]") -> NoReturn:
        """End the bench because a process did; show the end of its log."""
        logs = sorted(self.home.glob("log-*.txt"), key=lambda path: path.stat().st_mtime)
        tail = logs[-1].read_text(errors="replace")[-2000:] if logs else ""
        give_up(f"a process of the bench did not become ready (exit status {process.poll()}):\n{tail}")


@contextlib.contextmanager
def workbench() -> Iterator[Workbench]:
    """A place to work in, cleaned away at the end; SIGTERM counts as an end."""
    signal.signal(signal.SIGTERM, _interrupted)
    home = Path(tempfile.mkdtemp(prefix="recado-bench-"))
    bench = Workbench(home)
    try:
        yield bench
    finally:
        bench.stop_all()
        shutil.rmtree(home, ignore_errors=True)


def _interrupted(_number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit("stopped")


_RESERVED: list["ReservedPort"] = []


def reserved_port() -> int:
    """A port of loopback that stays the bench's until the bench ends."""
    from recado.entrypoints.reserved_port import ReservedPort

    _RESERVED.append(ReservedPort())
    return _RESERVED[-1].number


def wait_until(condition: Callable[[], bool], seconds: float, pause: float = 0.005) -> bool:
    """Whether `condition` came true within `seconds`."""
    give_up_at = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= give_up_at:
            return False
        time.sleep(pause)
    return True


def answers(url: str) -> bool:
    """Whether a GET of `url` is answered with 200 now."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=2)
    try:
        connection.request("GET", parts.path or "/")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def wall() -> float:
    """Seconds since the epoch: the clock that every process of this machine shares."""
    return time.time_ns() / 1e9


class Posting:
    """One connection that is kept open; posts are made one after the other."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def open(self) -> "Posting":
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def post(self, request: bytes) -> None:
        """Send a whole HTTP request; end the bench unless the answer is 200."""
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        await self._reader.readexactly(int(length[1]) if length else 0)
        status = head.partition(b"\r\n")[0].decode()
        if " 200 " not in status:
            give_up(f"a webhook was answered with {status}")

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()

    __aenter__ = open

    async def __aexit__(self, *_error: object) -> None:
        await self.close()
