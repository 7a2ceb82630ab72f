"""Wake-ups through BullMQ: jobs of a BullMQ queue, which any BullMQ tool can show and any producer can add to.

A wake-up carries ids only, for job data lies in Redis as clear text. It is fetched and completed by hand instead of by
BullMQ's worker loop, whose retries wait up to 20 s after an outage, and whose processor would have to hold the wake-up
while the job runs (measured there: a blocked processor makes BullMQ start a job five times).

Redis may lose wake-ups: what it forgets is published again (see `dispatcher`).
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Final
from uuid import UUID

import structlog

from recado.core.errors import BrokerLost
from recado.core.queue.wakeups.contract import BrokerState, Room, WakeUp, log_loss, log_return

if TYPE_CHECKING:
    from bullmq import Queue, Worker
    from bullmq.job import Job
    from redis.asyncio import Redis

log = structlog.get_logger(__name__)

NAME: Final = "wake-up"
BLOCK_SECONDS: Final = 5.0
"""How long one fetch blocks in Redis."""
SOCKET_SECONDS: Final = 15.0
"""Must exceed the wait above: redis-py's own 5 s end each wait with an error, and wake-ups arrive seconds late."""
COMMAND_SECONDS: Final = 2.0
CONNECT_SECONDS: Final = 2.0
PAUSE_SECONDS: Final = 0.5
"""Between two tries to reach a Redis that does not answer."""
LOCK_MILLISECONDS: Final = 60_000
STALLED_SECONDS: Final = 30.0
"""How often wake-ups are recovered whose worker died right after it fetched them."""
_OPTIONS: Final = {"attempts": 1, "removeOnComplete": True, "removeOnFail": True}


class BullmqDelivery:
    """Publishes and fetches wake-ups. Connects at the first use."""

    def __init__(
        self,
        redis_url: str,
        queue_name: str,
        *,
        block_seconds: float = BLOCK_SECONDS,
        stalled_seconds: float = STALLED_SECONDS,
    ) -> None:
        self._url = redis_url
        self._name = queue_name
        self._block = block_seconds
        self._stalled = stalled_seconds
        self._queue: Queue | None = None

    async def publish(self, wakeups: Sequence[WakeUp]) -> None:
        from redis.exceptions import RedisError

        queue = self._queue = self._queue or self._connected_queue()
        try:
            answers = await queue.backend.addJobs(self._jobs(wakeups))
        except (RedisError, OSError, TimeoutError) as error:
            raise BrokerLost(f"Redis did not take wake-ups: {error}") from error
        refused = [answer for answer in answers if isinstance(answer, Exception)]
        if refused:
            raise BrokerLost(f"Redis did not take wake-ups: {refused[0]}")

    async def receive(self, room: Room) -> AsyncGenerator[WakeUp, None]:  # noqa: ARG002 - one at a time is never too many
        lost = False
        while True:
            worker = self._connected_worker()
            try:
                async with contextlib.aclosing(_fetch(worker, self._stalled)) as fetched:
                    async for wakeup in fetched:
                        lost = log_return("bullmq", lost=lost)
                        yield wakeup
            except Exception as error:  # noqa: BLE001 - a foreign client may raise anything, and the worker must go on
                lost = log_loss("bullmq", str(error), lost=lost)
            finally:
                await _close_worker(worker)
            await asyncio.sleep(PAUSE_SECONDS)

    async def close(self) -> None:
        queue, self._queue = self._queue, None
        if queue is not None:
            await queue.backend.close(force=True)

    async def forgot(self) -> bool:
        """Return whether Redis lost its data: then a key of ours beside the queue is gone as well."""
        from redis.exceptions import RedisError

        queue = self._queue = self._queue or self._connected_queue()
        try:
            return bool(await queue.client.set(f"recado:{self._name}:remembers", "1", nx=True))
        except (RedisError, OSError, TimeoutError) as error:
            raise BrokerLost(f"Redis does not answer: {error}") from error

    async def state(self) -> BrokerState:
        """Return the state, with warnings: eviction loses wake-ups, and so does a restart without persistence."""
        await asyncio.to_thread(import_module, "redis.asyncio")  # It takes long enough to delay webhooks.
        from redis.exceptions import RedisError

        client = _client(self._url, COMMAND_SECONDS)
        try:
            memory, persistence = await client.info("memory"), await client.info("persistence")
        except (RedisError, OSError, TimeoutError) as error:
            return BrokerState("bullmq", False, (f"Redis cannot be reached ({error}): see RECADO_REDIS_URL.",))
        finally:
            await client.aclose()
        return _broker_state(memory, persistence)

    async def remove_all(self) -> int:
        """Remove the waiting wake-ups, and other producers' jobs with them. Return their number."""
        queue = self._queue = self._queue or self._connected_queue()
        waiting = await queue.getWaitingCount()
        await queue.drain()
        return int(waiting)

    # --- Connections --------------------------------------------------------------------------------------------------

    def _connected_queue(self) -> "Queue":
        from bullmq import Queue

        return Queue(self._name, {"connection": _client(self._url, COMMAND_SECONDS)})

    def _connected_worker(self) -> "Worker":
        from bullmq import Worker

        options = {
            "connection": _client(self._url, SOCKET_SECONDS),
            "autorun": False,
            "drainDelay": self._block,
            "lockDuration": LOCK_MILLISECONDS,
            "maxStalledCount": 1_000_000,  # Attempts are counted in the rows; BullMQ must never give a wake-up up.
            "stalledInterval": int(self._stalled * 1000),
        }
        return Worker(self._name, None, options)

    def _jobs(self, wakeups: Sequence[WakeUp]) -> "list[Job]":
        from bullmq.job import Job

        return [Job(self._queue, NAME, _data(each), {**_OPTIONS, "jobId": each.key}) for each in wakeups]


