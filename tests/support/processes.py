"""Real processes for the tests of the road: an emulator of Twilio, the API, workers, and the signals that kill them.

    with Road.open(tmp_path) as road:
        road.serve()
        worker = road.worker(crash_at="after_agent")
        road.emulator.send(ANA, road.shop.number, "oi")
        worker.dies()

Everything listens on loopback, every process is stopped by its own id, and nothing here sleeps: what is waited for is
an answer that Twilio holds back until there is news, the end of a process, or a condition looked at again and again.
"""

import asyncio
import base64
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from importlib.metadata import distributions
from pathlib import Path
from typing import TypeVar
from uuid import UUID

from recado.agents.models import AgentForm
from recado.agents.registry import GROUP, AgentRegistry
from recado.bootstrap import Container, metadata
from recado.channels.twilio.accounts import NewNumber
from recado.channels.twilio.values import AccountSid
from recado.conversation.values import Address
from recado.core.database.sqlite.driver import sqlite_module
from recado.emulator.app import running
from recado.emulator.phone.client import EmulatorClient, SeenMessage
from recado.emulator.settings import EmulatorSettings, Number, Policies
from recado.identity.owners import Registration
from recado.identity.principal import operator_of
from recado.migrations.runner import migrate_sqlite
from recado.operations.verify import VerificationReport
from recado.settings import load_settings
from tests.support.patience import PATIENCE
from tests.support.servers.ports import reserved_port

T = TypeVar("T")

UNRULY = {"broken": "BrokenAgent", "deadly": "DeadlyAgent", "hanging": "HangingAgent"}
"""The agents of `unruly.py` by the names they are installed under."""

SECRET_KEY = base64.urlsafe_b64encode(bytes(range(32))).decode()


@dataclass(frozen=True, slots=True)
class Shop:
    """An owner on the road: its number, the account behind it and who answers there."""

    name: str
    number: str
    account_sid: str
    token: str
    agent: str = "echo"


BAKERY = Shop("Padaria", "whatsapp:+5511900000001", "AC" + "1" * 32, "1" * 32)
FLORIST = Shop("Floricultura", "whatsapp:+5511900000002", "AC" + "2" * 32, "2" * 32)


def customer(number: int) -> str:
    """One of many people who may write."""
    return f"whatsapp:+55119{80_000_000 + number}"


def until(condition: Callable[[], T], seconds: float = PATIENCE, *, said: Callable[[], str] = str) -> T:
    """Return what `condition` returns as soon as that is true; it is called fifty times a second."""
    give_up, never = time.monotonic() + seconds, threading.Event()
    while not (found := condition()):
        assert time.monotonic() < give_up, f"waited {seconds:g} s in vain; {said()}"
        never.wait(0.02)
    return found


class Running:
    """A process of ours. Its standard error is kept for people who have to explain a failure."""

    def __init__(self, name: str, command: Sequence[str], env: Mapping[str, str], log: Path) -> None:
        self.name = name
        self._log = log
        with log.open("ab") as stream:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "recado", *command], env=env, stderr=stream, stdin=subprocess.DEVNULL
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def lives(self) -> bool:
        return self._process.poll() is None

    @property
    def said(self) -> str:
        """The last lines of its log."""
        return f"{self.name} said: …{self._log.read_text(errors='replace')[-3000:]}"

    def dies(self) -> None:
        """Wait until it has killed itself as `kill -9` would."""
        assert self._process.wait(PATIENCE) == -signal.SIGKILL, self.said

    def ends(self) -> int:
        """Wait until it ends by itself; its exit status."""
        return self._process.wait(PATIENCE)

    def kill(self) -> None:
        """`kill -9`: it can tidy nothing up."""
        self._process.kill()
        self._process.wait(PATIENCE)

    def tell(self) -> None:
        """Ask it to stop."""
        self._process.terminate()

    def stop(self) -> int:
        """Ask it to stop, and wait; its exit status."""
        if self.lives:
            self._process.terminate()
        return self._process.wait(PATIENCE)


