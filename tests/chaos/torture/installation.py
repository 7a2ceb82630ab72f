"""The installation that is tortured: owners and numbers, and what each process is started with.

The settings are the defaults of the product. The two workers' leases differ by `APART` seconds, for `leases` to tell
their claims apart. The emulator is started once and never killed, because it keeps its messages in memory: it only
stands still for a while (SIGSTOP), as a provider does.
"""

import asyncio
import base64
import os
from collections.abc import Mapping
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Final

from recado.agents.models import AgentForm
from recado.bootstrap import Container, metadata
from recado.channels.twilio.accounts import NewNumber
from recado.channels.twilio.values import AccountSid
from recado.conversation.values import Address
from recado.emulator.phone.client import EmulatorClient
from recado.identity.owners import OwnerChanges, Registration
from recado.identity.principal import operator_of
from recado.migrations.startup import migrate
from recado.settings import load_settings
from tests.chaos.torture.judging.ledger import Ledger, opened
from tests.chaos.torture.processes import Process
from tests.chaos.torture.servers import Servers
from tests.chaos.torture.telling import ENDPOINT, Program, furnish, write_secrets
from tests.support.servers.ports import reserved_port

APART: Final = 0.5
WORKERS: Final = ("worker-1", "worker-2")
BACKENDS: Final = {"sqlite": ("sqlite", "bullmq", "sqs"), "postgres": ("postgres", "bullmq", "sqs")}
"""The databases, and the queue backends that can be tortured on each."""


@dataclass(frozen=True, slots=True)
class Shop:
    """An owner with one number; `agent` answers there."""

    name: str
    number: str
    account_sid: str
    token: str
    agent: str
    prefers_delivery: bool = False


SHOPS: Final = (
    Shop("Padaria", "whatsapp:+5511900000001", "AC" + "1" * 32, "1" * 32, "echo"),
    Shop("Oficina", "whatsapp:+5511900000002", "AC" + "2" * 32, "2" * 32, "llm"),
    Shop("Entregas", "+5511400000003", "AC" + "3" * 32, "3" * 32, "echo", prefers_delivery=True),
)


