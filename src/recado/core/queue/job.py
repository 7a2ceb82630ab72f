"""Jobs, claims of them, the results of a run, and the port of the handlers.

The row in `message_queue` is the job; a broker carries wake-ups only. Payloads hold ids only.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal, Protocol, TypeAlias
from uuid import UUID

from recado.core.database.types import JsonValue
from recado.core.ids import Ids
from recado.core.queue.lane import HeldLanes, Lane, LaneKind, job_lane

Status: TypeAlias = Literal["collecting", "waiting", "running", "done", "dead", "discarded"]

MAX_CRASHES = 10
"""After so many ended leases a job is given up, even if it never killed a process that ran it alone."""

MAX_FAULTS = 3
"""So many unexpected exceptions end a job without a limit of attempts. They are counted over its whole life: a fault
that shows in every second run would never make a row of three."""

BACKGROUND_PRIORITY = 8
"""The priority of jobs for which no customer waits, such as events on their way to an owner's programs. They never take
the last half of a worker's slots."""

ISOLATED_AT_ONCE = 4
"""How many jobs a worker runs isolated at one time."""


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to be stored. It runs after the older jobs of its lane; without a lane it gets one of its own.

    The payload names by id what the job is about. `max_attempts` is None when something else limits it.
    """

    id: UUID
    name: str
    owner_id: UUID
    created_at: datetime
    due_at: datetime
    lane: Lane | None = None
    kind: LaneKind = "job"
    message_sid: str | None = None
    payload: Mapping[str, JsonValue] = field(default_factory=dict)
    priority: int = 5
    window_ends_at: datetime | None = None
    turn_id: UUID | None = None
    max_attempts: int | None = 3
    collecting: bool = False
    trace: str | None = None

    @property
    def in_lane(self) -> Lane:
        """The lane in which it runs."""
        return job_lane(self.id) if self.lane is None else self.lane


@dataclass(frozen=True, slots=True)
class StoredJob:
    """A row of `message_queue` as it was read.

    `attempts` counts failed runs, also where nothing limits them; `crashes` leases that ran out; `crashes_alone` deaths
    of a process that ran only this job; `faults` those failed runs that ended in an unexpected exception.
    """

    id: UUID
    name: str
    owner_id: UUID
    lane: Lane
    payload: Mapping[str, JsonValue]
    message_sid: str | None
    turn_id: UUID | None
    attempts: int
    max_attempts: int | None
    crashes: int
    crashes_alone: int
    faults: int
    created_at: datetime
    due_at: datetime
    status: Status
    priority: int = 5
    last_error: str | None = None
    trace: str | None = None

    @property
    def has_own_lane(self) -> bool:
        """Whether its lane was made for it alone."""
        return self.lane == job_lane(self.id)

    @property
    def isolated(self) -> bool:
        """Whether it runs in a process of its own, because a lease of it has ended before its run did."""
        return self.crashes > 0

    @property
    def max_crashes_alone(self) -> int:
        """How often it may kill a process that runs nothing else."""
        return MAX_CRASHES if self.max_attempts is None else self.max_attempts

    @property
    def in_background(self) -> bool:
        """Whether no customer waits for it."""
        return self.priority == BACKGROUND_PRIORITY

    @property
    def give_up_reason(self) -> str | None:
        """Why it must not be started again, or None."""
        if self.max_attempts is not None and self.attempts >= self.max_attempts:
            return self.last_error or "its attempts are used up"
        if self.crashes_alone >= self.max_crashes_alone:
            return f"it killed the process that ran it alone {self.crashes_alone} times"
        if self.crashes >= MAX_CRASHES:
            return f"its lease ran out {self.crashes} times"
        return None


@dataclass(slots=True, eq=False)
class _LeaseState:
    """What this process knows of a lease; shared by all views of one claim."""

    until: datetime
    lost: asyncio.Event = field(default_factory=asyncio.Event)
    newer_message: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True, slots=True, eq=False)
class Claim:
    """A job that this process has leased under `token`.

    The worker and its heartbeat report to it what happens to the lease meanwhile; the handler that runs it reads that.
    """

    job: StoredJob
    token: UUID
    _lease: _LeaseState

    @classmethod
    def of(cls, job: StoredJob, token: UUID, leased_until: datetime) -> "Claim":
        """Return the claim of a job that was just leased until a moment."""
        return cls(job, token, _LeaseState(leased_until))

    def with_trace(self, trace: str | None) -> "Claim":
        """Return a view of the same claim whose job carries another trace."""
        return replace(self, job=replace(self.job, trace=trace))

    # --- Reported by the worker and its heartbeat ---------------------------------------------------------------------

    def extend(self, until: datetime) -> None:
        """The lease was extended."""
        self._lease.until = until

    def lose(self) -> None:
        """Another worker holds the job now, or it has ended."""
        self._lease.lost.set()

    def notify_newer_message(self) -> None:
        """A newer job of the same lane has come."""
        self._lease.newer_message.set()

    # --- Read by handlers ---------------------------------------------------------------------------------------------

    @property
    def leased_until(self) -> datetime:
        """The end of the lease as far as this process has been told."""
        return self._lease.until

    @property
    def is_lost(self) -> bool:
        return self._lease.lost.is_set()

    @property
    def has_newer_message(self) -> bool:
        return self._lease.newer_message.is_set()

    async def until_lost(self) -> None:
        """Return when the lease is lost."""
        await self._lease.lost.wait()

    async def until_newer_message(self) -> None:
        """Return when a newer job of the same lane has come."""
        await self._lease.newer_message.wait()

    def newer_message_joined(self) -> None:
        """The newer job's messages are part of this run now; wait for the next one."""
        self._lease.newer_message.clear()

    def may_be_lost(self, now: datetime) -> bool:
        """Return whether another worker may hold the job by now: also true after this process stood still."""
        return self.is_lost or now >= self.leased_until


