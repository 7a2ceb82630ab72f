"""Start everything that a demo needs on free ports: the emulator of Twilio, the server, a worker and a bakery.

Server and worker are the real processes with the real settings. Only Twilio is emulated: it sends signed webhooks and
answers calls of the Messages API over HTTP.
"""

import asyncio
import base64
import os
import secrets
import shlex
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from uuid import UUID

from recado.core.errors import DomainError
from recado.emulator.app import running
from recado.emulator.phone.client import EmulatorClient
from recado.emulator.settings import EmulatorSettings, Number
from recado.entrypoints.reserved_port import ReservedPort
from recado.operations.verify import VerificationReport

NUMBER = "whatsapp:+14155238886"
READY_SECONDS = 60.0


class DemoFailed(DomainError):
    """A process of the demo did not start. The sentence ends with its last log line."""

    code = "demo.failed"


@dataclass(frozen=True, slots=True)
class Stage:
    """A running demo."""

    directory: Path
    variables: Mapping[str, str]
    owner_id: UUID
    business: str
    twilio: EmulatorClient
    account_sid: str
    processes: Mapping[str, "subprocess.Popen[bytes]"]

    @property
    def env_file(self) -> Path:
        """A file to source in another terminal: from then on `recado` commands there use this demo."""
        return self.directory / "env"

    def check(self) -> None:
        """Raise `DemoFailed` when a process has ended."""
        for name, process in self.processes.items():
            if process.poll() is not None:
                raise DemoFailed(
                    f"`recado {name}` ended with status {process.returncode}: {_last_log_line(self, name)}"
                )

    def verify(self) -> VerificationReport:
        """Return the report of `recado verify` for the demo's database."""
        return asyncio.run(_verify(self.variables))


@contextmanager
def staged(directory: Path, port: int | None = None) -> Iterator[Stage]:
    """Start everything with `directory` as its folder, and stop it at the end."""
    account_sid, token = f"AC{secrets.token_hex(16)}", secrets.token_hex(16)
    with ExitStack() as stack:
        port = port or stack.enter_context(ReservedPort()).number
        public_url = f"http://127.0.0.1:{port}"
        number = Number(NUMBER, account_sid, f"{public_url}/webhooks/twilio/messages")
        twilio_url = stack.enter_context(running(EmulatorSettings(accounts={account_sid: token}, numbers=(number,))))
        variables = _variables(directory, public_url, twilio_url)
        owner_id, business = asyncio.run(_open_bakery(variables, account_sid, token))
        _write_env(directory / "env", variables)
        processes = {
            "serve": stack.enter_context(_process("serve", directory, variables, "--port", str(port))),
            "worker": stack.enter_context(_process("worker", directory, variables)),
        }
        twilio = EmulatorClient(twilio_url)
        stage = Stage(directory, variables, owner_id, business, twilio, account_sid, processes)
        _wait_until_ready(stage, f"{public_url}/readyz")
        yield stage


def _variables(directory: Path, public_url: str, twilio_url: str) -> dict[str, str]:
    return {
        "RECADO_DATABASE_URL": f"sqlite:///{directory / 'demo.db'}",
        "RECADO_PUBLIC_URL": public_url,
        "RECADO_SECRET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "RECADO_TWILIO_API_URL": twilio_url,
    }


async def _open_bakery(variables: Mapping[str, str], account_sid: str, token: str) -> tuple[UUID, str]:
    """Register the bakery with its number, agent and documents: the five steps of a new user."""
    from recado.agents.models import AgentForm
    from recado.bootstrap import Container, metadata
    from recado.channels.twilio.accounts import NewNumber
    from recado.channels.twilio.values import AccountSid
    from recado.conversation.values import Address
    from recado.identity.owners import Registration
    from recado.identity.principal import operator_of
    from recado.migrations.startup import Creation, prepare_database
    from recado.settings import load_settings

    settings = load_settings(variables, purpose="cli")
    prepare_database(settings.database_url, metadata, creation=Creation.ALLOWED)
    container = Container(settings=settings)
    try:
        name = "Padaria Pão Quente"
        form = Registration(name, "demo@example.com", secrets.token_urlsafe(16))
        owner_id = (await container.owners().register_organization(form)).owner_id
        await container.numbers().add(
            operator_of(owner_id, "demo"), NewNumber(AccountSid(account_sid), token, Address(NUMBER))
        )
        await container.agent_service().set(operator_of(owner_id, "demo"), AgentForm(agent="faq"))
        text = files("recado.entrypoints.cli.demo").joinpath("bakery.md").read_text(encoding="utf-8")
        await container.knowledge().add(operator_of(owner_id, "demo"), "bakery.md", text)
    finally:
        await container.database().close()
    return owner_id, name


async def _verify(variables: Mapping[str, str]) -> VerificationReport:
    from recado.bootstrap import Container
    from recado.settings import load_settings

    container = Container(settings=load_settings(variables, purpose="cli"))
    try:
        return await container.verifier().verify()
    finally:
        await container.database().close()


def _write_env(path: Path, variables: Mapping[str, str]) -> None:
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in variables.items()]
    lines.append(f'export PATH={shlex.quote(str(Path(sys.executable).parent))}:"$PATH"\n')
    path.touch(mode=0o600)
    path.write_text("".join(lines), encoding="utf-8")


@contextmanager
def _process(
    name: str, directory: Path, variables: Mapping[str, str], *arguments: str
) -> "Iterator[subprocess.Popen[bytes]]":
    # RECADO_ variables of the environment belong to the person's own installation, not to the demo.
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("RECADO_")}
    with (directory / f"{name}.log").open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, "-m", "recado", "--with-parent", name, *arguments],
            env={**inherited, **variables},
            cwd=directory,  # The person's `recado.env` is not the demo's.
            stdin=subprocess.PIPE,  # It closes when the demo ends, in any way, and then the process ends.
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.terminate()
        if process.stdin is not None:
            process.stdin.close()
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(stage: Stage, url: str) -> None:
    give_up = time.monotonic() + READY_SECONDS
    while time.monotonic() < give_up:
        stage.check()
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - our own address
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.02)
    raise DemoFailed(f"the server was not ready within {READY_SECONDS:.0f} s: {_last_log_line(stage, 'serve')}")


def _last_log_line(stage: Stage, name: str) -> str:
    lines = (stage.directory / f"{name}.log").read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1][:500] if lines else "its log is empty"
