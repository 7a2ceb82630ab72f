"""A strict SQS for tests: what AWS documents of standard and FIFO queues, over its JSON protocol, at its worst.

moto forgives (it gives a group's second message while the first is in flight, and takes expired receipts). This one
refuses what AWS refuses, and on a standard queue loses, repeats, delays and shuffles as a seed says. Sources: the SQS
developer guide (FIFO delivery logic, exactly-once processing) and API reference.

    python -m tests.support.servers.sqs --port 9324 --seed 7 --lose 0.05
"""

import argparse
import asyncio
import hashlib
import json
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from aiohttp import web

Json: TypeAlias = "Mapping[str, Json] | list[Json] | str | int | float | bool | None"
Answer: TypeAlias = dict[str, "Json"]

REMEMBERED_SECONDS: Final = 300.0
"""How long a deduplication id is known, even when its message was deleted."""
BATCH: Final = 10
ACCOUNT: Final = "000000000000"


class Refused(Exception):
    """AWS would say no; the first word is its code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Faults:
    """How often a standard queue does what AWS allows it to do. FIFO queues only ever delay."""

    lose: float = 0.0
    repeat: float = 0.0
    delay: float = 0.0
    delay_seconds: float = 1.0


@dataclass(slots=True)
class Message:
    """One that is stored, hidden until a moment."""

    id: str
    body: str
    group: str | None
    visible_at: float
    received: int = 0
    handle: str | None = None


@dataclass(slots=True)
class Queue:
    """A queue and its rules."""

    name: str
    faults: Faults
    chance: random.Random
    now: Callable[[], float]
    visibility: float = 30.0
    messages: list[Message] = field(default_factory=list)
    remembered: dict[str, tuple[float, str]] = field(default_factory=dict)
    made: int = 0

    @property
    def fifo(self) -> bool:
        return self.name.endswith(".fifo")

    def send(self, entry: Mapping[str, object]) -> str:
        body, group = str(entry.get("MessageBody", "")), entry.get("MessageGroupId")
        if not body:
            raise Refused("MissingParameter", "The request must contain the parameter MessageBody.")
        if not self.fifo:
            return self._send_standard(body, float(str(entry.get("DelaySeconds", 0))))
        if entry.get("DelaySeconds"):
            raise Refused("InvalidParameterValue", "DelaySeconds is not supported for messages of FIFO queues.")
        key = entry.get("MessageDeduplicationId")
        if not group or not key:
            raise Refused("MissingParameter", "FIFO messages need MessageGroupId and MessageDeduplicationId.")
        return self._send_fifo(body, str(group), str(key))

    def _send_standard(self, body: str, delay: float) -> str:
        message_id = self._id()
        copies = 0 if self.chance.random() < self.faults.lose else 1 + (self.chance.random() < self.faults.repeat)
        for _ in range(copies):
            late = self.chance.random() * self.faults.delay_seconds if self.chance.random() < self.faults.delay else 0.0
            self.messages.append(Message(message_id, body, None, self.now() + delay + late))
        return message_id

    def _send_fifo(self, body: str, group: str, key: str) -> str:
        at, known = self.remembered.get(key, (-REMEMBERED_SECONDS, ""))
        if self.now() - at < REMEMBERED_SECONDS:
            return known
        message_id = self._id()
        self.remembered[key] = (self.now(), message_id)
        self.messages.append(Message(message_id, body, group, self.now()))
        return message_id

    def receive(self, most: int) -> list[Message]:
        now = self.now()
        ready = [each for each in self.messages if each.visible_at <= now]
        if self.fifo:
            flying = {each.group for each in self.messages if each.visible_at > now}
            ready = [each for each in ready if each.group not in flying]
        else:
            self.chance.shuffle(ready)
        taken = ready[:most]
        for message in taken:
            message.received += 1
            message.handle = self._id()
            message.visible_at = now + self.visibility
        return taken

    def delete(self, handle: str) -> None:
        for message in self.messages:
            if message.handle == handle:
                if self.fifo and message.visible_at <= self.now():
                    raise Refused("InvalidParameterValue", "The receipt handle has expired.")
                if self.chance.random() >= self.faults.repeat or self.fifo:  # A copy on a host that was away stays.
                    self.messages.remove(message)
                return

    def _id(self) -> str:
        self.made += 1
        return f"{self.chance.getrandbits(64):016x}-{self.made}"


class SqsServer:
    """Answers AWS's JSON protocol on loopback."""

    def __init__(
        self, faults: Faults, seed: int, *, always: str = "", now: Callable[[], float] = time.monotonic
    ) -> None:
        self._faults, self._now, self._chance = faults, now, random.Random(seed)  # noqa: S311 - a seed says it all
        self._always = always
        self.queues: dict[str, Queue] = {}

    def application(self) -> web.Application:
        application = web.Application(client_max_size=2**20)
        application.router.add_post("/{path:.*}", self._answer)
        return application

    async def _answer(self, request: web.Request) -> web.Response:
        action = request.headers.get("X-Amz-Target", "").rpartition(".")[2]
        asked = json.loads(await request.read() or b"{}")
        try:
            answer = await self._do(action, asked, f"{request.scheme}://{request.host}")
        except Refused as refusal:
            said = {"__type": f"com.amazonaws.sqs#{refusal.code}", "message": str(refusal)}
            return web.json_response(said, status=400, headers={"x-amzn-query-error": f"{refusal.code};Sender"})
        return web.json_response(answer, content_type="application/x-amz-json-1.0")

    async def _do(self, action: str, asked: Mapping[str, object], here: str) -> Answer:
        if action == "CreateQueue":
            name = str(asked["QueueName"])
            self._make(name)
            return {"QueueUrl": f"{here}/{ACCOUNT}/{name}"}
        queue = self._queue(asked)
        match action:
            case "SendMessageBatch":
                return self._send(queue, _entries(asked))
            case "ReceiveMessage":
                return await self._receive(queue, asked)
            case "DeleteMessageBatch":
                return self._delete(queue, _entries(asked))
            case "PurgeQueue":
                queue.messages.clear()
                return {}
            case "GetQueueAttributes":
                waiting = sum(each.visible_at <= self._now() for each in queue.messages)
                return {"Attributes": {"ApproximateNumberOfMessages": str(waiting), "VisibilityTimeout": "30"}}
        raise Refused("InvalidAction", f"{action} is not played here")

    def _make(self, name: str) -> None:
        self.queues.setdefault(name, Queue(name, self._faults, self._chance, self._now))

    def _queue(self, asked: Mapping[str, object]) -> Queue:
        name = str(asked.get("QueueUrl", "")).rpartition("/")[2]
        if name == self._always:
            self._make(name)
        if name not in self.queues:
            raise Refused("QueueDoesNotExist", "The specified queue does not exist.")
        return self.queues[name]

    def _send(self, queue: Queue, entries: list[Mapping[str, object]]) -> Answer:
        sent: list[Json] = []
        failed: list[Json] = []
        for entry in entries:
            try:
                body = str(entry.get("MessageBody", ""))
                digest = hashlib.md5(body.encode(), usedforsecurity=False).hexdigest()
                sent.append({"Id": str(entry["Id"]), "MessageId": queue.send(entry), "MD5OfMessageBody": digest})
            except Refused as refusal:
                said: Json = {
                    "Id": str(entry["Id"]),
                    "Code": refusal.code,
                    "Message": str(refusal),
                    "SenderFault": True,
                }
                failed.append(said)
        return {"Successful": sent, "Failed": failed}

    async def _receive(self, queue: Queue, asked: Mapping[str, object]) -> Answer:
        most = int(str(asked.get("MaxNumberOfMessages", 1)))
        if not 1 <= most <= BATCH:
            raise Refused("InvalidParameterValue", "MaxNumberOfMessages must be between 1 and 10.")
        give_up = self._now() + float(str(asked.get("WaitTimeSeconds", 0)))
        while not (taken := queue.receive(most)) and self._now() < give_up:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        return {"Messages": [_shown(each) for each in taken]} if taken else {}

    def _delete(self, queue: Queue, entries: list[Mapping[str, object]]) -> Answer:
        deleted: list[Json] = []
        failed: list[Json] = []
        for entry in entries:
            try:
                queue.delete(str(entry["ReceiptHandle"]))
                deleted.append({"Id": str(entry["Id"])})
            except Refused as refusal:
                failed.append({"Id": str(entry["Id"]), "SenderFault": True, "Code": refusal.code})
        return {"Successful": deleted, "Failed": failed}


