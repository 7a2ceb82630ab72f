"""Wake-ups through AWS SQS, FIFO or standard: messages of a queue, in batches of ten both ways.

On a FIFO queue the group is the lane's, so that what SQS keeps back while a message is in flight is what could not run
anyway. A lane tells nothing about its customer.
The deduplication id is new for each dispatch, because SQS remembers those of deleted messages for five minutes.

A message is deleted before its wake-up is yielded: the lease in the row is what is in flight, not the message.
"""

import asyncio
import functools
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import TYPE_CHECKING, Final
from uuid import UUID

from recado.core.errors import BrokerLost
from recado.core.queue.wakeups.contract import BrokerState, Room, WakeUp, log_loss, log_return

if TYPE_CHECKING:
    from aiobotocore.session import AioSession
    from types_aiobotocore_sqs import SQSClient
    from types_aiobotocore_sqs.type_defs import SendMessageBatchRequestEntryTypeDef

BATCH: Final = 10
"""The most messages SQS takes or gives at once."""
WAIT_SECONDS: Final = 20
"""The longest SQS lets a receiver wait."""
CONNECT_SECONDS: Final = 2.0
PAUSE_SECONDS: Final = 1.0
"""Between two tries to reach an SQS that does not answer."""
DEFAULT_REGION: Final = "us-east-1"


