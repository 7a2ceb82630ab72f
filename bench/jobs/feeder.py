"""Stores jobs that do nothing: many at once, one after the other, or a few a second until it is stopped."""

import asyncio
import random
import socket
import time
from uuid import UUID

from jobs.worker import NAME, container
from recado.bootstrap import Container
from recado.core.queue.job import NewJob

OWNER = UUID(int=1)


def job(made: Container, owner: UUID = OWNER) -> NewJob:
    """One that is due now."""
    now = made.clock().now()
    return NewJob(id=made.ids().new(), name=NAME, owner_id=owner, created_at=now, due_at=now)


async def feed(per_second: float) -> None:
    made = container()
    while True:
        await made.queue().enqueue([job(made)])
        await asyncio.sleep(1 / per_second)


async def store_all(jobs: int, callers: int) -> None:
    """As many callers at once, one job a call."""
    made = container()
    queue, numbers = made.queue(), iter(range(jobs))

    async def call() -> None:
        for _ in numbers:
            await queue.enqueue([job(made)])

    await asyncio.gather(*(call() for _ in range(callers)))
    await made.database().close()


async def one_by_one(told: socket.socket, samples: int) -> list[float]:
    """Milliseconds from storing a job to its start, which the worker tells; pauses are of random length."""
    made, chance, taken = container(), random.Random(7), []
    for number in range(samples + 5):
        one = job(made)
        stored = time.monotonic_ns()
        await made.queue().enqueue([one])
        started = int((await asyncio.to_thread(told.recv, 64)).split()[0])
        if number >= 5:  # The first ones warm up.
            taken.append((started - stored) / 1e6)
        await asyncio.sleep(0.02 + 0.04 * chance.random())
    await made.database().close()
    return taken
