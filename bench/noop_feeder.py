"""Stores jobs that do nothing, a few a second, until it is stopped."""

import asyncio
from uuid import UUID

from noop_worker import NAME, container
from recado.bootstrap import Container
from recado.core.queue.job import NewJob

OWNER = UUID(int=1)


def job(made: Container) -> NewJob:
    """One that is due now."""
    now = made.clock().now()
    return NewJob(id=made.ids().new(), name=NAME, owner_id=OWNER, created_at=now, due_at=now)


async def feed(per_second: float) -> None:
    made = container()
    while True:
        await made.queue().enqueue([job(made)])
        await asyncio.sleep(1 / per_second)
