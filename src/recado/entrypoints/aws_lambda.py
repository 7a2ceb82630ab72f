"""AWS Lambda: one deployment, three functions.

    recado.entrypoints.aws_lambda.http     behind API Gateway, a function URL or a load balancer: webhooks and pages
    recado.entrypoints.aws_lambda.sqs      behind the queue of RECADO_SQS_QUEUE_URL: runs jobs, reports failed wake-ups
    recado.entrypoints.aws_lambda.tick     called by a schedule of EventBridge: what `/internal/tick` does

Lambda freezes the process between two calls and may end it, so only the container is kept, made once per cold start.
The state is in PostgreSQL; a SQLite file would be lost with the sandbox.
"""

import asyncio
import functools
import json
import logging
import os
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias, TypeVar
from urllib.parse import urlsplit

import structlog
from mangum import Mangum

from recado.core.database.types import JsonValue
from recado.core.errors import Busy, StorageUnavailable
from recado.entrypoints.serverless import container_for

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from recado.bootstrap import Container
    from recado.core.queue.running.worker import Worker

log = structlog.get_logger(__name__)

T = TypeVar("T")
Event: TypeAlias = dict[str, JsonValue]
Answer: TypeAlias = dict[str, JsonValue]

MARGIN_SECONDS: Final = 1.0
"""Time before Lambda's limit that is kept for the answer. A bounded run keeps its own time for requeueing."""
FLUSH_SECONDS: Final = 0.5
"""An answer waits this long for its spans to be sent. It is part of the margin."""
MAX_TICK_SECONDS: Final = 300.0


class LambdaContext(Protocol):
    """The part of Lambda's context that is used here."""

    def get_remaining_time_in_millis(self) -> int: ...


def http(event: Event, context: LambdaContext) -> Answer:
    """Answer one HTTP request."""
    return _functions().http(event, context)


def sqs(event: Event, context: LambdaContext) -> Answer:
    """Handle a batch of wake-ups. Return the records that SQS must deliver again."""
    try:
        functions = _functions()
    except (Busy, StorageUnavailable) as error:
        log.warning("lambda.not_started", error=str(error))
        return _failures([record.message_id for record in _records(event)])
    return functions.sqs(event, context)


def tick(event: Event, context: LambdaContext) -> Answer:
    """Do one bounded run. The event may be `{"seconds": 50, "linger": true}`."""
    return _functions().tick(event, context)


@functools.cache
def _functions() -> "Functions":
    return Functions.cold_start(os.environ)


# --- Wake-ups ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Record:
    """A wake-up as SQS delivers it. Its body names a job for traces only; every wake-up means the same."""

    message_id: str
    group: str | None
    """The group of a FIFO queue. After a failure in a group its later records must be delivered again, in order."""
    job: str | None


def _records(event: Event) -> Sequence[Record]:
    records = event.get("Records")
    return [_record(each) for each in records if isinstance(each, Mapping)] if isinstance(records, Sequence) else []


def _record(record: Mapping[str, JsonValue]) -> Record:
    attributes = record.get("attributes")
    group = attributes.get("MessageGroupId") if isinstance(attributes, Mapping) else None
    fifo = str(record.get("eventSourceARN", "")).endswith(".fifo")
    return Record(
        str(record["messageId"]), str(group) if fifo and group is not None else None, _job_id_of(record.get("body"))
    )


def _job_id_of(body: JsonValue) -> str | None:
    try:
        pointer: JsonValue = json.loads(str(body))
    except ValueError:
        return None
    return str(pointer.get("job"))[:40] if isinstance(pointer, Mapping) else None


def _failures(message_ids: Sequence[str]) -> Answer:
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in message_ids]}


# --- The functions ----------------------------------------------------------------------------------------------------


