"""Make deliveries, each with its job, of the events behind which an endpoint is.

A job runs in the lane of its endpoint and customer, so each customer's events arrive in order. No more than four lanes
of an endpoint have something to send at one time; the other events wait in the log, which costs nothing, until one of
these has ended. A lane whose first delivery waits for another try does not count, and events of its customer line up
behind it. An endpoint that fails each time gets one further lane for each trial.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Final
from uuid import UUID

from recado.core.clock import Clock
from recado.core.database.engine import Database
from recado.core.event_log.models import DELIVER, Event
from recado.core.event_log.reading import Events
from recado.core.ids import Ids
from recado.core.queue.job import BACKGROUND_PRIORITY, NewJob
from recado.core.queue.lane import Lane, lane_of_digest
from recado.core.queue.storage import enqueue, lanes
from recado.core.queue.transactions import Transactions, UnlockedTransaction
from recado.events import repository
from recado.events.models import AT_ONCE, MOST_COUNTED, MOST_WAITING, Endpoint, EventDelivery, WaitingLane
from recado.events.repository import Deliveries, Endpoints

PAGE: Final = 200
"""How many events one transaction goes through."""
STEPS: Final = 10
"""How many transactions one run makes for an endpoint; the next run goes on."""
_LOOK: Final = 20
"""How many events are looked at to see whether there is something to do. Most often the first one says it."""
_REST: Final = timedelta(seconds=1)
"""How long commits do not make this process look at an endpoint that has no room. A delivery that ends does."""
_MOST_KNOWN: Final = 10_000
_RESUMED: Final = 50
"""How many lanes one transaction makes due."""


def delivery_lane(endpoint_id: UUID, lane: Lane) -> Lane:
    """Return the lane of an endpoint and a customer. The customer's own is opaque already, so the hash needs no key."""
    return lane_of_digest(hashlib.sha256(endpoint_id.bytes + lane.bytes).digest())


@dataclass(slots=True)
class _Plan:
    """The events to deliver next, and the number up to which the log was gone through."""

    position: int
    events: list[Event] = field(default_factory=list)
    more: bool = False
    is_full: bool = False
    """Whether nothing more can be planned before a delivery ends."""


class Fanout:
    """Makes deliveries inside transactions of its own, one an endpoint at a time."""

    def __init__(self, database: Database, clock: Clock, ids: Ids) -> None:
        self._database = database
        self._clock = clock
        self._ids = ids
        self._transactions = Transactions(database, clock, ids)
        self._resting: dict[UUID, datetime] = {}
        """Endpoints without room, and owners who have no other, with the time until which commits do not count."""

    async def run(self, owners: Collection[UUID] | None = None) -> None:
        """Go on with the endpoints of owners of whom something was told, or with every endpoint that is behind."""
        now = self._clock.now()
        if owners is None:
            for owner_id, endpoint_id in await self._database.read(partial(repository.behind, now=now), owner=None):
                await self.advance(owner_id, endpoint_id)
        elif awake := {owner_id for owner_id in owners if not self._rests(owner_id, now)}:
            await self._run_for(awake, now)

    async def _run_for(self, owners: Collection[UUID], now: datetime) -> None:
        found = await self._database.read(partial(repository.of_owners, owners=owners, now=now), owner=None)
        for owner_id, endpoint_id in found:
            if not self._rests(endpoint_id, now):
                await self.advance(owner_id, endpoint_id)
        with_room = {owner_id for owner_id, endpoint_id in found if not self._rests(endpoint_id, now)}
        for owner_id in {*owners} - with_room:
            self._rest(owner_id, now)

    def _rest(self, id_: UUID, now: datetime) -> None:
        if len(self._resting) >= _MOST_KNOWN:
            self._resting.clear()
        self._resting[id_] = now + _REST

    def _rests(self, id_: UUID, now: datetime) -> bool:
        return now < self._resting.get(id_, now)

    async def advance(self, owner_id: UUID, endpoint_id: UUID, *, steps: int = STEPS) -> None:
        """Make the deliveries for which an endpoint has room. Nothing is written where there is nothing to be sent."""
        for _ in range(steps):
            if not await self._has_work(owner_id, endpoint_id):
                break
            if not await self._transactions.write(lambda tx: self._make(tx, endpoint_id), owner=owner_id):
                break

    async def _has_work(self, owner_id: UUID, endpoint_id: UUID) -> bool:
        now = self._clock.now()

        def work(deliveries: Deliveries, endpoints: Endpoints, log: Events) -> _Plan:
            endpoint = endpoints.get(endpoint_id)
            return _Plan(0) if endpoint is None else _planned(endpoint, deliveries, log, now, most=_LOOK)

        plan = await self._database.read(lambda uow: work(Deliveries(uow), Endpoints(uow), Events(uow)), owner=owner_id)
        if plan.is_full and not plan.events:
            self._rest(endpoint_id, now)
        return bool(plan.events) or plan.more

    async def resume(self, owner_id: UUID, endpoint_id: UUID) -> None:
        """Have what waits sent soon, because somebody says that the endpoint takes events again.

        It becomes due a few lanes at a time, because no more than four are sent at one time. What a process that dies
        meanwhile has left is sent when it is due.
        """
        waiting = await self._database.read(lambda uow: Deliveries(uow).waiting_lanes(endpoint_id), owner=owner_id)
        names = [delivery_lane(endpoint_id, lane) for lane in waiting]
        for first in range(0, len(names), _RESUMED):
            page = names[first : first + _RESUMED]
            await self._transactions.write(partial(_make_due, names=page, first=first), owner=owner_id)

    def _make(self, tx: UnlockedTransaction, endpoint_id: UUID) -> bool:
        """Store what is to be delivered next. Return whether there may be more."""
        endpoint = Endpoints(tx.uow).held(endpoint_id)
        if endpoint is None:
            return False
        plan = _planned(endpoint, Deliveries(tx.uow), Events(tx.uow), tx.now)
        self.store(tx, endpoint, plan.events)
        Endpoints(tx.uow).change(endpoint.id, position=plan.position)
        return plan.more

    def store(self, tx: UnlockedTransaction, endpoint: Endpoint, found: Sequence[Event]) -> None:
        """Store deliveries of some events, and their jobs."""
        # Ids are made while the endpoint is locked, so that jobs of a lane sort as their events do.
        deliveries = [_delivery(self._ids.new(), endpoint, event, tx.now) for event in found]
        Deliveries(tx.uow).add_all(deliveries)
        jobs = [_job(delivery, endpoint) for delivery in deliveries]
        if jobs:
            enqueue.add(lanes.hold_for(tx.uow, jobs), jobs)


