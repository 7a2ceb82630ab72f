"""SQS over moto (the shape of AWS's answers) and over a strict fake (its rules, and what a standard queue may do)."""

import asyncio
import gc
import json
from itertools import count
from uuid import UUID

import pytest
from aiobotocore.session import get_session

from recado.core.queue.wakeups.contract import WakeUp
from recado.core.queue.wakeups.sqs import SqsDelivery, region_of
from tests.contracts.delivery import BrokerContract
from tests.support.servers.brokers import SqsProcess
from tests.support.servers.ports import reserved_port

KEY = b"k" * 32
SESSION = get_session()
_numbers = count(1)

pytestmark = pytest.mark.usefixtures("aws_environment")


class SqsSource:
    """A queue of its own for each test."""

    def __init__(self, server: SqsProcess, url: str) -> None:
        self._server = server
        self._url = url

    @classmethod
    async def made(cls, server: SqsProcess, suffix: str) -> "SqsSource":
        async with SESSION.create_client("sqs", endpoint_url=server.url) as client:
            attributes = {"FifoQueue": "true"} if suffix else {}
            made = await client.create_queue(QueueName=f"recado-{next(_numbers)}{suffix}", Attributes=attributes)  # type: ignore[arg-type]
        return cls(server, made["QueueUrl"])

    def delivery(self) -> SqsDelivery:
        return SqsDelivery(self._url, self._server.url)

    def nowhere(self) -> SqsDelivery:
        return SqsDelivery(self._url, f"http://127.0.0.1:{reserved_port()}")

    async def publish_by_hand(self, body: str) -> None:
        entry = {"Id": "1", "MessageBody": body}
        if self._url.endswith(".fifo"):
            entry |= {"MessageGroupId": "by hand", "MessageDeduplicationId": f"{hash(body)}"}
        async with SESSION.create_client("sqs", endpoint_url=self._server.url) as client:
            await client.send_message_batch(QueueUrl=self._url, Entries=[entry])  # type: ignore[list-item]

    async def everything(self) -> str:
        async with SESSION.create_client("sqs", endpoint_url=self._server.url) as client:
            found = await client.receive_message(
                QueueUrl=self._url, MaxNumberOfMessages=10, WaitTimeSeconds=5, MessageSystemAttributeNames=["All"]
            )
        return json.dumps(found["Messages"])


class TestStandard(BrokerContract):
    """Out of order, repeated and late."""

    @pytest.fixture
    async def source(self, strict_server: SqsProcess) -> SqsSource:
        return await SqsSource.made(strict_server, "")


class TestFifo(BrokerContract):
    """A group at a time."""

    @pytest.fixture
    async def source(self, strict_server: SqsProcess) -> SqsSource:
        return await SqsSource.made(strict_server, ".fifo")


class TestMoto(BrokerContract):
    """AWS's answers."""

    @pytest.fixture
    async def source(self, moto_server: SqsProcess) -> SqsSource:
        return await SqsSource.made(moto_server, ".fifo")


async def test_callers_that_come_at_once_share_a_client_that_is_closed(strict_server: SqsProcess) -> None:
    """A client that was never closed says so when Python throws it away, and the test fails."""
    delivery = (await SqsSource.made(strict_server, "")).delivery()
    wakeups = [WakeUp(UUID(int=number)) for number in range(4)]
    await asyncio.gather(*(delivery.publish([wakeup]) for wakeup in wakeups))
    await delivery.close()
    gc.collect()


@pytest.mark.parametrize(
    ("url", "region"),
    [
        ("https://sqs.sa-east-1.amazonaws.com/123456789012/recado.fifo", "sa-east-1"),
        ("http://127.0.0.1:9324/000000000000/recado", "us-east-1"),
        ("not a url", "us-east-1"),
    ],
)
def test_the_region_is_in_the_url(url: str, region: str) -> None:
    assert region_of(url) == region
