"""The worker process: the loop of `core.queue.worker`, signals, and the life of a process for suspects."""

import asyncio
import gc
import os
import resource
import signal
import sys
from enum import Enum
from typing import TYPE_CHECKING
from uuid import UUID

import structlog

from recado.core.queue.suspects import BEGUN, DONE, GAVE_BACK, Parent
from recado.entrypoints.metrics_port import show_metrics

if TYPE_CHECKING:
    from recado.bootstrap import Container

FLUSH_SECONDS = 1.0
"""How long a suspect's end waits for its spans to be sent."""

log = structlog.get_logger(__name__)


class Ending(Enum):
    """Why a worker stopped working."""

    STOPPED = "stopped"
    WORN_OUT = "worn out"


async def work(container: "Container", *, drain: bool = False) -> Ending:
    """Work until SIGTERM or SIGINT, until drained, or until the process should be replaced."""
    allow_many_files()
    worker = container.worker()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, worker.stop)
    warming = asyncio.create_task(container.twilio().api().warm_up())  # Or the first answer pays a quarter second.
    gc.freeze()  # What is loaded by now stays: looking through it again and again stops everything for 40 ms.
    settings = container.settings()
    shown = await show_metrics(container.exposition(), settings.metrics_host, settings.metrics_port)
    try:
        await worker.run(drain=drain)
    finally:
        if shown is not None:
            shown.close()
        await asyncio.gather(warming, return_exceptions=True)
        await container.suspects().aclose()
        await close(container)
    return Ending.WORN_OUT if worker.worn_out else Ending.STOPPED


def allow_many_files() -> None:
    """Each waiting conversation may hold a connection; the usual soft limit of 1,024 is for users of `select`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def work_on_suspects(container: "Container") -> int:
    """Run the jobs that a parent worker has claimed for this process, one at a time; the exit status."""
    parent, worker, queue = Parent(), container.worker(), container.queue()
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    told_to_stop = asyncio.create_task(stopping.wait())
    while not stopping.is_set() and not worker.worn_out:
        handed = asyncio.create_task(parent.next())
        await asyncio.wait({handed, told_to_stop}, return_when=asyncio.FIRST_COMPLETED)
        if not handed.done():
            break
        job_id, lease_token = handed.result()
        parent.tell(BEGUN)
        job = await queue.claim_this(UUID(job_id), UUID(lease_token))
        if job is not None:
            running = asyncio.create_task(worker.run_one(job))
            await asyncio.wait({running, told_to_stop}, return_when=asyncio.FIRST_COMPLETED)
            running.cancel()  # Does nothing to a run that is over; one that is not gives its job back.
            await asyncio.wait({running})
        # The parent may end this process without a word from here on.
        await asyncio.to_thread(container.traces().flush, FLUSH_SECONDS)
        if not stopping.is_set():
            parent.tell(DONE)
    await close(container)
    return GAVE_BACK


async def close(container: "Container") -> None:
    """Stop the threads of this process in the order in which they need each other."""
    container.heartbeat().close()
    await container.agents().aclose()
    await container.twilio().aclose()
    await container.delivery().close()
    await container.bell().close()
    await container.database().close()
    await asyncio.to_thread(container.traces().close)


def replace_process() -> None:
    """Start this very command anew in the same process: threads that cannot be stopped end with the old program."""
    log.warning("worker.recycled")
    os.execv(sys.executable, [sys.executable, "-m", "recado", *sys.argv[1:]])  # noqa: S606 - our own command