def _client(url: str, seconds: float) -> "Redis":
    """Return a client that fails within its time limit, instead of twenty tries with waits of up to 20 s."""
    from redis.asyncio import Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    return Redis.from_url(
        url,
        decode_responses=True,
        socket_timeout=seconds,
        socket_connect_timeout=CONNECT_SECONDS,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=0,
    )


async def _fetch(worker: "Worker", stalled_seconds: float) -> AsyncGenerator[WakeUp, None]:
    """Yield the wake-ups of one connection until it breaks."""
    loop = asyncio.get_running_loop()
    stalled_checked_at, fetches = loop.time(), 0
    while True:
        if loop.time() - stalled_checked_at > stalled_seconds:
            await worker.backend.moveStalledJobsToWait(worker.opts["maxStalledCount"], worker.opts["stalledInterval"])
            stalled_checked_at = loop.time()
        fetches += 1
        token = f"{worker.id}:{fetches}"
        job = await worker.getNextJob(token)
        if job is None:
            continue
        await job.moveToCompleted(None, token)
        yield _wakeup(job.data)


async def _close_worker(worker: "Worker") -> None:
    try:
        async with asyncio.timeout(COMMAND_SECONDS):
            await worker.close(force=True)
    except Exception as error:  # noqa: BLE001 - it is broken already, or the server is gone
        log.debug("queue.wakeups_not_closed", error=str(error))


def _data(wakeup: WakeUp) -> dict[str, str | int]:
    return {"job": str(wakeup.job_id), "dispatch": wakeup.dispatch}


def _wakeup(data: object) -> WakeUp:
    """Read the wake-up from a BullMQ job's data.

    A job that another program added has no ids; it still counts as a wake-up.
    """
    if isinstance(data, str):
        try:
            data = json.loads(data)
        except ValueError:
            data = None
    if isinstance(data, Mapping):
        try:
            return WakeUp(UUID(str(data["job"])), dispatch=int(data["dispatch"]))
        except (KeyError, TypeError, ValueError):
            pass
    return WakeUp()


def _broker_state(memory: Mapping[str, object], persistence: Mapping[str, object]) -> BrokerState:
    policy = str(memory.get("maxmemory_policy", "unknown"))
    saved = "aof" if persistence.get("aof_enabled") == 1 else "none"
    warnings = []
    if policy != "noeviction":
        warnings.append(f"Redis evicts keys (maxmemory-policy {policy}): set maxmemory-policy noeviction.")
    if saved == "none":
        warnings.append(
            "Redis keeps no append-only file: a restart forgets wake-ups for half a minute; set appendonly yes."
        )
    return BrokerState("bullmq", True, warnings, (("maxmemory_policy", policy), ("persistence", saved)))
