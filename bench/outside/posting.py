"""Webhooks that come at their times, whether earlier ones were answered or not, each on a connection of its own."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass

from outside.signed import Webhook

PATIENCE = 30.0


@dataclass(frozen=True, slots=True)
class Posted:
    """How long each webhook waited for its answer in seconds, how many were refused, and how late the client was."""

    waits: list[float]
    refused: int
    late: float


async def keep_posting(port: int, made: Iterator[Webhook], seconds: float, per_second: float) -> Posted:
    """Post for so long. A wait is from connecting to the head of the answer."""
    begun, late = time.perf_counter(), 0.0
    tasks = []
    for number in range(int(seconds * per_second)):
        due = begun + number / per_second
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        late = max(late, time.perf_counter() - due)
        tasks.append(asyncio.create_task(_answered(port, next(made))))
    results = await asyncio.gather(*tasks)
    return Posted([took for took, _ in results], sum(not good for _, good in results), late)


async def _answered(port: int, webhook: Webhook) -> tuple[float, bool]:
    begun = time.perf_counter()
    try:
        async with asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(webhook.request(port))
            head = await reader.readuntil(b"\r\n\r\n")
            good = b" 200 " in head.split(b"\r\n", 1)[0]
            writer.close()
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        good = False
    return time.perf_counter() - begun, good
