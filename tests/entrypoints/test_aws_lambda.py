"""AWS Lambda's functions, called with events as AWS sends them (`aws/`), over PostgreSQL and the emulator."""

import asyncio
import base64
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

import pytest
from sqlalchemy import text

from recado.agents.models import AgentForm
from recado.bootstrap import Container, metadata
from recado.channels.twilio.accounts import NewNumber
from recado.channels.twilio.values import AccountSid
from recado.conversation.values import Address
from recado.core.errors import ConfigurationError
from recado.emulator.app import running
from recado.emulator.phone.client import EmulatorClient
from recado.emulator.settings import EmulatorSettings, Policies
from recado.emulator.wire.signature import sign
from recado.entrypoints.aws_lambda import Event, Functions
from recado.entrypoints.worker import close_container
from recado.identity.owners import Registration
from recado.identity.principal import operator_of
from recado.migrations.postgres import migrate_postgres
from recado.settings import load_settings
from tests.support.servers.collector import collecting
from tests.support.servers.postgres import PostgresServer

EVENTS = Path(__file__).parent / "aws"
ACCOUNT, TOKEN = "AC" + "0" * 32, "0123456789abcdef0123456789abcdef"
WHATSAPP, SMS, CUSTOMER = "whatsapp:+14155238886", "+15005550006", "+14155550123"

GATEWAY = "https://a1b2c3d4e5.execute-api.sa-east-1.amazonaws.com/prod"
FUNCTION_URL = "https://q7w3e5r9t1y2u4i6o8p0a1s2d3f4g5h6.lambda-url.sa-east-1.on.aws"
BALANCER = "https://recado-1234567890.sa-east-1.elb.amazonaws.com"

EMPTY = '<?xml version="1.0" encoding="UTF-8"?><Response/>'


def event(name: str, **changed: object) -> Event:
    """An event as AWS sent it; a keyword changes a field."""
    found: Event = json.loads((EVENTS / f"{name}.json").read_text("utf-8")) | changed
    return found


@dataclass(slots=True)
class Context:
    """How much time Lambda leaves, each time it is asked; the last answer stays."""

    milliseconds: list[int] = field(default_factory=lambda: [30_000])

    def get_remaining_time_in_millis(self) -> int:
        return self.milliseconds.pop(0) if len(self.milliseconds) > 1 else self.milliseconds[0]


@dataclass(slots=True)
class Installation:
    """What stays while sandboxes come and go."""

    database_url: str
    twilio: EmulatorClient
    twilio_url: str
    tracing: bool = False

    def environment(self, public_url: str = FUNCTION_URL) -> dict[str, str]:
        return {
            "RECADO_DATABASE_URL": self.database_url,
            "RECADO_PUBLIC_URL": public_url,
            "RECADO_SECRET_KEY": "A" * 43,
            "RECADO_TWILIO_API_URL": self.twilio_url,
            "RECADO_QUIET_SECONDS": "0",
            "RECADO_LOG_LEVEL": "error",
            "RECADO_TRACING": "1" if self.tracing else "0",
        }

    def container(self) -> Container:
        return Container(settings=load_settings(self.environment(), purpose="serve"))

    def stored(self, sid: str) -> int:
        """Return the number of messages with a SID."""
        return self.number(
            "SELECT count(*) FROM messages WHERE provider_message_id = :sid", sid=b"SM" + bytes.fromhex(sid[2:])
        )

    def number(self, sql: str, **values: object) -> int:
        async def count() -> int:
            database = self.container().database()
            row = await database.read(lambda uow: uow.first(text(sql).bindparams(**values)), owner=None)
            await database.close()
            assert row is not None
            return int(next(iter(row.values())))

        return asyncio.run(count())

    async def furnish(self) -> None:
        container = self.container()
        form = Registration("Padaria", "dona@padaria.example", "pão quente às seis")
        owner = (await container.owners().register_organization(form)).owner_id
        for address in (WHATSAPP, SMS):
            await container.numbers().add(
                operator_of(owner, "test"), NewNumber(AccountSid(ACCOUNT), TOKEN, Address(address))
            )
        await container.agent_service().set(operator_of(owner, "test"), AgentForm(agent="echo"))
        await close_container(container)


@pytest.fixture(scope="module")
def installation(postgres_server: PostgresServer) -> Iterator[Installation]:
    url = postgres_server.make(empty=True)
    migrate_postgres(url, metadata)
    # Its reports would go to the addresses in the events, which are not ours.
    policies = Policies(callback_drop=1.0)
    with running(EmulatorSettings(accounts={ACCOUNT: TOKEN}, policies=policies)) as twilio_url:
        installed = Installation(url, EmulatorClient(twilio_url), twilio_url)
        asyncio.run(installed.furnish())
        yield installed


