"""Runs a job that may have killed its worker in a process of its own.

Only the death of that process counts against the job, so one poison message costs the 63 jobs that ran beside it a
delay and no apology. The child stops when its parent dies: its standard input is a pipe that ends then.
"""

import asyncio
import os
import sys
import threading
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TypeAlias

import structlog

from recado.core.queue.heartbeat import GRACE, Heartbeat
from recado.core.queue.job import Job
from recado.core.queue.service import QueueService

log = structlog.get_logger(__name__)

SUSPECTS_AT_ONCE = 4
GAVE_BACK = 75
"""The child's exit status when it was asked to stop and returned its job (EX_TEMPFAIL)."""

Command: TypeAlias = Callable[[Job], Sequence[str]]


def worker_command(job: Job) -> Sequence[str]:
    """`recado worker` for one job."""
    return (sys.executable, "-m", "recado", "worker", "--job", str(job.id), "--lease-token", str(job.lease_token))


class SuspectRunner:
    """Starts and watches the processes of suspects."""

    def __init__(self, queue: QueueService, heartbeat: Heartbeat, command: Command = worker_command) -> None:
        self._queue = queue
        self._heartbeat = heartbeat
        self._command = command

    async def run(self, job: Job, time_limit: timedelta) -> None:
        """Run the job to its end in a process spawned for it, never forked: no connection is carried over."""
        forget = self._heartbeat.keep(job, time_limit)
        try:
            process = await asyncio.create_subprocess_exec(*self._command(job), stdin=asyncio.subprocess.PIPE)
            try:
                how = await self._ending(process, time_limit + GRACE)
            except asyncio.CancelledError:
                process.terminate()
                await process.wait()
                raise
        finally:
            forget()
        if how is not None:
            log.warning("queue.suspect_died", job=str(job.id), how=how)
            await self._queue.died_alone(job, how)

    async def _ending(self, process: asyncio.subprocess.Process, limit: timedelta) -> str | None:
        """None when the child came to an end by itself; else how it died."""
        try:
            code = await asyncio.wait_for(process.wait(), limit.total_seconds())
        except TimeoutError:
            process.kill()
            await process.wait()
            return f"it did not end within {limit.total_seconds():.0f} s"
        if code in (0, GAVE_BACK):
            return None
        return f"signal {-code}" if code < 0 else f"exit status {code}"


def die_with_parent() -> None:
    """In the child: end at once when standard input ends, because then the parent is gone and so is the lease."""

    def watch() -> None:
        # The bare descriptor: a thread that waits in Python's reader holds its lock, and a normal end would abort.
        while os.read(sys.stdin.fileno(), 1):
            pass
        os._exit(GAVE_BACK)

    threading.Thread(target=watch, name="recado-parent", daemon=True).start()
