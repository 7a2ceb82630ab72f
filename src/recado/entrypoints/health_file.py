"""The sign of life of a worker: a file that it touches while its maintenance succeeds.

A worker listens on no port, so a supervisor that must know whether it is stuck looks at the age of this file. A worker
whose event loop hangs, or that has not reached its database for a while, stops touching it.
"""

import asyncio
from pathlib import Path
from typing import Final, Protocol

import structlog

from recado.core.clock import Clock

log = structlog.get_logger(__name__)

INTERVAL_SECONDS: Final = 5.0
STALE_SECONDS: Final = 30.0
"""The file is touched only if maintenance, which runs each second, succeeded within this time."""


class Steps(Protocol):
    """What tells when the last step of maintenance succeeded, on the monotonic clock."""

    @property
    def last_step(self) -> float | None: ...


class Watch(Protocol):
    """What tells the monotonic time."""

    def monotonic(self) -> float: ...


async def show_life(path: Path, maintenance: Steps, clock: Watch) -> None:
    """Touch the file at intervals until cancelled. A file that cannot be written is logged, and nothing else."""
    while True:
        last = maintenance.last_step
        if last is not None and clock.monotonic() - last < STALE_SECONDS:
            try:
                await asyncio.to_thread(path.touch, 0o600)  # A disk may hang, and with it only this sign.
            except OSError as error:
                log.error("worker.health_file_unusable", file=str(path), why=error.strerror)  # noqa: TRY400
        await asyncio.sleep(INTERVAL_SECONDS if last is not None else 0.2)


def age_of(path: Path, clock: Clock) -> float | None:
    """Return the seconds since a worker showed life, or None if it never did."""
    try:
        return max(0.0, clock.now().timestamp() - path.stat().st_mtime)
    except FileNotFoundError:
        return None