@pytest.fixture
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


Sandbox = Callable[[str], Functions]


@pytest.fixture
def sandbox(installation: Installation, logging_as_before: None) -> Iterator[Sandbox]:
    """Starts the functions as Lambda does, for a public address."""

    @contextmanager
    def cold(public_url: str) -> Iterator[Functions]:
        functions = Functions.cold_start(installation.environment(public_url))
        yield functions
        functions.close()

    del logging_as_before
    with ExitStack() as opened:
        yield lambda public_url: opened.enter_context(cold(public_url))


class TestHttp:
    @pytest.mark.parametrize(
        ("name", "public_url", "sid"),
        [
            ("api_gateway_v2", GATEWAY, "SM" + "1" * 32),
            ("function_url", FUNCTION_URL, "SM" + "a" * 32),
            ("load_balancer", BALANCER, "SM" + "a" * 32),
        ],
    )
    def test_a_signed_webhook_is_stored_once(
        self, installation: Installation, sandbox: Sandbox, name: str, public_url: str, sid: str
    ) -> None:
        functions = sandbox(public_url)

        answers = [functions.http(event(name), Context()) for _ in range(2)]

        for answer in answers:
            assert (answer["statusCode"], answer["body"], answer["isBase64Encoded"]) == (200, EMPTY, False)
            headers = answer["headers"]
            assert isinstance(headers, dict)
            assert {key.lower(): value for key, value in headers.items()}["content-type"] == "text/xml; charset=utf-8"
        assert installation.stored(sid) == 1

    def test_a_changed_body_is_refused(self, installation: Installation, sandbox: Sandbox) -> None:
        original = base64.b64decode(str(event("api_gateway_v2")["body"]))
        forged = original.replace(b"1" * 32, b"f" * 32)

        answer = sandbox(GATEWAY).http(event("api_gateway_v2", body=base64.b64encode(forged).decode()), Context())

        assert answer["statusCode"] == 403
        assert installation.stored("SM" + "f" * 32) == 0

    def test_a_signature_for_another_address_is_refused(self, sandbox: Sandbox) -> None:
        assert sandbox(BALANCER).http(event("function_url"), Context())["statusCode"] == 403

    def test_other_pages_are_served_as_well(self, sandbox: Sandbox) -> None:
        wanted = event("function_url")
        request = wanted["requestContext"]
        assert isinstance(request, dict)
        request["http"] = {"method": "GET", "path": "/readyz", "sourceIp": "203.0.113.9"}

        answer = sandbox(FUNCTION_URL).http(wanted | {"body": "", "rawPath": "/readyz"}, Context())

        assert (answer["statusCode"], json.loads(str(answer["body"]))["status"]) == (200, "ready")


class TestTick:
    def test_answers_all_waiting_customers_and_reports_it(self, installation: Installation, sandbox: Sandbox) -> None:
        functions, before = sandbox(FUNCTION_URL), len(installation.twilio.messages(to=CUSTOMER))
        functions.http(another_message("SM" + "d" * 32), Context())

        counts = functions.tick({"seconds": 10}, Context())

        assert (counts["given_back"], counts["still_due"]) == (0, 0)
        assert installation.number("SELECT count(*) FROM messages WHERE outcome IS NULL") == 0
        functions.tick({}, Context([3_000]))
        [answer] = installation.twilio.messages(to=CUSTOMER)[before:]  # One for all that this customer wrote so far.
        assert answer.body.startswith("echo: Hi")


