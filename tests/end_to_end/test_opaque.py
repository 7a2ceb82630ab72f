"""No key, job, wake-up, metric, span or log line tells who a customer is, after a busy time of the whole installation.

A customer's number, name and words are in the columns that are for them, and nowhere else.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPConnection
from itertools import count
from pathlib import Path
from typing import Final

import boto3
import pytest

from recado.bootstrap import metadata
from tests.support.processes import BAKERY, Road, customer
from tests.support.servers.brokers import RedisServer, strict_sqs
from tests.support.servers.collector import Collector, collecting
from tests.support.servers.proxy import Proxy, proxied

pytestmark = pytest.mark.proof

KEY: Final = "internal-key-of-a-test"
AWS: Final = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
NAME: Final = "Benedita Sigilosa"
CUSTOMERS: Final = [customer(4_703_155 + 1_000_003 * n) for n in range(4)]
FOR_PEOPLE: Final = frozenset(
    {
        "answer_parts.text", "answers.from_address", "answers.to_address", "channel_addresses.address",
        "contact_addresses.address", "contact_addresses.match_key", "contacts.name", "inbox_items.note",
        "messages.from_address", "messages.to_address", "messages.text", "messages.raw", "messages.profile_name",
        "orphans.from_address", "orphans.to_address", "orphans.raw", "search_documents.words",
    }
)  # fmt: skip
"""The columns that hold what customers write, and from where. An erasure clears them; none is a key."""

_numbers = count(1)


def secrets() -> list[bytes]:
    """What must be found nowhere: the last eight digits of each number, and the customers' name."""
    return [number[-8:].encode() for number in CUSTOMERS] + [NAME.encode(), NAME.partition(" ")[2].encode()]


def told_by(source: bytes | str) -> list[bytes]:
    """Return the secrets that bytes or their hexadecimal form contain."""
    raw = source.encode() if isinstance(source, str) else source
    return [secret for secret in secrets() if secret in raw or secret.hex().encode() in raw.lower()]


@contextmanager
def bullmq(redis_server: RedisServer) -> Iterator[tuple[Mapping[str, str], Proxy]]:
    redis_server.command_line("FLUSHALL")
    with proxied(redis_server.port) as line:
        yield {"QUEUE_BACKEND": "bullmq", "REDIS_URL": f"redis://127.0.0.1:{line.port}/0"}, line


@contextmanager
def sqs() -> Iterator[tuple[Mapping[str, str], Proxy]]:
    with strict_sqs() as server, proxied(server.port) as line:
        client = boto3.client(  # type: ignore[no-untyped-call]
            "sqs", endpoint_url=server.url, region_name="us-east-1"
        )
        made = client.create_queue(QueueName=f"opaque-{next(_numbers)}.fifo", Attributes={"FifoQueue": "true"})
        url = made["QueueUrl"].replace(f":{server.port}/", f":{line.port}/")
        yield {
            "QUEUE_BACKEND": "sqs", "SQS_QUEUE_URL": url, "SQS_ENDPOINT_URL": f"http://127.0.0.1:{line.port}"
        }, line  # fmt: skip


@pytest.fixture(params=["bullmq", "sqs"])
def broker(
    request: pytest.FixtureRequest, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Mapping[str, str], Proxy]]:
    """A broker, and the line on which all that is said to it can be heard."""
    for name, value in AWS.items():
        monkeypatch.setenv(name, value)
    with bullmq(redis_server) if request.param == "bullmq" else sqs() as found:
        yield found


class Busy:
    """A busy installation, and everything that it has told to anybody but customers."""

    def __init__(self, road: Road, line: Proxy, collector: Collector) -> None:
        self.road, self.line, self.collector = road, line, collector

    def happens(self) -> None:
        """Customers write, opt out, ask for a person; an attempt fails, and an operator looks."""
        road = self.road
        api, worker = road.serve(), road.worker()
        for number, sender in enumerate(CUSTOMERS):
            road.emulator.send(sender, BAKERY.number, f"oi {number}", fields={"ProfileName": NAME})
            road.emulator.send(sender, BAKERY.number, f"sou {NAME}, {sender}", fields={"ProfileName": NAME})
        road.emulator.send(CUSTOMERS[0], BAKERY.number, "PARAR")
        road.emulator.send(CUSTOMERS[1], "whatsapp:+5511900009999", "a quem?")  # Nobody's number.
        road.quiet(accepted=2 * len(CUSTOMERS) + 1)
        self.metrics = self._metrics()
        assert worker.stop() == 0
        api.stop()

    def _metrics(self) -> bytes:
        with closing(HTTPConnection("127.0.0.1", self.road.port, timeout=20)) as connection:
            connection.request("GET", "/metrics", headers={"Authorization": f"Bearer {KEY}"})
            return connection.getresponse().read()

    def columns(self) -> Iterator[tuple[str, bytes]]:
        """Every column that is not for people, with all its values."""
        for table in metadata().sorted_tables:
            for column in table.columns:
                if f"{table.name}.{column.name}" not in FOR_PEOPLE:
                    rows = self.road.rows(f"SELECT DISTINCT quote({column.name}) FROM {table.name}")
                    yield f"{table.name}.{column.name}", "\n".join(str(value) for (value,) in rows).encode()

    def leaks(self) -> list[tuple[str, list[bytes]]]:
        """Where a secret was told."""
        logs = b"".join(path.read_bytes() for path in sorted(self.road.directory.glob("*.log")))
        told = {
            "metrics": self.metrics, "spans": b"".join(self.collector.bodies), "logs": logs,
            "broker": bytes(self.line.heard), **dict(self.columns()),
        }  # fmt: skip
        return [(place, found) for place, text in told.items() if (found := told_by(text))]


@pytest.fixture
def busy(tmp_path: Path, broker: tuple[Mapping[str, str], Proxy]) -> Iterator[Busy]:
    settings, line = broker
    with ExitStack() as stack:
        collector = stack.enter_context(collecting())
        road = stack.enter_context(
            Road.open(tmp_path, tracing=1, internal_api_key=KEY, log_level="debug", lease_seconds=30)
        )
        road.env |= {name if name.startswith("AWS_") else f"RECADO_{name}": value for name, value in settings.items()}
        road.env |= {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "20"}
        busy = Busy(road, line, collector)
        busy.happens()
        yield busy


def test_nothing_but_what_is_for_people_tells_who_a_customer_is(busy: Busy) -> None:
    assert busy.leaks() == []
    # It is found where it is told: the scan sees each kind of place.
    assert busy.metrics
    assert busy.line.heard
    assert busy.collector.bodies
    assert any(busy.road.rows("SELECT 1 FROM messages WHERE from_address = ?", sender) for sender in CUSTOMERS)

    busy.metrics += f'recado_planted{{customer="{CUSTOMERS[0]}"}} 1'.encode()
    busy.line.heard.extend(CUSTOMERS[1].encode().hex().encode())
    assert {place for place, _ in busy.leaks()} == {"metrics", "broker"}, "a planted number is found"
