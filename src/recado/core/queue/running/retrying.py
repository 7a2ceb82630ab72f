"""Store the result of an expensive call even when the database cannot take it at once.

A model's answer and a provider's reply cost money or cannot be had twice, so the write is tried again for as long as
the lease is held. When it is lost, the next worker runs the job, and further tries are pointless.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from recado.core.errors import Busy, StorageUnavailable
from recado.core.queue.job import Claim

log = structlog.get_logger(__name__)

T = TypeVar("T")

PAUSE_SECONDS = 0.5


async def retry_while_leased(claim: Claim, write: Callable[[], Awaitable[T]]) -> T:
    """Return the result of `write`. Raises `Busy` or `StorageUnavailable` only after the lease was lost."""
    while True:
        try:
            return await write()
        except (Busy, StorageUnavailable) as error:
            if claim.is_lost:
                raise
            log.warning("queue.write_tried_again", job=str(claim.job.id), error=str(error))
        await asyncio.sleep(PAUSE_SECONDS)
