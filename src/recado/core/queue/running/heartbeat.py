"""Extends the leases of a process from a thread of its own.

One batched update every third of a lease, even while the event loop or an agent blocks. A lease is never extended past
its run's time limit plus five seconds, so a run that hangs loses its job although its process lives.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from datetime import timedelta

import structlog

from recado.core.clock import Clock
from recado.core.database.engine import Database
from recado.core.errors import DomainError
from recado.core.queue.job import Claim
from recado.core.queue.storage import leases

log = structlog.get_logger(__name__)

GRACE = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class _Lease:
    claim: Claim
    end: float
    """On the monotonic clock: a clock that is set back gives no run more time."""
    loop: asyncio.AbstractEventLoop


class Heartbeat:
    """Extends the leases of the claims that it keeps."""

    def __init__(self, database: Database, clock: Clock, lease: timedelta) -> None:
        self._database = database
        self._clock = clock
        self._lease = lease
        self._leases: dict[object, _Lease] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.last_beat = clock.now()

    def keep(self, claim: Claim, time_limit: timedelta) -> Callable[[], None]:
        """Extend a claim's lease until the returned function is called. The claim is told when the lease is lost."""
        key = (claim.job.id, claim.token)
        with self._lock:
            end = self._clock.monotonic() + (time_limit + GRACE).total_seconds()
            self._leases[key] = _Lease(claim, end, asyncio.get_running_loop())
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="recado-heartbeat", daemon=True)
                self._thread.start()

        def forget() -> None:
            with self._lock:
                self._leases.pop(key, None)

        return forget

    def close(self) -> None:
        """Stop the thread."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._lease.total_seconds() / 3):
            try:
                self.beat()
            except (DomainError, FutureTimeout) as error:
                log.warning("queue.heartbeat_failed", error=str(error))
            except Exception:
                log.exception("queue.heartbeat_failed")

    def beat(self) -> None:
        """Extend every lease once."""
        with self._lock:
            kept = list(self._leases.values())
        now, at = self._clock.now(), self._clock.monotonic()
        rows = [
            (lease.claim.job.id, lease.claim.token, now + min(self._lease, timedelta(seconds=lease.end - at)))
            for lease in kept
        ]
        if rows:
            held = self._database.write_from_thread(lambda uow: leases.extend_leases(uow, rows)).result(
                timeout=self._lease.total_seconds()
            )
            for lease, (_, _, until) in zip(kept, rows, strict=True):
                if lease.claim.job.id not in held:
                    lease.loop.call_soon_threadsafe(lease.claim.lose)
                elif held[lease.claim.job.id]:
                    lease.claim.extend(until)
        self.last_beat = now
