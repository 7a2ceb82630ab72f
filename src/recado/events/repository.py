"""Statements about endpoints and deliveries."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import Integer, bindparam, func, literal_column, or_, select, text, update

from recado.core.database.prepared import Prepared, param
from recado.core.database.repository import OwnedRepository, of_owner, owned
from recado.core.database.unit_of_work import STEP, UnitOfWork
from recado.core.event_log.models import Event
from recado.core.event_log.tables import events
from recado.core.queue.lane import Lane
from recado.core.queue.storage.tables import message_queue
from recado.events.models import BREAKS_AFTER, DeliveryState, Endpoint, EventDelivery, WaitingLane
from recado.events.tables import event_deliveries, event_endpoints

_ENDPOINTS = owned(event_endpoints, Endpoint)
_IN_ORDER = Prepared(_ENDPOINTS.order_by(event_endpoints.c.id))
_HELD = Prepared(_ENDPOINTS.where(event_endpoints.c.id == bindparam("id")).with_for_update())
_THE_ONE = (event_endpoints.c.id == param(event_endpoints.c.id, "of_id"), of_owner(event_endpoints))
_RECOVERED = Prepared(
    update(event_endpoints)
    .where(*_THE_ONE, event_endpoints.c.failures > text("0"))
    .values(failures=text("0"), failing_since=None, open_until=None)
)
_TRIAL = Prepared(
    update(event_endpoints)
    .where(
        *_THE_ONE,
        event_endpoints.c.failures >= text(str(BREAKS_AFTER)),
        event_endpoints.c.open_until <= bindparam("now"),
    )
    .values(open_until=param(event_endpoints.c.open_until, "until"))
)


class Endpoints(OwnedRepository[Endpoint]):
    """One owner's endpoints."""

    table, entity, noun = event_endpoints, Endpoint, "event endpoint"

    def in_order(self) -> Sequence[Endpoint]:
        """Return all of them, the oldest first."""
        return self._many(_IN_ORDER)

    def held(self, id_: UUID) -> Endpoint | None:
        """Return an endpoint, locked until this transaction ends."""
        return self._one(_HELD, id=id_)

    def recovered(self, id_: UUID) -> None:
        """Store that it has taken something."""
        self._run(_RECOVERED, of_id=id_)

    def begin_trial(self, id_: UUID, now: datetime, until: datetime) -> bool:
        """Let one delivery try an endpoint that fails. Return whether it is this one."""
        return self._run(_TRIAL, of_id=id_, now=now, until=until) == 1

    def remove(self, id_: UUID) -> None:
        """Delete an endpoint. Its deliveries, which may be a million, are pruned when they are a month old."""
        self._run(_FORGET, of_id=id_)


_FORGET = Prepared(
    text("DELETE FROM event_endpoints WHERE id = :of_id AND owner_id = :owner").bindparams(
        param(event_endpoints.c.id, "of_id"), param(event_endpoints.c.owner_id, "owner")
    )
)

_WAITING = event_deliveries.c.state == text("'waiting'")
_LANES = Prepared(
    select(event_deliveries.c.lane, func.max(event_deliveries.c.attempts), func.count())
    .where(of_owner(event_deliveries), event_deliveries.c.endpoint_id == bindparam("endpoint_id"), _WAITING)
    .group_by(event_deliveries.c.lane)
)
_IS_WAITING = Prepared(
    select(event_deliveries.c.id)
    .where(
        of_owner(event_deliveries),
        event_deliveries.c.endpoint_id == bindparam("endpoint_id"),
        event_deliveries.c.lane == bindparam("lane"),
        event_deliveries.c.event_id == bindparam("event_id"),
        _WAITING,
    )
    .limit(1)
)
_RUNNING = Prepared(
    select(event_deliveries.c.id)
    .join_from(event_deliveries, message_queue, message_queue.c.id == event_deliveries.c.id)
    .where(
        of_owner(event_deliveries),
        event_deliveries.c.endpoint_id == bindparam("endpoint_id"),
        _WAITING,
        text("message_queue.status = 'running'"),
    )
    .order_by(message_queue.c.lease_token, message_queue.c.id)
)


