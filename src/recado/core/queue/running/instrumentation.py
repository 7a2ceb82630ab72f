"""Metrics and traces of job runs: how long they waited and took, how they ended, which trace they belong to."""

from collections.abc import Iterator
from contextlib import contextmanager

from recado.core.clock import Clock
from recado.core.metrics import JOB_RUN, JOB_WAIT, JOBS, Meters
from recado.core.queue.job import Claim, Discard, Done, JobResult, RetryIn, StoredJob
from recado.core.tracing import JOB, NoTraces, Span, Traces


class JobInstrumentation:
    """Measures and traces the runs of one process."""

    def __init__(self, clock: Clock, meters: Meters, traces: Traces | None = None) -> None:
        self._clock = clock
        self._meters = meters
        self._traces = traces or NoTraces()

    @contextmanager
    def running(self, job: StoredJob) -> Iterator[None]:
        """Measure one run, isolated or here. The wait counts from the due time, not from the creation of the job."""
        waited = self._clock.now() - job.due_at
        self._meters.time(JOB_WAIT, job.name, seconds=waited.total_seconds())
        begun = self._clock.monotonic()
        try:
            yield
        finally:
            self._meters.time(JOB_RUN, job.name, seconds=self._clock.monotonic() - begun)

    @contextmanager
    def traced(self, claim: Claim) -> Iterator[tuple[Claim, Span]]:
        """Trace one run, in the process that runs it. Jobs that the run makes go on from the claim that is given."""
        job = claim.job
        begun = self._traces.begin(
            f"{JOB} {job.name}",
            "consumer",
            job.trace,
            job=str(job.id),
            owner=str(job.owner_id),
            attempts=job.attempts,
            crashes=job.crashes,
            waited_seconds=(self._clock.now() - job.due_at).total_seconds(),
        )
        with begun as span:
            yield claim.with_trace(span.traceparent or job.trace), span

    def ended(self, job: StoredJob, result: JobResult, span: Span) -> None:
        """Count how a run ended and note it in the span. A wait for something else is `again`, not a failure."""
        match result:
            case Done():
                how = "done"
            case Discard():
                how = "discarded"
            case RetryIn(counts=counts):
                how = "failed" if counts else "again"
        self._meters.count(JOBS, job.name, how)
        span.note(result=how)
