"""What every bench shares: rounds, medians, tables, processes that end with the bench, and a product to measure.

A figure alone says more about the machine than about the code, so every bench runs its contestants in turn, round after
round, and shows the median of each with the ratio of the two. Everything lives in a temporary directory and on
loopback, and is gone when the bench ends, however it ends.
"""

import argparse
import asyncio
import base64
import contextlib
import http.client
import math
import os
import re
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import urlsplit

from rich.console import Console
from rich.table import Table

from recado.identity.principal import operator_of

if TYPE_CHECKING:
    from tests.support.servers.postgres import PostgresServer

    from recado.bootstrap import Container
    from recado.emulator.phone.client import EmulatorClient
    from recado.entrypoints.reserved_port import ReservedPort

BENCH = Path(__file__).parent
Condition = Callable[[], bool]
PYTHON = (sys.executable,)
RECADO = (*PYTHON, "-m", "recado")
SECRET_KEY = base64.urlsafe_b64encode(b"k" * 32).decode()
ACCOUNT_SID = "AC" + "1" * 32
AUTH_TOKEN = "t" * 32
NUMBER = "whatsapp:+14155238886"
MESSAGES_PATH = "/webhooks/twilio/messages"


# --- What is asked of a bench -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Options:
    """`rounds` is how often everything is measured; `quick` is for trying the bench itself, not for figures.

    `place` is where what takes long to make is kept, and `only` the database to measure, for benches that say so.
    """

    rounds: int
    quick: bool
    place: Path | None = None
    only: str | None = None


def options(doc: str | None, *, keeps: bool = False) -> Options:
    """Read the command line; a bench's docstring is its help."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    if keeps:
        parser.add_argument("--place", type=Path, help="a folder that keeps the filled databases for the next time")
        parser.add_argument("--only", choices=["sqlite", "postgres"], help="one of the databases")
    parser.add_argument("--rounds", type=int, default=5, help="how often each contestant is measured (default 5)")
    parser.add_argument("--quick", action="store_true", help="small loads and two rounds: does the bench still run?")
    given = parser.parse_args()
    rounds = min(given.rounds, 2) if given.quick else max(1, given.rounds)
    return Options(rounds, given.quick, *((given.place, given.only) if keeps else ()))


def give_up(sentence: str) -> NoReturn:
    """End the bench with one clear sentence."""
    raise SystemExit(sentence)


# --- Figures ----------------------------------------------------------------------------------------------------------


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def percentile(values: Sequence[float], percent: float) -> float:
    """The value that `percent` of all are not above (nearest rank: with few samples it never flatters)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the result: what was measured, the median, how far the rounds were apart, and the target."""

    what: str
    values: Sequence[float]
    unit: str
    target: str = ""
    met: bool | None = None
    digits: int = 0
    note: str = ""

    @property
    def median(self) -> float:
        return median(self.values)

    def shown(self, value: float) -> str:
        return f"{value:,.{self.digits}f} {self.unit}".strip()


def at_least(what: str, values: Sequence[float], least: float, unit: str = "x", digits: int = 2) -> Figure:
    """A figure that should not be below `least`."""
    met = median(values) >= least
    return Figure(what, values, unit, f"≥ {least:g} {unit}", met, digits)


def at_most(what: str, values: Sequence[float], most: float, unit: str, digits: int = 0) -> Figure:
    """A figure that should not be above `most`."""
    return Figure(what, values, unit, f"≤ {most:g} {unit}", median(values) <= most, digits)


def show(title: str, figures: Sequence[Figure], *, remarks: Sequence[str] = ()) -> None:
    """Print the table, then say in words what missed its target."""
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    table = Table(title=title, title_justify="left", title_style="bold")
    for column, justify in (("", "left"), ("median", "right"), ("lowest – highest", "right"), ("target", "left")):
        table.add_column(column, justify="right" if justify == "right" else "left")
    table.add_column("")
    for figure in figures:
        spread = f"{figure.shown(min(figure.values))} – {figure.shown(max(figure.values))}"
        verdict = {True: "met", False: "MISSED", None: ""}[figure.met]
        table.add_row(figure.what, figure.shown(figure.median), spread, figure.target, verdict or figure.note)
    console.print(table)
    for remark in remarks:
        console.print(f"  {remark}", markup=False)
    for figure in figures:
        if figure.met is False:
            console.print(f"  Target missed: {figure.what} is {figure.shown(figure.median)}, not {figure.target}.")
    console.print()


def progress(text: str) -> None:
    """Print a progress line to standard error; the table goes to standard output."""
    print(f"  {text}", file=sys.stderr, flush=True)


# --- Processes, ports and files that end with the bench ---------------------------------------------------------------


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


# --- The product as it is installed -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Agent:
    """What answers; the fields are those of `recado agents set`."""

    name: str = "echo"
    model: str | None = None
    base_url: str | None = None
    url: str | None = None


@contextlib.contextmanager
def postgres(place: Path | None = None) -> "Iterator[PostgresServer]":
    """A PostgreSQL of the bench's own that waits for the disk, from the wheel that the tests use.

    In a place of its own it is kept, and found again.
    """
    sys.path.insert(0, str(BENCH.parent))
    from tests.support.servers.postgres import postgres as started

    with started(durable=True, place=place) as server:
        yield server


def environment(database: Path | str, public_url: str, **settings: object) -> dict[str, str]:
    """The variables of one installation; nothing of the caller's own installation leaks in."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RECADO_")}
    ours = {
        "DATABASE_URL": database if isinstance(database, str) else f"sqlite:///{database}",
        "PUBLIC_URL": public_url,
        "SECRET_KEY": SECRET_KEY,
        "LOG_LEVEL": "warning",
        **{name.upper(): str(value) for name, value in settings.items()},
    }
    return inherited | {f"RECADO_{name}": value for name, value in ours.items()}


