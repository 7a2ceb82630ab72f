"""Deliver one event to one endpoint: the handler of the jobs that `fanout` makes.

    sent        2xx: the delivery is over, and the endpoint is well
    failed      anything else: it is tried again later, for three days
    gone        410: the endpoint is switched off
    broken      the endpoint has failed five times in a row: one delivery tries it from time to time, the others wait
    off         what is on its way waits until the endpoint is switched on, or removed, or the event is deleted

An endpoint that has taken nothing for three days is switched off. What happens to an endpoint is written in the
transaction that ends the run.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, Protocol

import structlog

from recado.core.clock import Clock
from recado.core.database.engine import Database
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.event_log.models import DELIVER, Event, NewEvent
from recado.core.event_log.reading import Events
from recado.core.event_log.repository import append
from recado.core.ids import Chance, Ids, jittered
from recado.core.queue.job import Claim, Done, JobResult, Replayed, ReplayRefused, RetryIn, StoredJob
from recado.core.queue.lane import HeldLanes, job_lane
from recado.core.queue.storage import endings
from recado.core.queue.transactions import LaneTransaction, Transactions, UnlockedTransaction
from recado.events.fanout import Fanout
from recado.events.models import (
    AT_ONCE,
    DeliveryState,
    DisabledReason,
    Endpoint,
    EventDelivery,
    PostResult,
    break_after,
    delay_after,
)
from recado.events.repository import Deliveries, Endpoints
from recado.identity.keys import KeyRing

log = structlog.get_logger(__name__)

SECRET: Final = "event_endpoints.secret"  # noqa: S105 - the name of a column
_GONE: Final = 410
_MOST_PATIENCE: Final = timedelta(hours=1)
"""The longest that an endpoint's Retry-After is followed."""
_WHILE_OFF: Final = timedelta(hours=6)
"""How long to wait before looking again whether an endpoint was switched on. Switching it on tells, too."""


@dataclass(frozen=True, slots=True)
class _Ready:
    """What is to be sent, and where to."""

    endpoint: Endpoint
    event: Event
    secrets: list[str] = field(repr=False)
    place: int
    """How many of the endpoint's jobs were claimed before this one and run."""


@dataclass(frozen=True, slots=True)
class _Nothing:
    """Nothing is to be sent any more."""

    why: str


class Posting(Protocol):
    """Sends an event to an endpoint."""

    async def post(self, endpoint: Endpoint, event: Event, secrets: Sequence[str]) -> PostResult:
        """Return how it ended. Every failure is a value."""
        ...