@dataclass(slots=True)
class Road:
    """One installation: a database, an emulator that calls it, and the processes that were started for it."""

    directory: Path
    emulator_url: str
    port: int
    env: dict[str, str]
    processes: list[Running] = field(default_factory=list)
    owners: dict[str, UUID] = field(default_factory=dict)

    @classmethod
    @contextmanager
    def open(
        cls, directory: Path, *shops: Shop, policies: Policies | None = None, **settings: object
    ) -> Iterator["Road"]:
        """The installation with its owners, and no process yet; at the end whatever still runs is stopped."""
        shops = shops or (BAKERY,)
        port = reserved_port()
        hook = f"http://127.0.0.1:{port}/webhooks/twilio/messages"
        twilio = EmulatorSettings(
            accounts={shop.account_sid: shop.token for shop in shops},
            numbers=tuple(Number(shop.number, shop.account_sid, hook) for shop in shops),
            policies=policies or Policies(callback_delay=0.002),
        )
        with running(twilio) as url:
            install(directory)
            road = cls(directory, url, port, _environment(directory, port, url, settings))
            asyncio.run(road._furnish(shops))
            try:
                yield road
            finally:
                for process in road.processes:
                    process.stop()

    # --- Processes ----------------------------------------------------------------------------------------------------

    def serve(self, crash_at: str | None = None, *options: str) -> Running:
        """The API, ready to be called."""
        api = self._start("api", ["serve", "--port", str(self.port), *options], crash_at)
        until(lambda: not api.lives or self._is_ready(), said=lambda: api.said)
        assert api.lives, api.said
        return api

    def worker(self, crash_at: str | None = None, *options: str, drain: bool = False) -> Running:
        return self._start("worker", ["worker", *(["--drain"] if drain else []), *options], crash_at)

    def _start(self, name: str, command: Sequence[str], crash_at: str | None) -> Running:
        env = self.env if crash_at is None else {**self.env, "RECADO_CRASH_AT": crash_at}
        name = f"{name}-{len(self.processes)}"
        process = Running(name, command, env, self.directory / f"{name}.log")
        self.processes.append(process)
        return process

    def _is_ready(self) -> bool:
        return answers_at(self.port)

    @property
    def api(self) -> Running:
        """The server that was started last."""
        return [process for process in self.processes if process.name.startswith("api")][-1]

    @property
    def said(self) -> str:
        """What every process said last."""
        return "\n".join(process.said for process in self.processes)

    # --- Customers ----------------------------------------------------------------------------------------------------

    @property
    def emulator(self) -> EmulatorClient:
        return EmulatorClient(self.emulator_url)

    def answers_to(self, sender: str, *, count: int = 1) -> list[str]:
        """What a customer has got, as soon as that is `count` messages; the order of receipt."""
        heard: list[SeenMessage] = []
        twilio = self.emulator
        give_up = time.monotonic() + PATIENCE
        while len(heard) < count and time.monotonic() < give_up:
            after = heard[-1].seq if heard else 0
            heard += twilio.messages(after, wait=give_up - time.monotonic(), to=sender, direction="outbound-api")
        assert len(heard) >= count, f"{sender} got {[each.body for each in heard]}; {self.said}"
        return [each.body for each in heard]

    def answers(self) -> list[SeenMessage]:
        """Every message that was ever sent to a customer."""
        found: list[SeenMessage] = []
        while page := self.emulator.messages(found[-1].seq if found else 0, direction="outbound-api"):
            found += page
        return found

    # --- The database -------------------------------------------------------------------------------------------------

    def ask(self, question: Callable[[Container], Awaitable[T]]) -> T:
        """Use the product's services from here, as a command line would: a container of its own for one question."""

        async def asked() -> T:
            container = self.container()
            try:
                return await question(container)
            finally:
                await container.database().close()

        return asyncio.run(asked())

    def command(self, *words: str) -> str:
        """Type a command as an operator would; what it prints. It must succeed."""
        typed = [sys.executable, "-m", "recado", *words]
        ran = subprocess.run(typed, env=self.env, capture_output=True, text=True, check=False, timeout=PATIENCE)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    def container(self) -> Container:
        return Container(settings=load_settings(self.env, purpose="serve"))

    def rows(self, sql: str, *values: object) -> list[tuple[object, ...]]:
        """What is stored, for a look behind the scenes."""
        with closing(sqlite_module().connect(self.directory / "recado.db", timeout=PATIENCE)) as connection:
            found: list[tuple[object, ...]] = connection.execute(sql, values).fetchall()
            return found

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Another process writes meanwhile, and does not come to an end."""
        with closing(sqlite_module().connect(self.directory / "recado.db", timeout=PATIENCE)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield
            connection.rollback()

    def rows_of(self, sid: str) -> int:
        """How many messages bear a SID of Twilio's."""
        [(count,)] = self.rows(
            "SELECT count(*) FROM messages WHERE provider_message_id = ?", b"SM" + bytes.fromhex(sid[2:])
        )
        assert isinstance(count, int)
        return count

    def quiet(self, accepted: int, seconds: float = PATIENCE) -> None:
        """Wait until so many messages were accepted, every one has its outcome, and no job is left."""
        state = """SELECT count(*), count(outcome), (SELECT count(*) FROM message_queue
            WHERE status IN ('collecting', 'waiting', 'running')) FROM messages"""
        done = [(accepted, accepted, 0)]
        until(lambda: self.rows(state) == done, seconds, said=lambda: f"{self._open()}; {self.said}")

    def accepted(self) -> int:
        """How many messages are stored."""
        [(count,)] = self.rows("SELECT count(*) FROM messages")
        assert isinstance(count, int)
        return count

    def _open(self) -> str:
        jobs = self.rows("SELECT name, status, attempts, crashes, last_error FROM message_queue WHERE status<>'done'")
        return f"jobs: {jobs}, outcomes: {self.rows('SELECT outcome, count(*) FROM messages GROUP BY 1')}"

    def verified(self) -> VerificationReport:
        """What `verify` says, which must be that nothing is wrong."""
        report = self.ask(lambda container: container.verifier().verify())
        assert list(report.violations) == [], self.said
        return report

    async def _furnish(self, shops: Sequence[Shop]) -> None:
        migrate_sqlite(self.env["RECADO_DATABASE_URL"], metadata)
        container = self.container()
        with container.registry.override(self._registry()):
            for shop in shops:
                form = Registration(shop.name, f"{shop.number[-4:]}@recado.example", "pão quente às seis")
                owner_id = (await container.owners().register_organization(form)).owner_id
                number = NewNumber(AccountSid(shop.account_sid), shop.token, Address(shop.number))
                await container.numbers().add(operator_of(owner_id, "test"), number)
                await container.agent_service().set(operator_of(owner_id, "test"), AgentForm(agent=shop.agent))
                self.owners[shop.name] = owner_id
        await container.database().close()

    def _registry(self) -> AgentRegistry:
        """What a worker finds: our agents, and those of the distribution that lies on its path."""
        unruly = distributions(path=[str(self.directory)])
        return AgentRegistry([*AgentRegistry.installed(), *(entry for each in unruly for entry in each.entry_points)])