def _make_due(tx: UnlockedTransaction, names: Sequence[Lane], first: int) -> None:
    held = tx.hold(*names)
    moments = {lane: held.now + timedelta(seconds=place / AT_ONCE) for place, lane in enumerate(names, first)}
    enqueue.make_due(held.held, moments, held.now)


def _planned(endpoint: Endpoint, deliveries: Deliveries, log: Events, now: datetime, most: int = PAGE) -> _Plan:
    """Return what an endpoint may be sent next, in the order of the log."""
    plan = _Plan(endpoint.position)
    waiting = deliveries.waiting_lanes(endpoint.id)
    room = _room(endpoint, waiting, now)
    counted = sum(min(each.count, MOST_COUNTED) for each in waiting.values())
    if endpoint.disabled_at is not None or counted >= MOST_WAITING:
        plan.is_full = True
        return plan
    lanes_open = set(waiting)
    found = log.after(endpoint.position, most)
    for event in found:
        if endpoint.wants(event.type):
            if event.lane not in lanes_open:
                if room == 0:
                    plan.is_full = True
                    return plan
                room -= 1
                lanes_open.add(event.lane)
            plan.events.append(event)
        plan.position = event.number
    plan.more = len(found) == most
    return plan


def _room(endpoint: Endpoint, waiting: Mapping[Lane, WaitingLane], now: datetime) -> int:
    """Return how many more lanes may have something to send.

    An endpoint that fails gets one new lane for each trial: what it refuses may be one event, and not everything.
    """
    untried = sum(not each.has_failed for each in waiting.values())
    if endpoint.is_broken():
        return 1 if untried == 0 and endpoint.resumes_at(now) is None else 0
    return max(0, AT_ONCE - untried)


def _delivery(id_: UUID, endpoint: Endpoint, event: Event, now: datetime) -> EventDelivery:
    return EventDelivery(
        id=id_,
        owner_id=endpoint.owner_id,
        endpoint_id=endpoint.id,
        event_id=event.id,
        type=event.type,
        lane=event.lane,
        created_at=now,
        updated_at=now,
    )


def _job(delivery: EventDelivery, endpoint: Endpoint) -> NewJob:
    return NewJob(
        id=delivery.id,
        name=DELIVER,
        owner_id=delivery.owner_id,
        created_at=delivery.created_at,
        due_at=delivery.created_at,
        lane=delivery_lane(endpoint.id, delivery.lane),
        payload={"endpoint_id": str(endpoint.id), "event_id": str(delivery.event_id)},
        priority=BACKGROUND_PRIORITY,
        max_attempts=None,
    )