@dataclass(frozen=True, slots=True)
class Done:
    """The job is finished. `recorded`: the handler ended the row in its own transaction (see `endings.complete`)."""

    recorded: bool = False


@dataclass(frozen=True, slots=True)
class RetryIn:
    """Run again after `delay`. `counts` is False for a wait that is no failure: it uses up no attempt.

    `unexpected` is True for an exception that the handler did not foresee (see `MAX_FAULTS`).
    """

    delay: timedelta
    error: str = ""
    counts: bool = True
    unexpected: bool = False


@dataclass(frozen=True, slots=True)
class Discard:
    """The job is not wanted any more. No dead letter is made."""

    reason: str


JobResult: TypeAlias = Done | RetryIn | Discard


@dataclass(frozen=True, slots=True)
class LeaseLost:
    """Another worker holds the job, or it has ended. Nothing was changed."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """A dead letter was started again; `by` is the new job."""

    job_id: UUID
    by: UUID


@dataclass(frozen=True, slots=True)
class ReplayRefused:
    """A dead letter was not started again, for this reason."""

    job_id: UUID
    why: str


class Handler(Protocol):
    """Runs the jobs of one name. It may be run twice for one job: its own rows decide what is still to be done.

    The methods besides `run` are called inside a unit of work that holds the job's lane. Time and ids are handed in:
    a unit of work may run twice, and then makes the same ids.
    """

    @property
    def name(self) -> str: ...

    @property
    def time_limit(self) -> timedelta:
        """The longest that one run may take. Five seconds later its lease ends."""
        ...

    async def run(self, claim: Claim) -> JobResult:
        """Run a claimed job. An exception counts as a failure."""
        ...

    def exhausted(self, held: HeldLanes, job: StoredJob, error: str, now: datetime, ids: Ids) -> None:
        """Settle a job that is given up, in the transaction that makes it a dead letter."""
        ...

    def replay(
        self, held: HeldLanes, job: StoredJob, *, force: bool, now: datetime, ids: Ids
    ) -> Replayed | ReplayRefused:
        """Start a dead letter again, as a new job."""
        ...

    def discarded(self, held: HeldLanes, job: StoredJob, now: datetime, ids: Ids) -> str | None:
        """Settle a job that a person discards before it ran. Return the reason to refuse that, or None."""
        ...