def answers_at(port: int) -> bool:
    """Whether a server there says that it is ready."""
    try:
        with closing(HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
    except OSError:
        return False


def _environment(directory: Path, port: int, twilio_url: str, settings: Mapping[str, object]) -> dict[str, str]:
    ours = {
        "DATABASE_URL": f"sqlite:///{directory}/recado.db",
        "PUBLIC_URL": f"http://127.0.0.1:{port}",
        "SECRET_KEY": SECRET_KEY,
        "TWILIO_API_URL": twilio_url,
        "QUIET_SECONDS": 0,
        "LEASE_SECONDS": 1,
        "TESTING": 1,
    }
    ours |= {name.upper(): value for name, value in settings.items()}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RECADO_")}
    path = os.pathsep.join(filter(None, (str(directory), os.environ.get("PYTHONPATH"))))
    return inherited | {"PYTHONPATH": path} | {f"RECADO_{name}": str(value) for name, value in ours.items()}


def install(directory: Path) -> None:
    """Make `unruly.py` an installed distribution, so that its agents come in as anybody's would: by entry points."""
    shutil.copy(Path(__file__).with_name("unruly.py"), directory)
    info = directory / "unruly-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: unruly\nVersion: 1\n")
    entries = "".join(f"{name} = unruly:{factory}\n" for name, factory in UNRULY.items())
    (info / "entry_points.txt").write_text(f"[{GROUP}]\n{entries}")