class EventDeliveryHandler:
    """Sends events."""

    name = DELIVER
    time_limit = timedelta(seconds=30)

    def __init__(
        self,
        database: Database,
        clock: Clock,
        ids: Ids,
        chance: Chance,
        keys: Callable[[], KeyRing],
        poster: Posting,
        fanout: Fanout,
        tell_disabled: Callable[[LaneTransaction, Endpoint], None] = lambda _tx, _endpoint: None,
    ) -> None:
        """`tell_disabled` tells the owner's people of an endpoint that was switched off."""
        self._tell_disabled = tell_disabled
        self._database = database
        self._clock = clock
        self._chance = chance
        self._keys = keys
        self._poster = poster
        self._fanout = fanout
        self._transactions = Transactions(database, clock, ids)

    async def run(self, claim: Claim) -> JobResult:
        owner_id = claim.job.owner_id
        ready = await self._database.read(lambda uow: self._ready(uow, claim.job), owner=owner_id)
        if isinstance(ready, _Nothing):
            return await self._cancel(claim, ready.why)
        endpoint, now = ready.endpoint, self._clock.now()
        if endpoint.disabled_at is not None:
            return RetryIn(_WHILE_OFF, counts=False)
        if ready.place >= AT_ONCE:
            return RetryIn(self._soon(1.0), counts=False)
        resumes_at = endpoint.resumes_at(now)
        if resumes_at is not None:
            return RetryIn(resumes_at - now + self._soon(5.0), counts=False)
        if endpoint.is_broken() and not await self._begins_trial(endpoint):
            return RetryIn(self.time_limit, counts=False)
        answered = await self._poster.post(endpoint, ready.event, ready.secrets)
        await self._transactions.write(
            lambda tx: self._store(tx, claim, endpoint, answered), owner=owner_id, urgent=True
        )
        await self._fanout.advance(owner_id, endpoint.id)
        return Done(recorded=True)

    def exhausted(self, held: HeldLanes, job: StoredJob, error: str, now: datetime, ids: Ids) -> None:  # noqa: ARG002
        """Give the delivery up."""
        Deliveries(held.uow.for_owner(job.owner_id)).end(job.id, "failed", now, error[:200])

    def replay(
        self,
        held: HeldLanes,  # noqa: ARG002
        job: StoredJob,
        *,
        force: bool,  # noqa: ARG002
        now: datetime,  # noqa: ARG002
        ids: Ids,  # noqa: ARG002
    ) -> Replayed | ReplayRefused:
        return ReplayRefused(job.id, "an event is sent again by `recado events replay`")

    def discarded(self, held: HeldLanes, job: StoredJob, now: datetime, ids: Ids) -> str | None:  # noqa: ARG002
        Deliveries(held.uow.for_owner(job.owner_id)).end(job.id, "cancelled", now, "discarded")
        return None

    def _ready(self, uow: UnitOfWork, job: StoredJob) -> _Ready | _Nothing:
        """Return what is to be sent, or why nothing is."""
        deliveries = Deliveries(uow)
        delivery = deliveries.get(job.id)
        if delivery is None or delivery.state != "waiting":
            return _Nothing("the delivery is over")
        endpoint = Endpoints(uow).get(delivery.endpoint_id)
        if endpoint is None:
            return _Nothing("the endpoint was removed")
        event = Events(uow).numbered(delivery.event_id)
        if event is None:
            return _Nothing("the event was deleted")
        running = deliveries.running(endpoint.id)
        place = running.index(job.id) if job.id in running else len(running)
        return _Ready(endpoint, event, self._secrets(uow, endpoint), place)

    def _secrets(self, uow: UnitOfWork, endpoint: Endpoint) -> list[str]:
        """Return the secrets that sign: the one before a rotation too, for a day."""
        sealer = self._keys().of(uow, endpoint.owner_id).sealer
        sealed = [endpoint.secret_sealed]
        until = endpoint.previous_until
        if endpoint.previous_secret_sealed is not None and until is not None and self._clock.now() < until:
            sealed.append(endpoint.previous_secret_sealed)
        return [sealer.open(each, owner=endpoint.owner_id, field=SECRET) for each in sealed]

    async def _begins_trial(self, endpoint: Endpoint) -> bool:
        now = self._clock.now()
        return await self._database.write(
            lambda uow: Endpoints(uow).begin_trial(endpoint.id, now, now + self.time_limit), owner=endpoint.owner_id
        )

    async def _cancel(self, claim: Claim, why: str) -> JobResult:
        def work(tx: LaneTransaction) -> None:
            deliveries = Deliveries(tx.uow)
            delivery = deliveries.get(claim.job.id)
            if delivery is not None and delivery.state == "waiting":
                deliveries.end(delivery.id, "cancelled", tx.now, why)
            endings.complete(tx.held, claim, tx.now, status="discarded", error=why)

        await self._transactions.write_job(claim, work)
        return Done(recorded=True)

    # --- How an attempt ended -----------------------------------------------------------------------------------------

    def _store(self, tx: UnlockedTransaction, claim: Claim, endpoint: Endpoint, answered: PostResult) -> None:
        """Lock the endpoint before the lane, as `fanout` does, unless nothing of it is to be changed."""
        if endpoint.failures or not answered.is_taken:
            Endpoints(tx.uow).held(endpoint.id)
        self._record(tx.hold(claim.job.lane), claim, answered)

    def _record(self, tx: LaneTransaction, claim: Claim, answered: PostResult) -> None:
        """Store how an attempt ended, unless the lease was lost: then the job's next holder sends it again."""
        deliveries = Deliveries(tx.uow)
        delivery = deliveries.get(claim.job.id)
        if delivery is None:  # The endpoint was removed meanwhile.
            endings.complete(tx.held, claim, tx.now, status="discarded")
        elif answered.is_taken:
            if endings.complete(tx.held, claim, tx.now):
                Endpoints(tx.uow).recovered(delivery.endpoint_id)
                _tried(deliveries, delivery, answered, tx.now, state="delivered")
        else:
            self._record_failure(tx, claim, delivery, answered)

    def _record_failure(self, tx: LaneTransaction, claim: Claim, delivery: EventDelivery, answered: PostResult) -> None:
        tried = _tried_since(delivery, tx.now)
        endpoint = Endpoints(tx.uow).get(delivery.endpoint_id)
        given_up = tried.is_given_up(tx.now)
        if given_up:
            stored = endings.complete(tx.held, claim, tx.now, status="discarded", error=answered.error)
        else:
            attempts = delivery.attempts + 1
            delay = delay_after(attempts, 0 if endpoint is None else endpoint.failures + 1)
            wait = max(self._varied(delay), min(answered.retry_after, _MOST_PATIENCE))
            stored = endings.requeue(tx.held, claim, tx.now, wait, error=answered.error, attempts=attempts)
        if not stored:
            return
        _tried(Deliveries(tx.uow), tried, answered, tx.now, state="failed" if given_up else "waiting")
        if endpoint is not None and endpoint.disabled_at is None:
            self._count_failure(tx, endpoint, answered)

    def _count_failure(self, tx: LaneTransaction, endpoint: Endpoint, answered: PostResult) -> None:
        failures = endpoint.failures + 1
        open_for = break_after(failures)
        Endpoints(tx.uow).change(
            endpoint.id,
            failures=failures,
            failing_since=endpoint.failing_since or tx.now,
            open_until=None if open_for is None else tx.now + self._varied(open_for),
        )
        if answered.status == _GONE:
            self._switch_off(tx, endpoint, "gone")
        elif endpoint.has_failed_for_good(tx.now):
            self._switch_off(tx, endpoint, "failing")

    def _switch_off(self, tx: LaneTransaction, endpoint: Endpoint, reason: DisabledReason) -> None:
        """Switch an endpoint off, and tell its owner's other programs and people."""
        Endpoints(tx.uow).change(endpoint.id, disabled_at=tx.now, disabled_reason=reason)
        data = {"endpoint_id": str(endpoint.id), "reason": reason}
        lane = job_lane(endpoint.id)
        append(tx.uow, [NewEvent(tx.ids.new(), endpoint.owner_id, "endpoint.disabled", lane, tx.now, data=data)])
        self._tell_disabled(tx, endpoint)
        log.warning("events.endpoint_disabled", endpoint=str(endpoint.id), reason=reason)

    def _varied(self, wait: timedelta) -> timedelta:
        return timedelta(seconds=jittered(wait.total_seconds(), self._chance))

    def _soon(self, seconds: float) -> timedelta:
        return timedelta(seconds=seconds * (0.5 + self._chance.random()))


def _tried_since(delivery: EventDelivery, now: datetime) -> EventDelivery:
    return delivery if delivery.tried_since is not None else replace(delivery, tried_since=now)


def _tried(
    deliveries: Deliveries, delivery: EventDelivery, answered: PostResult, now: datetime, *, state: DeliveryState
) -> None:
    deliveries.change(
        delivery.id,
        state=state,
        attempts=delivery.attempts + 1,
        status=answered.status,
        error=answered.error,
        tried_since=delivery.tried_since or now,
        updated_at=now,
    )
