"""Endpoints of an owner's programs, the deliveries to them, and the rules of trying again."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal, TypeAlias
from uuid import UUID

from recado.core.event_log.models import EventType
from recado.core.queue.lane import Lane

DeliveryState: TypeAlias = Literal["waiting", "delivered", "failed", "cancelled"]
DisabledReason: TypeAlias = Literal["failing", "gone", "by_person"]
EndpointState: TypeAlias = Literal["on", "failing", "off"]

AT_ONCE: Final = 4
"""How many customers' events an endpoint is sent at one time."""
TRIED_FOR: Final = timedelta(days=3)
"""How long a delivery is tried. After that it is given up, and so is an endpoint that has taken nothing for as long."""
BREAKS_AFTER: Final = 5
"""So many failures in a row open the breaker: nothing is sent then but one trial from time to time."""
MOST_ENDPOINTS: Final = 20
OLD_SECRET_FOR: Final = timedelta(hours=24)
"""How long the secret before a rotation signs, too."""
MOST_WAITING: Final = 2_000
"""No more deliveries are made for an endpoint while so many wait, for another try or behind one that does."""
MOST_COUNTED: Final = 100
"""How many of one customer count at most, so that a customer whose events are refused holds up nobody else's."""

_DELAYS: Final = tuple(timedelta(seconds=seconds) for seconds in (5, 30, 120, 600, 1_800, 3_600))
_FIRST_BREAK: Final = timedelta(seconds=30)
_LONGEST_BREAK: Final = timedelta(minutes=15)


def break_after(failures: int) -> timedelta | None:
    """Return for how long the breaker opens after so many failures in a row; None while it stays closed."""
    if failures < BREAKS_AFTER:
        return None
    return min(_FIRST_BREAK * 2.0 ** min(failures - BREAKS_AFTER, 10), _LONGEST_BREAK)


def delay_after(attempts: int, failures: int) -> timedelta:
    """Return how long to wait after so many attempts: seconds at first, an hour in the end.

    While the endpoint takes nothing at all it is no longer than the breaker is open, so that there is a trial then.
    """
    delay = _DELAYS[min(attempts, len(_DELAYS)) - 1]
    return min(delay, break_after(failures) or delay)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where an owner's events are sent."""

    id: UUID
    owner_id: UUID
    url: str
    types: Sequence[EventType] | None
    allow_private: bool
    secret_sealed: bytes = field(repr=False)
    previous_secret_sealed: bytes | None = field(default=None, repr=False)
    previous_until: datetime | None = None
    position: int
    failures: int = 0
    failing_since: datetime | None = None
    open_until: datetime | None = None
    disabled_at: datetime | None = None
    disabled_reason: DisabledReason | None = None
    created_at: datetime
    created_by: str

    def wants(self, type_: EventType) -> bool:
        """Return whether it is sent events of a type."""
        return self.types is None or type_ in self.types

    @property
    def state(self) -> EndpointState:
        """Whether events are sent, only trials from time to time, or nothing."""
        if self.disabled_at is not None:
            return "off"
        return "failing" if self.is_broken() else "on"

    def is_broken(self) -> bool:
        """Return whether it has failed so often in a row that only trials are sent."""
        return self.failures >= BREAKS_AFTER

    def resumes_at(self, now: datetime) -> datetime | None:
        """Return until when nothing may be sent, None when something may be sent now."""
        if not self.is_broken() or self.open_until is None or self.open_until <= now:
            return None
        return self.open_until

    def has_failed_for_good(self, now: datetime) -> bool:
        """Return whether it has taken nothing for as long as a delivery is tried."""
        return self.failing_since is not None and now - self.failing_since >= TRIED_FOR


@dataclass(frozen=True, slots=True)
class PostResult:
    """How an attempt ended: the status of the answer, or why there was none."""

    status: int | None
    error: str | None = None
    retry_after: timedelta = timedelta()

    @property
    def is_taken(self) -> bool:
        """Whether the endpoint has taken the event."""
        return self.status is not None and 200 <= self.status < 300


@dataclass(frozen=True, slots=True, kw_only=True)
class EventDelivery:
    """An event on its way to an endpoint."""

    id: UUID
    owner_id: UUID
    endpoint_id: UUID
    event_id: UUID
    type: EventType
    lane: Lane
    state: DeliveryState = "waiting"
    attempts: int = 0
    status: int | None = None
    error: str | None = None
    created_at: datetime
    tried_since: datetime | None = None
    updated_at: datetime

    def is_given_up(self, now: datetime) -> bool:
        """Return whether it has been tried for long enough."""
        return self.tried_since is not None and now - self.tried_since >= TRIED_FOR


@dataclass(frozen=True, slots=True)
class WaitingLane:
    """What waits to be sent of one customer's events. `has_failed`: the first one was tried and not taken."""

    has_failed: bool
    count: int