def install(env: Mapping[str, str], agent: Agent | None = None) -> None:
    """Make the database: one organisation with one number and one agent."""
    from recado.bootstrap import Container, metadata
    from recado.core.clock import SystemClock
    from recado.core.telemetry import configure_logging
    from recado.migrations.startup import migrate
    from recado.settings import load_settings

    configure_logging("warning", sys.stderr, SystemClock())  # Standard output is for the table.
    settings = load_settings(env, purpose="serve")
    migrate(settings.database_url, metadata)
    asyncio.run(_furnish(Container(settings=settings), agent or Agent()))


async def _furnish(container: "Container", agent: Agent) -> None:
    from recado.agents.models import AgentForm
    from recado.channels.twilio.accounts import NewNumber
    from recado.channels.twilio.values import AccountSid
    from recado.conversation.values import Address
    from recado.identity.owners import Registration

    registered = await container.owners().register_organization(
        Registration("Padaria Aurora", "ana@example.com", "uma senha boa 123")
    )
    number = NewNumber(AccountSid(ACCOUNT_SID), AUTH_TOKEN, Address(NUMBER))
    await container.numbers().add(operator_of(registered.owner_id, "bench"), number)
    form = AgentForm(
        agent.name,
        model=agent.model,
        base_url=agent.base_url,
        url=agent.url,
        allow_private=agent.base_url is not None or agent.url is not None or None,
    )
    await container.agent_service().set(operator_of(registered.owner_id, "bench"), form)
    await container.database().close()


def copied(template: Path, target: Path) -> Path:
    """A fresh database for a round; the template was closed, so one file is all there is of it."""
    assert not Path(f"{template}-wal").exists(), "the template is still open"
    for suffix in ("", "-wal", "-shm", ".lock"):
        Path(f"{target}{suffix}").unlink(missing_ok=True)
    return Path(shutil.copy(template, target))


class Serving:
    """A server in a process of its own, entered when it is ready and stopped when it is left."""

    def __init__(self, bench: Workbench, command: Sequence[str], env: Mapping[str, str], port: int) -> None:
        self._bench, self._command, self._env, self._port = bench, command, env, port

    def __enter__(self) -> "subprocess.Popen[bytes]":
        self._process = process = self._bench.start(self._command, self._env)
        ready = f"http://127.0.0.1:{self._port}/readyz"
        if not wait_until(lambda: process.poll() is not None or answers(ready), 30) or process.poll() is not None:
            self._bench.complain(process)
        return process

    def __exit__(self, *_error: object) -> None:
        self._bench.stop(self._process)


def serving(bench: Workbench, env: Mapping[str, str], port: int) -> Serving:
    """`recado serve`."""
    return Serving(bench, [*RECADO, "serve", "--port", str(port)], env, port)


@contextlib.contextmanager
def working(bench: Workbench, env: Mapping[str, str]) -> Iterator["subprocess.Popen[bytes]"]:
    """`recado worker`."""
    process = bench.start([*RECADO, "worker"], env)
    try:
        yield process
    finally:
        bench.stop(process, patience=25.0)


def is_idle(database: Path) -> bool:
    """Whether a worker has made its first pass (it stores the cron slots) and nothing is left to do."""
    with contextlib.closing(sqlite3.connect(database, timeout=30)) as connection:
        [slots] = connection.execute("SELECT count(*) FROM cron_slots").fetchone()
        [left] = connection.execute("SELECT count(*) FROM message_queue WHERE status <> 'done'").fetchone()
        return bool(slots) and not left


@dataclass(frozen=True, slots=True)
class Emulator:
    """A Twilio of our own in a process of its own, and a tester's end of it."""

    url: str
    client: "EmulatorClient"


@contextlib.contextmanager
def emulating(bench: Workbench) -> Iterator[Emulator]:
    """`recado emulator` with the bench's account and number."""
    from recado.emulator.phone.client import EmulatorClient

    port = reserved_port()
    command = [*RECADO, "emulator", "--port", str(port), "--account-sid", ACCOUNT_SID, "--number", NUMBER]
    command += ["--auth-token-env", "BENCH_AUTH_TOKEN"]
    process = bench.start(command, os.environ | {"BENCH_AUTH_TOKEN": AUTH_TOKEN})
    url = f"http://127.0.0.1:{port}"
    try:
        if not wait_until(lambda: process.poll() is not None or answers(f"{url}/_emulator/messages"), 30):
            bench.complain(process)
        yield Emulator(url, EmulatorClient(url))
    finally:
        bench.stop(process)


# --- Clients ----------------------------------------------------------------------------------------------------------


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
