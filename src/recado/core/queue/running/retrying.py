"""Stores what a run has cost something to learn, even if the database cannot take it at once.

A model's answer and a provider's word are not to be had twice for nothing: as long as the lease is held, the write is
tried again. When the lease is lost the next holder finds out by itself, and there is no point in trying any more.
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
    """What `write` gives; raises `Busy` or `StorageUnavailable` only when the lease was lost meanwhile."""
    while True:
        try:
            return await write()
        except (Busy, StorageUnavailable) as error:
            if claim.is_lost:
                raise
            log.warning("queue.write_tried_again", job=str(claim.job.id), error=str(error))
        await asyncio.sleep(PAUSE_SECONDS)
