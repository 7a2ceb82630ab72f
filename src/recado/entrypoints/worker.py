"""The worker process: the loop of `core.queue.running.worker`, its end, and a process for isolated jobs."""

import asyncio
import contextlib
import gc
import resource
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from recado.core.processes.children import die_with_parent
from recado.core.queue.running.isolation import BEGUN, DONE, GAVE_BACK, ParentProcess
from recado.core.queue.running.worker import CANCEL_RUN_SECONDS, GRACE_SECONDS
from recado.entrypoints.health_file import show_life
from recado.entrypoints.metrics_port import show_metrics
from recado.entrypoints.shutdown import ShutdownSignals, call_after

if TYPE_CHECKING:
    from recado.bootstrap import Container

FLUSH_SECONDS = 1.0
"""An isolated process waits this long at its end until its spans are sent."""

EXIT_SECONDS = 4.0
"""A stopped worker exits this long after its grace period. By then its running jobs are requeued, or never."""

AGENTS_SECONDS = 2.0
"""The time limit for closing the event loop of the agents after their runs have ended."""


class WorkerEnding(Enum):
    """Why a worker ended."""

    STOPPED = "stopped"
    NEEDS_RECYCLING = "needs recycling"


async def run_worker(
    container: "Container",
    signals: ShutdownSignals,
    *,
    drain: bool = False,
    grace_seconds: float = GRACE_SECONDS,
    health_file: Path | None = None,
) -> WorkerEnding:
    """Work until a signal, until the queue is empty (`drain`), or until the process needs a replacement."""
    allow_many_files()
    worker = container.worker(grace_seconds=grace_seconds)
    loop = asyncio.get_running_loop()
    signals.on_request(lambda: loop.call_soon_threadsafe(worker.stop), within=grace_seconds + EXIT_SECONDS)
    warming = asyncio.create_task(container.twilio().api().warm_up())  # Saves the first answer a quarter second.
    gc.freeze()  # Loaded modules stay. Without this the garbage collector reads them each time, for 40 ms.
    settings = container.settings()
    container.event_publisher().start()
    shown = await show_metrics(container.exposition(), settings.metrics_host, settings.metrics_port)
    living = asyncio.create_task(_show_life(container, health_file))
    try:
        await worker.run(drain=drain)
    finally:
        living.cancel()
        if worker.needs_recycling and not worker.stopping:
            call_after(EXIT_SECONDS, signals.replace_process)
        if shown is not None:
            shown.close()
        await asyncio.gather(warming, living, return_exceptions=True)
        await container.isolated_runner().aclose()
        await close_container(container)
    return WorkerEnding.NEEDS_RECYCLING if worker.needs_recycling and not worker.stopping else WorkerEnding.STOPPED


async def _show_life(container: "Container", health_file: Path | None) -> None:
    if health_file is not None:
        await show_life(health_file, container.maintenance(), container.clock())


def allow_many_files() -> None:
    """Raise the soft limit of open files, usually 1,024: each waiting conversation may hold a connection."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def run_isolated_jobs(container: "Container", signals: ShutdownSignals) -> int:
    """Run the jobs that the parent worker has claimed for this process, one at a time. Return the exit status."""
    die_with_parent()
    parent, worker, queue = ParentProcess(), container.worker(), container.queue()
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    signals.on_request(
        lambda: loop.call_soon_threadsafe(stopping.set), within=CANCEL_RUN_SECONDS + 1.0, status=GAVE_BACK
    )
    told_to_stop = asyncio.create_task(stopping.wait())
    while not stopping.is_set() and not worker.needs_recycling:
        handed = asyncio.create_task(parent.next())
        await asyncio.wait({handed, told_to_stop}, return_when=asyncio.FIRST_COMPLETED)
        if not handed.done():
            break
        job_id, lease_token = handed.result()
        parent.tell(BEGUN)
        claim = await queue.find_claimed(UUID(job_id), UUID(lease_token))
        if claim is not None:
            running = asyncio.create_task(worker.run_one(claim))
            await asyncio.wait({running, told_to_stop}, return_when=asyncio.FIRST_COMPLETED)
            if not running.done():
                await worker.cancel_runs({running}, CANCEL_RUN_SECONDS / 2)
        # From here on the parent may kill this process.
        await asyncio.to_thread(container.traces().flush, FLUSH_SECONDS)
        if not stopping.is_set():
            parent.tell(DONE)
    await close_container(container)
    return GAVE_BACK


async def close_container(container: "Container") -> None:
    """Close everything that the container made, in the order of dependencies."""
    container.heartbeat().close()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(AGENTS_SECONDS):
            await container.agents().aclose()
    await container.event_publisher().aclose()
    await container.event_poster().aclose()
    await container.twilio().aclose()
    await container.delivery().close()
    await container.database_wakeups().close()
    await container.database().close()
    await asyncio.to_thread(container.traces().close)
