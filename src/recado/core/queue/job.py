"""A job, what running it may end in, and what a handler is.

The row in `message_queue` is the job; everything a broker carries is a bell. Payloads hold ids only.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, Protocol, TypeAlias
from uuid import UUID

from recado.core.database.types import JsonValue
from recado.core.database.unit_of_work import UnitOfWork

Status: TypeAlias = Literal["collecting", "waiting", "running", "done", "dead", "discarded"]

MAX_CRASHES = 10
"""Leases that ran out, whoever's fault, after which even a job that never died alone is given up."""

ISOLATED_AT_ONCE = 4
"""How many jobs a worker runs isolated at one time."""


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to be stored. Without a lane it waits for nobody; with one, it runs after the older jobs of its lane."""

    id: UUID
    name: str
    owner_id: UUID
    created_at: datetime
    due_at: datetime
    lane: str | None = None
    message_sid: str | None = None
    payload: Mapping[str, JsonValue] = field(default_factory=dict)
    priority: int = 5
    window_ends_at: datetime | None = None
    turn_id: UUID | None = None
    max_attempts: int = 3
    collecting: bool = False
    trace: str | None = None


@dataclass(slots=True, eq=False)
class Job:
    """A claimed job. `attempts` counts failures a worker reported, `crashes` leases that ran out before this claim.

    `newer_message` is set when a newer job of the same lane has come, `lost` when another worker holds the lease now.
    `leased_until` is the lease's end as far as this process has been told.
    """

    id: UUID
    name: str
    owner_id: UUID
    lane: str
    payload: JsonValue
    message_sid: str | None
    turn_id: UUID | None
    attempts: int
    max_attempts: int
    crashes: int
    crashes_alone: int
    created_at: datetime
    due_at: datetime
    lease_token: UUID
    leased_until: datetime
    status: Status = "running"
    last_error: str | None = None
    trace: str | None = None
    newer_message: asyncio.Event = field(default_factory=asyncio.Event)
    lost: asyncio.Event = field(default_factory=asyncio.Event)

    def may_be_lost(self, now: datetime) -> bool:
        """Whether somebody else may have it by now: so it is when this process stood still, before it hears of it."""
        return self.lost.is_set() or now >= self.leased_until

    @property
    def isolated(self) -> bool:
        """A lease of it ran out before: it may have killed its worker, so it runs in a process of its own."""
        return self.crashes > 0

    @property
    def give_up_reason(self) -> str | None:
        """Why it must not be started again, or None."""
        if self.attempts >= self.max_attempts:
            return self.last_error or "its attempts are used up"
        if self.crashes_alone >= self.max_attempts:
            return f"it killed the process that ran it alone {self.crashes_alone} times"
        if self.crashes >= MAX_CRASHES:
            return f"its lease ran out {self.crashes} times"
        return None


@dataclass(frozen=True, slots=True)
class Done:
    """It is finished. `recorded`: the handler ended the row in its own transaction (see `endings.complete`)."""

    recorded: bool = False


@dataclass(frozen=True, slots=True)
class RetryIn:
    """Again after `delay`. `counts` is False when it is waiting, not failing: then no attempt is used up."""

    delay: timedelta
    error: str = ""
    counts: bool = True


@dataclass(frozen=True, slots=True)
class Discard:
    """Nobody wants it any more; no dead letter is made."""

    reason: str


JobResult: TypeAlias = Done | RetryIn | Discard


@dataclass(frozen=True, slots=True)
class LeaseLost:
    """The row belongs to another worker now (or is finished); nothing was changed."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """A dead letter was started again; `by` is the new job."""

    job_id: UUID
    by: UUID


@dataclass(frozen=True, slots=True)
class ReplayRefused:
    """A dead letter was not started again, and why."""

    job_id: UUID
    why: str


class Handler(Protocol):
    """Runs the jobs of one name. It may be run twice for one job: its own rows decide what is still to be done."""

    @property
    def name(self) -> str: ...

    @property
    def time_limit(self) -> timedelta:
        """The longest one run may take; five seconds later its lease is allowed to end."""
        ...

    async def run(self, job: Job) -> JobResult: ...

    def exhausted(self, uow: UnitOfWork, job: Job, error: str) -> None:
        """Settle a job that is given up, in the transaction that buries it."""
        ...

    def replay(self, uow: UnitOfWork, job: Job, *, force: bool) -> Replayed | ReplayRefused:
        """Start a dead letter again, as a new job."""
        ...

    def discarded(self, uow: UnitOfWork, job: Job) -> str | None:
        """Settle what a person discards before it ran; a text refuses, and says why."""
        ...
