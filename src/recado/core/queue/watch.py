"""How runs of jobs are seen from outside: how long they waited, how long they took, how they ended."""

from collections.abc import Iterator
from contextlib import contextmanager

from recado.core.clock import Clock
from recado.core.metrics import JOB_RUN, JOB_WAIT, JOBS, Meters
from recado.core.queue.job import Discard, Done, Job, JobResult, RetryIn


class JobWatch:
    """Times and counts the runs of one process."""

    def __init__(self, clock: Clock, meters: Meters) -> None:
        self._clock = clock
        self._meters = meters

    @contextmanager
    def running(self, job: Job) -> Iterator[None]:
        """Around one run, in a process of its own or here. Waiting is counted from when it was due, not made."""
        waited = self._clock.now() - job.due_at
        self._meters.time(JOB_WAIT, job.name, seconds=waited.total_seconds())
        begun = self._clock.monotonic()
        try:
            yield
        finally:
            self._meters.time(JOB_RUN, job.name, seconds=self._clock.monotonic() - begun)

    def ended(self, job: Job, result: JobResult) -> None:
        """Count how a run ended; to wait for something else is `again`, and no failure."""
        match result:
            case Done():
                how = "done"
            case Discard():
                how = "discarded"
            case RetryIn(counts=counts):
                how = "failed" if counts else "again"
        self._meters.count(JOBS, job.name, how)
