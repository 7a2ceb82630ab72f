"""The product as it is installed."""

import asyncio
import base64
import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.processes import Workbench, answers, reserved_port, wait_until
from recado.identity.principal import operator_of

if TYPE_CHECKING:
    from tests.support.servers.postgres import PostgresServer

    from recado.bootstrap import Container
    from recado.emulator.phone.client import EmulatorClient


BENCH = Path(__file__).parents[1]
PYTHON = (sys.executable,)
RECADO = (*PYTHON, "-m", "recado")
SECRET_KEY = base64.urlsafe_b64encode(b"k" * 32).decode()
ACCOUNT_SID = "AC" + "1" * 32
AUTH_TOKEN = "t" * 32
NUMBER = "whatsapp:+14155238886"
MESSAGES_PATH = "/webhooks/twilio/messages"


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
