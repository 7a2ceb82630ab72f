"""BullMQ's own Python client: a producer and a worker.

    python bench/rivals/bullmq_queue.py produce REDIS_URL COUNT CALLERS
    python bench/rivals/bullmq_queue.py consume REDIS_URL COUNT CONCURRENCY DONE_FILE

Its jobs are in Redis only. The worker is BullMQ's own; when COUNT jobs are done it makes the DONE_FILE.
"""

import asyncio
import sys
from pathlib import Path

from bullmq import Queue, Worker
from bullmq.job import Job

_, ROLE, URL, COUNT, PARALLEL, *REST = sys.argv
NAME = "bench"
OPTIONS = {"attempts": 1, "removeOnComplete": True, "removeOnFail": True}


async def produce() -> None:
    queue, numbers = Queue(NAME, {"connection": URL}), iter(range(int(COUNT)))

    async def call() -> None:
        for number in numbers:
            await queue.add("noop", {"number": number}, OPTIONS)

    await asyncio.gather(*(call() for _ in range(int(PARALLEL))))
    await queue.close()


async def consume(done: Path) -> None:
    left, over = int(COUNT), asyncio.Event()

    async def noop(_job: Job, _token: str) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            over.set()

    worker = Worker(NAME, noop, {"connection": URL, "concurrency": int(PARALLEL), "removeOnComplete": True})
    done.with_suffix(".ready").touch()
    await over.wait()
    done.touch()  # noqa: ASYNC240 - a file's name, once
    await worker.close()


if __name__ == "__main__":
    asyncio.run(produce() if ROLE == "produce" else consume(Path(REST[0])))
