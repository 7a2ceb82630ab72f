"""A worker like `recado worker`, with one more handler: jobs that do nothing but report their start.

    python bench/jobs/worker.py [SOCKET [SECONDS]]

Everything is the product's own: container, queue, delivery, heartbeat, maintenance. With a SOCKET each job sends the
moment of its start there (the machine's monotonic clock, which all processes share) and its owner; it takes SECONDS.
"""

import asyncio
import os
import socket
import sys
import time
from datetime import datetime, timedelta

from recado.bootstrap import Container
from recado.core.ids import Ids
from recado.core.queue.job import Claim, Done, JobResult, Replayed, ReplayRefused, StoredJob
from recado.core.queue.lane import HeldLanes
from recado.entrypoints.shutdown import ShutdownSignals
from recado.entrypoints.worker import run_worker
from recado.settings import load_settings

NAME = "bench.noop"


class Noop:
    """Does nothing, durably."""

    name = NAME
    time_limit = timedelta(seconds=60)

    def __init__(self, tell: str | None, seconds: float = 0.0) -> None:
        self._seconds = seconds
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) if tell else None
        self._tell = tell or ""

    async def run(self, claim: Claim) -> JobResult:
        if self._socket is not None:
            self._socket.sendto(f"{time.monotonic_ns()} {claim.job.owner_id.hex}".encode(), self._tell)
        if self._seconds:
            await asyncio.sleep(self._seconds)
        return Done()

    def exhausted(self, held: HeldLanes, job: StoredJob, error: str, now: datetime, ids: Ids) -> None:
        pass

    def replay(
        self,
        held: HeldLanes,  # noqa: ARG002
        job: StoredJob,
        *,
        force: bool,  # noqa: ARG002
        now: datetime,  # noqa: ARG002
        ids: Ids,  # noqa: ARG002
    ) -> Replayed | ReplayRefused:
        return ReplayRefused(job.id, "it did nothing")

    def discarded(self, held: HeldLanes, job: StoredJob, now: datetime, ids: Ids) -> str | None:  # noqa: ARG002
        return None


def container(tell: str | None = None, seconds: float = 0.0) -> Container:
    """The product's container with the handler added."""
    made = Container(settings=load_settings(os.environ, purpose="worker"))
    made.handlers.override([*made.handlers(), Noop(tell, seconds)])
    return made


if __name__ == "__main__":
    _, *given = sys.argv
    asyncio.run(
        run_worker(container(given[0] if given else None, float(given[1]) if given[1:] else 0.0), ShutdownSignals())
    )
