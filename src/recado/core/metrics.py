"""Counters and timers of this process, as plain numbers in memory.

Counting happens on the path of every message and in the writer's thread, so it is an addition under a lock and nothing
else; the library that writes Prometheus' text format takes up to a third of a second to import and is loaded when
somebody asks (`operations/exposition.py`). What happened in a transaction is counted after its commit:
`UnitOfWork.count`.

The values of a label are few and known beforehand: states, statuses, names of jobs, accounts that are stored. No phone
number, name or text is ever one, or a single customer could be recognised on a dashboard.
"""

import threading
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

Labels: TypeAlias = tuple[str, ...]

SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
"""Upper bounds of the buckets. They reach the answer deadline, so that both a fast send and an agent at its limit are
visible."""


@dataclass(frozen=True, slots=True)
class Counter:
    """An event that is counted. The series of `known` labels begin at 0, so that their first event shows as a rise."""

    name: str
    help: str
    labels: Labels = ()
    known: tuple[Labels, ...] = ()


@dataclass(frozen=True, slots=True)
class Histogram:
    """A duration in seconds."""

    name: str
    help: str
    labels: Labels = ()


@dataclass(slots=True)
class Timed:
    """The durations seen so far, counted in one bucket for each upper bound of `SECONDS` and one beyond."""

    buckets: list[int] = field(default_factory=lambda: [0] * (len(SECONDS) + 1))
    total: float = 0.0


WEBHOOKS = Counter("recado_webhook_answers", "Answers given to Twilio, by endpoint and status", ("endpoint", "status"))
FORBIDDEN = Counter(
    "recado_webhook_forbidden",
    "Webhooks refused with 403, by the stored account whose token did not fit; all others are unknown",
    ("account",),
    (("unknown",),),
)
ACCEPTED = Counter("recado_messages_accepted", "Inbound messages stored, repeated ones not counted", (), ((),))
OUTCOMES = Counter(
    "recado_outcomes",
    "Outcomes written, by outcome and reason; a later change counts again",
    ("outcome", "reason"),
    tuple((outcome, "") for outcome in ("answered", "superseded", "handed_off", "apologised")),
)
JOBS = Counter("recado_job_runs", "Runs of jobs, by job and how they ended", ("kind", "result"))
DEAD = Counter("recado_dead_letters_made", "Jobs given up", ("kind",), (("conversation.reply",), ("answer.send",)))
AGENT_RUNS = Counter(
    "recado_agent_runs",
    "Runs of agents, by result; interrupted ones were overtaken by a newer message or lost their lease",
    ("result",),
    (("reply",), ("hand_off",), ("no_reply",), ("failed",), ("interrupted",)),
)
SENDS = Counter(
    "recado_send_attempts",
    "Attempts to send that came into a state; sending counts the attempts begun",
    ("state",),
    (("sending",), ("accepted",), ("refused",), ("retry",), ("unknown",), ("absent",), ("unconfirmed",)),
)
REFUSED = Counter(
    "recado_connections_refused",
    "Connections closed before the application heard of their request, or with their answer unread, by reason",
    ("reason",),
    tuple(
        (reason,)
        for reason in ("head", "body", "malformed", "silent", "slow", "crowded", "memory", "pipelined", "unread")
    ),
)

JOB_WAIT = Histogram("recado_job_wait_seconds", "From a job's due time to the start of its run", ("kind",))
JOB_RUN = Histogram("recado_job_run_seconds", "From a job's claim to the end of its run", ("kind",))
AGENT_RUN = Histogram("recado_agent_run_seconds", "How long runs of agents took, by result", ("result",))

COUNTERS: Final = (WEBHOOKS, FORBIDDEN, ACCEPTED, OUTCOMES, JOBS, DEAD, AGENT_RUNS, SENDS, REFUSED)
HISTOGRAMS: Final = (JOB_WAIT, JOB_RUN, AGENT_RUN)


class Meters:
    """The counters and timers of one process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counted: dict[Counter, dict[Labels, float]] = {each: dict.fromkeys(each.known, 0.0) for each in COUNTERS}
        self._timed: dict[Histogram, dict[Labels, Timed]] = {each: {} for each in HISTOGRAMS}

    def count(self, counter: Counter, *labels: str, by: float = 1.0) -> None:
        """Add `by` to a counter."""
        with self._lock:
            series = self._counted[counter]
            series[labels] = series.get(labels, 0.0) + by

    def time(self, histogram: Histogram, *labels: str, seconds: float) -> None:
        """Record a duration. Clocks of two machines may disagree, so a negative one counts as zero."""
        seconds = max(0.0, seconds)
        with self._lock:
            timed = self._timed[histogram].setdefault(labels, Timed())
            timed.buckets[bisect_left(SECONDS, seconds)] += 1
            timed.total += seconds

    def counted(self) -> Mapping[Counter, Mapping[Labels, float]]:
        """Return all counters."""
        with self._lock:
            return {counter: dict(series) for counter, series in self._counted.items()}

    def timed(self) -> Mapping[Histogram, Mapping[Labels, Timed]]:
        """Return all durations."""
        with self._lock:
            return {
                histogram: {labels: Timed(list(timed.buckets), timed.total) for labels, timed in series.items()}
                for histogram, series in self._timed.items()
            }