class Deliveries(OwnedRepository[EventDelivery]):
    """Deliveries of one owner's events."""

    table, entity, noun = event_deliveries, EventDelivery, "delivery"

    def waiting_lanes(self, endpoint_id: UUID) -> dict[Lane, WaitingLane]:
        """Return the lanes with deliveries that wait."""
        rows = self._uow.rows(_LANES, owner=self.owner, endpoint_id=endpoint_id)
        return {lane: WaitingLane(attempts > 0, count) for lane, attempts, count in rows}

    def is_waiting(self, endpoint_id: UUID, event: Event) -> bool:
        """Return whether an event is on its way to an endpoint."""
        return bool(
            self._uow.rows(_IS_WAITING, owner=self.owner, endpoint_id=endpoint_id, lane=event.lane, event_id=event.id)
        )

    def end(self, id_: UUID, state: DeliveryState, now: datetime, error: str | None = None) -> None:
        """Store that nothing more is tried."""
        self.change(id_, state=state, updated_at=now, error=error)

    def running(self, endpoint_id: UUID) -> Sequence[UUID]:
        """Return those whose jobs run, in the order in which they were claimed."""
        return [id_ for (id_,) in self._uow.rows(_RUNNING, owner=self.owner, endpoint_id=endpoint_id)]


_IS_OPEN = or_(
    event_endpoints.c.failures < text(str(BREAKS_AFTER)),
    event_endpoints.c.open_until.is_(None),
    event_endpoints.c.open_until <= param(event_endpoints.c.open_until, "now"),
)
_BEHIND = Prepared(
    select(event_endpoints.c.owner_id, event_endpoints.c.id)
    .where(
        event_endpoints.c.disabled_at.is_(None),
        _IS_OPEN,
        select(literal_column("1", Integer))
        .where(events.c.owner_id == event_endpoints.c.owner_id, events.c.number > event_endpoints.c.position)
        .exists(),
    )
    .order_by(event_endpoints.c.id)
)


def behind(uow: UnitOfWork, now: datetime) -> Sequence[tuple[UUID, UUID]]:
    """Return owner and id of all endpoints to be sent something for which no delivery was made yet."""
    return [(owner_id, id_) for owner_id, id_ in uow.rows(_BEHIND, now=now)]


def of_owners(uow: UnitOfWork, owners: Collection[UUID], now: datetime) -> Sequence[tuple[UUID, UUID]]:
    """Return owner and id of the endpoints of some owners that may be sent something."""
    found = [each for owner_id in owners for each in Endpoints(uow.for_owner(owner_id)).in_order()]
    return [(each.owner_id, each.id) for each in found if each.disabled_at is None and each.resumes_at(now) is None]


_PRUNE_SQL: Final = "SELECT id FROM event_deliveries WHERE id < :before AND state <> 'waiting' ORDER BY id LIMIT :most"
_PRUNE_TYPES = (param(event_deliveries.c.id, "before"), bindparam("most", type_=Integer))
_PRUNE = Prepared(
    text(f"DELETE FROM event_deliveries WHERE id IN ({_PRUNE_SQL})").bindparams(*_PRUNE_TYPES),
    on_postgresql=text(f"DELETE FROM event_deliveries WHERE id = ANY (ARRAY({_PRUNE_SQL}))").bindparams(*_PRUNE_TYPES),
)


def prune(uow: UnitOfWork, before: datetime, most: int = STEP) -> int:
    """Delete up to `most` ended deliveries that were made before a moment. Return their number.

    Their ids begin with the millisecond in which they were made, so the oldest are at the beginning of the table.
    """
    return uow.run(_PRUNE, before=UUID(int=int(before.timestamp() * 1000) << 80), most=most)