def _entries(asked: Mapping[str, object]) -> list[Mapping[str, object]]:
    entries = asked.get("Entries")
    if not isinstance(entries, list) or not entries:
        raise Refused("EmptyBatchRequest", "There should be at least one entry.")
    if len(entries) > BATCH:
        raise Refused("TooManyEntriesInBatchRequest", "Maximum number of entries per request are 10.")
    if len({entry["Id"] for entry in entries}) < len(entries):
        raise Refused("BatchEntryIdsNotDistinct", "Ids of a batch must be distinct.")
    return entries


def _shown(message: Message) -> Json:
    digest = hashlib.md5(message.body.encode(), usedforsecurity=False).hexdigest()
    return {
        "MessageId": message.id,
        "ReceiptHandle": message.handle or "",
        "Body": message.body,
        "MD5OfBody": digest,
        "Attributes": {"ApproximateReceiveCount": str(message.received)},
    }


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--port", type=int, required=True)
    words.add_argument("--seed", type=int, default=0)
    for name in ("lose", "repeat", "delay"):
        words.add_argument(f"--{name}", type=float, default=0.0)
    words.add_argument("--always", default="", help="a queue that is there from the start")
    given = words.parse_args()
    faults = Faults(given.lose, given.repeat, given.delay)
    web.run_app(
        SqsServer(faults, given.seed, always=given.always).application(), host="127.0.0.1", port=given.port, print=None
    )


if __name__ == "__main__":
    main()