class SqsDelivery:
    """Publishes and receives wake-ups. Credentials and region are AWS's own variables or come from the queue's URL."""

    def __init__(self, queue_url: str, endpoint_url: str | None) -> None:
        self._url = queue_url
        self._endpoint = endpoint_url
        self._fifo = queue_url.endswith(".fifo")
        self._stack: AsyncExitStack | None = None
        self._client: SQSClient | None = None
        self._connecting = asyncio.Lock()

    async def publish(self, wakeups: Sequence[WakeUp]) -> None:
        client = await self._connect()
        batches = [wakeups[start : start + BATCH] for start in range(0, len(wakeups), BATCH)]
        sent = await asyncio.gather(*(self._send(client, batch) for batch in batches), return_exceptions=True)
        for outcome in sent:
            if isinstance(outcome, BaseException):
                raise outcome if isinstance(outcome, BrokerLost) else BrokerLost(_error_text(outcome)) from outcome

    async def receive(self, room: Room) -> AsyncGenerator[WakeUp, None]:
        lost = False
        while True:
            try:
                client = await self._connect()
                wakeups = await self._receive(client, max(1, min(BATCH, room())))
                lost = log_return("sqs", lost=lost)
                for wakeup in wakeups:
                    yield wakeup
            except Exception as error:  # noqa: BLE001 - a foreign client may raise anything, and the worker must go on
                lost = log_loss("sqs", _error_text(error), lost=lost)
                await asyncio.sleep(PAUSE_SECONDS)

    async def close(self) -> None:
        async with self._connecting:
            stack, self._stack, self._client = self._stack, None, None
            if stack is not None:
                await stack.aclose()

    async def forgot(self) -> bool:
        """Return False: SQS loses no messages."""
        return False

    async def state(self) -> BrokerState:
        """Return whether the queue can be reached."""
        try:
            client = await self._connect()
            names = ["ApproximateNumberOfMessages", "VisibilityTimeout"]
            found = await client.get_queue_attributes(QueueUrl=self._url, AttributeNames=names)  # type: ignore[arg-type]
        except Exception as error:  # noqa: BLE001 - botocore's errors have no common root with those of its transport
            return BrokerState(
                "sqs", False, (f"SQS cannot be reached ({_error_text(error)}): see RECADO_SQS_QUEUE_URL.",)
            )
        detail = tuple((str(name), value) for name, value in found["Attributes"].items())
        return BrokerState("sqs", True, (), (("fifo", str(self._fifo).lower()), *detail))

    async def remove_all(self) -> int:
        """Remove the waiting wake-ups. Return their number as far as SQS knows it."""
        client = await self._connect()
        found = await client.get_queue_attributes(QueueUrl=self._url, AttributeNames=["ApproximateNumberOfMessages"])
        await client.purge_queue(QueueUrl=self._url)
        return int(found["Attributes"]["ApproximateNumberOfMessages"])

    # --- Parts --------------------------------------------------------------------------------------------------------

    async def _send(self, client: "SQSClient", wakeups: Sequence[WakeUp]) -> None:
        entries = [self._entry(position, wakeup) for position, wakeup in enumerate(wakeups)]
        answer = await client.send_message_batch(QueueUrl=self._url, Entries=entries)
        for failed in answer.get("Failed", []):
            raise BrokerLost(f"SQS did not take a wake-up: {failed.get('Code')} {failed.get('Message', '')}".strip())

    async def _receive(self, client: "SQSClient", most: int) -> list[WakeUp]:
        answer = await client.receive_message(
            QueueUrl=self._url, MaxNumberOfMessages=most, WaitTimeSeconds=WAIT_SECONDS
        )
        messages = answer.get("Messages", [])
        if messages:
            handles = [{"Id": str(n), "ReceiptHandle": each["ReceiptHandle"]} for n, each in enumerate(messages)]
            await client.delete_message_batch(QueueUrl=self._url, Entries=handles)  # type: ignore[arg-type]
        return [wakeup_of(each.get("Body", "")) for each in messages]

    def _entry(self, position: int, wakeup: WakeUp) -> "SendMessageBatchRequestEntryTypeDef":
        entry: SendMessageBatchRequestEntryTypeDef = {"Id": str(position), "MessageBody": body_of(wakeup)}
        if self._fifo:
            entry["MessageGroupId"] = self._group(wakeup)
            entry["MessageDeduplicationId"] = wakeup.key
        return entry

    def _group(self, wakeup: WakeUp) -> str:
        return str(wakeup.lane or wakeup.job_id)

    async def _connect(self) -> "SQSClient":
        async with self._connecting:  # Of two clients that are made at once one would never be closed.
            if self._client is None:
                self._stack = AsyncExitStack()
                self._client = await self._stack.enter_async_context(await self._made())
            return self._client

    async def _made(self) -> "AbstractAsyncContextManager[SQSClient]":
        session = await asyncio.to_thread(_session)
        from aiobotocore.config import AioConfig

        config = AioConfig(
            connect_timeout=CONNECT_SECONDS, read_timeout=WAIT_SECONDS + 10, retries={"total_max_attempts": 1}
        )
        region = session.get_config_variable("region") or region_of(self._url)
        return session.create_client("sqs", region_name=region, endpoint_url=self._endpoint, config=config)


@functools.cache
def _session() -> "AioSession":
    """Return the session of this process: reading the description of SQS takes a quarter of a second."""
    from aiobotocore.session import get_session

    return get_session()


def region_of(queue_url: str) -> str:
    """Return the region in a queue's URL (https://sqs.sa-east-1.amazonaws.com/…), else the default one."""
    words = queue_url.split("/")[2].split(".") if "://" in queue_url else []
    return words[1] if len(words) > 3 and words[0] == "sqs" else DEFAULT_REGION


def body_of(wakeup: WakeUp) -> str:
    """Return the body of a message: ids only."""
    return json.dumps({"job": str(wakeup.job_id), "dispatch": wakeup.dispatch})


def wakeup_of(body: str) -> WakeUp:
    """Read the wake-up from a message's body.

    A message that another program sent has no ids; it still counts as a wake-up.
    """
    try:
        said = json.loads(body)
        return WakeUp(UUID(str(said["job"])), dispatch=int(said["dispatch"]))
    except (ValueError, KeyError, TypeError):
        return WakeUp()


def _error_text(error: BaseException) -> str:
    return str(error).strip() or type(error).__name__