class Functions:
    """The functions over one container, on one event loop for the life of the sandbox."""

    def __init__(self, container: "Container") -> None:
        from recado.entrypoints.api.app import build_app

        self._container = container
        self._loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self._loop)  # Mangum runs each request on the loop that is set.
        app = build_app(container)
        stage = urlsplit(container.settings().public_url or "").path
        self._http = Mangum(_StripStage(app, stage), lifespan="off")
        # It logs the path of each request, and the paths of status reports contain our MAC.
        logging.getLogger("mangum.http").setLevel(logging.WARNING)
        self._worker: Worker | None = None

    @classmethod
    def cold_start(cls, environ: Mapping[str, str]) -> "Functions":
        """Check the settings and the schema, and make the container."""
        return cls(container_for("AWS Lambda", environ))

    def http(self, event: Event, context: LambdaContext) -> Answer:
        answer: Answer = self._http(event, context)  # type: ignore[arg-type]  # Mangum's context has more to it
        self._container.traces().flush(FLUSH_SECONDS)  # Lambda freezes the sandbox after the answer.
        return answer

    def sqs(self, event: Event, context: LambdaContext) -> Answer:
        records = _records(event)
        failed = self._run(self._run_wakeups(records, context))
        if failed:
            log.warning("lambda.wakeups_failed", failed=len(failed), of=len(records))
        return _failures([record.message_id for record in records if record in failed])

    def tick(self, event: Event, context: LambdaContext) -> Answer:
        requested = event.get("seconds")
        left = min(_seconds_left(context), MAX_TICK_SECONDS)
        seconds = min(float(requested), left) if isinstance(requested, int | float) else left
        ticked = self._run(self._get_worker().run_bounded(max(0.0, seconds), linger=event.get("linger") is True))
        log.info("tick.done", **asdict(ticked))
        return asdict(ticked)

    def close(self) -> None:
        """Close everything. For tests: Lambda ends a sandbox without notice."""
        from recado.entrypoints.worker import close_container

        self._loop.run_until_complete(close_container(self._container))
        self._loop.close()
        asyncio.set_event_loop(None)

    def _run(self, work: Awaitable[T]) -> T:
        return self._loop.run_until_complete(self._closing_connections(work))

    async def _closing_connections(self, work: Awaitable[T]) -> T:
        """Close the connections to Twilio before Lambda freezes the sandbox. On a connection that died meanwhile a
        send would end as unknown."""
        try:
            return await work
        finally:
            await self._container.twilio().aclose()
            self._container.traces().flush(FLUSH_SECONDS)

    def _get_worker(self) -> "Worker":
        self._worker = self._worker or self._container.worker()
        return self._worker

    async def _run_wakeups(self, records: Sequence[Record], context: LambdaContext) -> set[Record]:
        """Run groups concurrently and the records of a group in order. Return the records that failed."""
        room = asyncio.Semaphore(self._container.settings().worker_concurrency)
        groups: dict[tuple[str, str], list[Record]] = {}
        for record in records:
            key = ("message", record.message_id) if record.group is None else ("group", record.group)
            groups.setdefault(key, []).append(record)
        failed = await asyncio.gather(*[self._run_group(group, context, room) for group in groups.values()])
        return {record for group in failed for record in group}

    async def _run_group(
        self, group: Sequence[Record], context: LambdaContext, room: asyncio.Semaphore
    ) -> Sequence[Record]:
        """Run a group until a record fails. Return that record and the later ones."""
        for position, record in enumerate(group):
            async with room:
                if not await self._run_wakeup(record, context):
                    return group[position:]
        return ()

    async def _run_wakeup(self, record: Record, context: LambdaContext) -> bool:
        log.debug("lambda.woken", message=record.message_id, job=record.job)
        try:
            return await self._get_worker().run_wakeup(max(0.0, _seconds_left(context)))
        except (Busy, StorageUnavailable) as error:
            log.warning("lambda.wakeup_failed", error=str(error))
            return False


def _seconds_left(context: LambdaContext) -> float:
    return context.get_remaining_time_in_millis() / 1000 - MARGIN_SECONDS


class _StripStage:
    """Removes the stage (`/prod`, or any path of RECADO_PUBLIC_URL) that a gateway puts before our paths."""

    def __init__(self, app: "ASGIApp", stage: str) -> None:
        self._app = app
        self._stage = stage

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        if self._stage and scope["path"].startswith(f"{self._stage}/"):
            scope = {**scope, "path": scope["path"].removeprefix(self._stage)}
        await self._app(scope, receive, send)