@dataclass(frozen=True, slots=True)
class Installation:
    """Where everything is."""

    directory: Path
    seed: int
    lease: float
    backend: str
    database_url: str
    api_port: int
    twilio_port: int
    model_port: int
    endpoint_port: int
    broker: Mapping[str, str]
    tells: bool
    """Whether the shops have programs of their own that are told what happens."""
    programs: list[Program] = field(default_factory=list)

    @classmethod
    def at(
        cls, directory: Path, seed: int, lease: float, backend: str, servers: "Servers", *, tells: bool
    ) -> "Installation":
        """A SQLite file in the directory, unless there is a PostgreSQL."""
        url = f"sqlite:///{directory / 'recado.db'}"
        if servers.postgres is not None:
            url = servers.postgres.make(empty=True)
        api, twilio, model, endpoint = (reserved_port() for _ in range(4))
        return cls(directory, seed, lease, backend, url, api, twilio, model, endpoint, servers.broker_variables, tells)

    @property
    def twilio_journal(self) -> Path:
        return self.directory / "twilio.jsonl"

    @property
    def model_journal(self) -> Path:
        return self.directory / "model.jsonl"

    @property
    def load_journal(self) -> Path:
        return self.directory / "load.jsonl"

    @property
    def endpoint_journal(self) -> Path:
        return self.directory / "endpoint.jsonl"

    @property
    def secrets(self) -> Path:
        """What signs the events of each shop."""
        return self.directory / "secrets.json"

    @property
    def calm(self) -> Path:
        """While this file exists the model and the endpoint have no moods."""
        return self.directory / "calm"

    @property
    def emulator(self) -> EmulatorClient:
        return EmulatorClient(f"http://127.0.0.1:{self.twilio_port}")

    def ledger(self) -> AbstractContextManager[Ledger]:
        """The database, for the thread that asks."""
        return opened(self.database_url)

    def ledger_now(self) -> AbstractContextManager[Ledger]:
        """Like `ledger`, but raise at once while the database is gone: the caller has a server to revive meanwhile."""
        return opened(self.database_url, 0.0)

    def env(self, lease: float) -> dict[str, str]:
        """The environment of a process of ours; whatever RECADO_ variables a person has set stay outside."""
        ours = {
            "DATABASE_URL": self.database_url,
            "QUEUE_BACKEND": self.backend,
            "PUBLIC_URL": f"http://127.0.0.1:{self.api_port}",
            "SECRET_KEY": base64.urlsafe_b64encode(bytes(range(32))).decode(),
            "TWILIO_API_URL": f"http://127.0.0.1:{self.twilio_port}",
            "LEASE_SECONDS": f"{lease:g}",
            "LOG_LEVEL": "warning",
            "TESTING": "1",
        }
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("RECADO_")}
        return inherited | {f"RECADO_{name}": value for name, value in ours.items()} | dict(self.broker)

    # --- Processes ----------------------------------------------------------------------------------------------------

    def provider(self) -> list[Process]:
        """Twilio, the model, and the shops' own server: what is not ours."""
        emulator = ["recado", "emulator", "--port", str(self.twilio_port), "--seed", str(self.seed)]
        emulator += ["--journal", str(self.twilio_journal)]
        model = ["tests.chaos.torture.outside.model", str(self.model_port), str(self.model_journal), str(self.seed)]
        processes = [self._process("emulator", emulator), self._process("model", [*model, str(self.calm)])]
        if self.tells:
            words = [self.endpoint_port, self.endpoint_journal, self.secrets, self.seed, self.calm]
            endpoint = ["tests.chaos.torture.outside.endpoint", *map(str, words)]
            processes.append(self._process(ENDPOINT, endpoint))
        return processes

    def product(self) -> list[Process]:
        """The API and the workers."""
        api = self._process("api", ["recado", "serve", "--port", str(self.api_port)])
        leases = [self.lease + number * APART for number in range(len(WORKERS))]
        return [
            api,
            *(self._process(name, ["recado", "worker"], lease) for name, lease in zip(WORKERS, leases, strict=True)),
        ]

    def _process(self, name: str, command: list[str], lease: float | None = None) -> Process:
        return Process(name, command, self.env(lease or self.lease), self.directory / f"{name}.log")

    # --- Owners -------------------------------------------------------------------------------------------------------

    def create_owners(self) -> None:
        """Make the database, and in it the owners with their numbers and agents."""
        settings = load_settings(self.env(self.lease), purpose="cli")
        migrate(settings.database_url, metadata)
        asyncio.run(self._furnish(Container(settings=settings)))

    async def _furnish(self, container: Container) -> None:
        try:
            for shop in SHOPS:
                form = Registration(shop.name, f"{shop.name}@recado.example", "pão quente às seis")
                owner_id = (await container.owners().register_organization(form)).owner_id
                if shop.prefers_delivery:
                    await container.owners().set_owner(
                        operator_of(owner_id, "torture"), OwnerChanges(send_policy="prefer_delivery")
                    )
                number = NewNumber(AccountSid(shop.account_sid), shop.token, Address(shop.number))
                await container.numbers().add(operator_of(owner_id, "test"), number)
                await container.agent_service().set(operator_of(owner_id, "test"), self._agent_of(shop))
                if self.tells:
                    url = f"http://127.0.0.1:{self.endpoint_port}/{shop.name}"
                    self.programs.append(await furnish(container, owner_id, shop.name, url))
            write_secrets(self.secrets, self.programs)
        finally:
            await container.database().close()

    def _agent_of(self, shop: Shop) -> AgentForm:
        if shop.agent != "llm":
            return AgentForm(agent=shop.agent)
        return AgentForm(agent="llm", model="scripted", base_url=f"http://127.0.0.1:{self.model_port}/v1", api_key="k")

    def register_numbers(self) -> None:
        """Tell the emulator of the accounts and numbers, and what a provider does that has a bad day."""
        twilio = self.emulator
        hook = f"http://127.0.0.1:{self.api_port}/webhooks/twilio/messages"
        for shop in SHOPS:
            twilio.configure_account(shop.account_sid, shop.token)
            twilio.configure_number(shop.number, hook, fallback_url=f"{hook}?fallback=1", account_sid=shop.account_sid)
        twilio.set_policies(
            callback_drop=0.1, callback_duplicate=0.1, callback_reorder=0.1, callback_early=0.05, list_lag=1.0
        )

    def serves(self) -> bool:
        """Whether the API can take webhooks."""
        try:
            with closing(HTTPConnection("127.0.0.1", self.api_port, timeout=0.5)) as connection:
                connection.request("GET", "/readyz")
                return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False

    def heal(self) -> None:
        """No more bad days: what is left is to be settled."""
        self.calm.touch()
        self.emulator.clear_faults()
        self.emulator.set_policies(
            callback_drop=0.0, callback_duplicate=0.0, callback_reorder=0.0, callback_early=0.0, list_lag=0.0
        )


def environment(variables: Mapping[str, str]) -> str:
    """Return the settings as lines for a shell, for people who examine a run that failed."""
    ours = {name: value for name, value in variables.items() if name.startswith("RECADO_")}
    return "".join(f"export {name}='{value}'\n" for name, value in sorted(ours.items()))