class TestSqs:
    @pytest.mark.parametrize("name", ["sqs_standard", "sqs_fifo", "sqs_garbled"])
    def test_wake_ups_that_were_served_do_not_come_again(self, sandbox: Sandbox, name: str) -> None:
        assert json.dumps(sandbox(FUNCTION_URL).sqs(event(name), Context())) == '{"batchItemFailures": []}'

    def test_a_wake_up_runs_what_is_due(self, installation: Installation, sandbox: Sandbox) -> None:
        functions = sandbox(FUNCTION_URL)
        sid, before = "SM" + "e" * 32, len(installation.twilio.messages(to=CUSTOMER))
        functions.http(another_message(sid), Context())

        functions.sqs(event("sqs_standard"), Context())

        assert len(installation.twilio.messages(to=CUSTOMER)) == before + 1
        assert installation.number("SELECT count(*) FROM messages WHERE outcome IS NULL") == 0

    def test_without_time_every_record_comes_again(self, sandbox: Sandbox) -> None:
        failed = sandbox(FUNCTION_URL).sqs(event("sqs_standard"), Context([900]))

        assert json.dumps(failed) == (
            '{"batchItemFailures": [{"itemIdentifier": "059f36b4-87a3-44ab-83d2-661975830a7d"}, '
            '{"itemIdentifier": "2e1424d4-f796-459a-8184-9c92662be6da"}, '
            '{"itemIdentifier": "9a1d0c46-3b5e-4f0e-8a57-6f1c3d2b7e90"}]}'
        )

    def test_of_a_fifo_group_the_first_failure_and_all_later_records_are_delivered_again(
        self, sandbox: Sandbox
    ) -> None:
        """Records 1, 3 and 4 are of one group; when it is the third's turn, the time is up."""
        failed = sandbox(FUNCTION_URL).sqs(event("sqs_fifo"), Context([30_000, 30_000, 900, 30_000]))

        assert json.dumps(failed) == (
            '{"batchItemFailures": [{"itemIdentifier": "9a1d0c46-3b5e-4f0e-8a57-6f1c3d2b7e90"}, '
            '{"itemIdentifier": "c80e8021-a70a-42c7-a470-796e1186f753"}]}'
        )

    def test_of_a_standard_queue_only_failures_are_delivered_again(self, sandbox: Sandbox) -> None:
        failed = sandbox(FUNCTION_URL).sqs(event("sqs_standard"), Context([30_000, 900, 30_000]))

        assert (
            json.dumps(failed) == '{"batchItemFailures": [{"itemIdentifier": "2e1424d4-f796-459a-8184-9c92662be6da"}]}'
        )

    def test_without_the_database_every_record_comes_again(
        self, installation: Installation, logging_as_before: None
    ) -> None:
        del logging_as_before
        container = installation.container()
        functions = Functions(container)
        asyncio.run(container.database().close())

        failed = functions.sqs(event("sqs_fifo"), Context())

        functions.close()
        assert identifiers(failed) == [record["messageId"] for record in records("sqs_fifo")]


class TestTraces:
    def test_are_sent_before_the_sandbox_stands_still(
        self, installation: Installation, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with collecting() as collector:
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
            monkeypatch.setattr(installation, "tracing", True)
            functions = sandbox(FUNCTION_URL)
            functions.http(another_message("SM" + "7" * 32), Context())
            assert [span.name for span in collector.spans] == ["twilio.webhook messages"]
            functions.sqs(event("sqs_standard"), Context())
            assert {"job conversation.reply", "job answer.send"} <= {span.name for span in collector.spans}


class TestAColdStart:
    def test_refuses_a_sqlite_file(self, installation: Installation, tmp_path: Path) -> None:
        environment = installation.environment() | {"RECADO_DATABASE_URL": f"sqlite:///{tmp_path}/recado.db"}
        with pytest.raises(ConfigurationError, match="which AWS Lambda would delete: use postgresql://"):
            Functions.cold_start(environment)

    def test_of_the_handlers_that_are_deployed(self, installation: Installation) -> None:
        """The names that are typed into the configuration, in a process of their own."""
        program = (
            "import json, sys; from recado.entrypoints import aws_lambda\n"
            "class Context:\n"
            "    def get_remaining_time_in_millis(self): return 20_000\n"
            "http, sqs = (json.load(open(name)) for name in sys.argv[1:])\n"
            "print(aws_lambda.http(http, Context())['statusCode'], aws_lambda.sqs(sqs, Context()),\n"
            "      sorted(aws_lambda.tick({'seconds': 2}, Context())))"
        )
        files = [str(EVENTS / f"{name}.json") for name in ("function_url", "sqs_standard")]
        env = {name: value for name, value in os.environ.items() if not name.startswith("RECADO_")}
        ran = subprocess.run(
            [sys.executable, "-c", program, *files],
            env=env | installation.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        assert ran.stdout.splitlines()[0] == (
            "200 {'batchItemFailures': []} "
            "['given_back', 'jobs', 'leases_freed', 'oldest_due_seconds', 'slots_made', 'still_due']"
        )


def another_message(sid: str) -> Event:
    """The event of the function URL with another message in it, signed anew."""
    original = event("function_url")
    body = base64.b64decode(str(original["body"])).replace(b"a" * 32, sid[2:].encode())
    fields = parse_qsl(body.decode(), keep_blank_values=True)
    headers = original["headers"]
    assert isinstance(headers, dict)
    headers["x-twilio-signature"] = sign(TOKEN, f"{FUNCTION_URL}/webhooks/twilio/messages", fields)
    return original | {"body": base64.b64encode(urlencode(fields).encode()).decode()}


def records(name: str) -> Sequence[dict[str, str]]:
    found: list[dict[str, str]] = json.loads((EVENTS / f"{name}.json").read_text("utf-8"))["Records"]
    return found


def identifiers(answer: Event) -> list[str]:
    failures = answer["batchItemFailures"]
    assert isinstance(failures, list)
    return [str(each["itemIdentifier"]) for each in failures]
