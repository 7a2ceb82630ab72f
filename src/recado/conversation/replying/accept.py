"""Step 4: a message and the job that will answer it are stored in one transaction.

The UNIQUE constraint on (address of ours, id at the provider) decides about duplicates: only the rows that RETURNING
gives back make or extend a job, so a repeated webhook changes nothing and leaves the first one's job to run. Many
webhooks share a commit.

On PostgreSQL the lanes are held first and the messages go in by their unique key: two commits with the same messages
wait for each other once, and never in a circle.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from recado.conversation.replying.jobs import REPLY, reply_payload
from recado.conversation.replying.repository import add_new_messages, fill_in_raw
from recado.conversation.values import Address
from recado.core.database.engine import Database
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.event_log.models import NewEvent
from recado.core.event_log.repository import append
from recado.core.ids import Ids
from recado.core.metrics import ACCEPTED, OUTCOMES
from recado.core.queue.job import NewJob
from recado.core.queue.lane import Lane
from recado.core.queue.storage import enqueue, lanes


@dataclass(frozen=True, slots=True)
class InboundMessage:
    """A verified message to a number of ours. `id` is made when it arrives, so it sorts by our order of receipt."""

    id: UUID
    owner_id: UUID
    address_id: UUID
    lane: Lane
    """The customer's lane at this number (see `customer_lane`)."""
    provider: str
    account_ref: str
    provider_message_id: str
    from_address: Address
    to_address: Address
    text: str
    kind: str
    received_at: datetime
    raw: bytes
    source: Literal["webhook", "orphan", "sweep"] = "webhook"
    opt_out_type: str | None = None
    profile_name: str | None = None
    due_at_once: bool = False
    """A button was tapped: there is nothing more to wait for."""
    stale: bool = False
    trace: str | None = None
    """Where its trace goes on, if anybody traces it (see `core.tracing`)."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """It is durable, and it will end in exactly one outcome."""

    message_id: UUID


@dataclass(frozen=True, slots=True)
class Duplicate:
    """It was accepted before; nothing was stored."""

    provider_message_id: str


@dataclass(frozen=True, slots=True)
class BurstWindow:
    """How long to wait for more: `quiet` after each message, `most` after the first."""

    quiet: timedelta = timedelta(seconds=1.5)
    most: timedelta = timedelta(seconds=8)


class AcceptService:
    """Accepts messages, many in one commit."""

    def __init__(self, database: Database, ids: Ids, window: BurstWindow, max_attempts: int) -> None:
        self._ids = ids
        self._window = window
        self._max_attempts = max_attempts
        self.accept = database.batched(self.accept_many, refusable=True)

    def accept_many(self, uow: UnitOfWork, inbounds: Sequence[InboundMessage]) -> list[Accepted | Duplicate]:
        """Store what is new, and open or extend one burst window per lane."""
        held = lanes.hold_or_create(
            uow, {inbound.lane: lanes.LaneOwner(inbound.owner_id, "reply") for inbound in inbounds}
        )
        in_order = sorted(inbounds, key=lambda inbound: (inbound.address_id, inbound.provider_message_id))
        stored = add_new_messages(uow, [_row(inbound) for inbound in in_order])
        _fill_in(uow, [inbound for inbound in inbounds if inbound.id not in stored])
        new = [inbound for inbound in inbounds if inbound.id in stored]
        to_answer = [inbound for inbound in new if not inbound.stale]
        if new:
            uow.count(ACCEPTED, by=len(new))
        if len(new) > len(to_answer):
            uow.count(OUTCOMES, "suppressed", "stale", by=len(new) - len(to_answer))
        newest_of_lane = {inbound.lane: inbound for inbound in to_answer}
        jobs = [self._job(inbound) for inbound in newest_of_lane.values()]
        due_at_once = frozenset(inbound.lane for inbound in to_answer if inbound.due_at_once)
        enqueue.collect(held, jobs, due_at_once=due_at_once)
        append(uow, [event for inbound in new for event in self._events(inbound)])
        return [
            Accepted(inbound.id) if inbound.id in stored else Duplicate(inbound.provider_message_id)
            for inbound in inbounds
        ]

    def _events(self, inbound: InboundMessage) -> Iterator[NewEvent]:
        """Yield the events of a message. Its conversation is found or made when its job is claimed."""
        lane, at, message_id = inbound.lane, inbound.received_at, str(inbound.id)
        data = {"message_id": message_id, "number_id": str(inbound.address_id), "kind": inbound.kind}
        yield NewEvent(self._ids.new(), inbound.owner_id, "message.received", lane, at, data=data)
        if inbound.stale:
            data = {"message_id": message_id, "outcome": "suppressed", "reason": "stale"}
            yield NewEvent(self._ids.new(), inbound.owner_id, "outcome.decided", lane, at, data=data)

    def _job(self, inbound: InboundMessage) -> NewJob:
        now = inbound.received_at
        return NewJob(
            # Made while the lane is held, so that it sorts behind each job that was stored since the message came. A
            # second run of this transaction may make another one: nothing of the first run is left then.
            id=self._ids.new(),
            name=REPLY,
            owner_id=inbound.owner_id,
            created_at=now,
            due_at=now if inbound.due_at_once else now + min(self._window.quiet, self._window.most),
            window_ends_at=now if inbound.due_at_once else now + self._window.most,
            lane=inbound.lane,
            kind="reply",
            message_sid=inbound.provider_message_id,
            payload=reply_payload(inbound.owner_id, inbound.id),
            max_attempts=self._max_attempts,
            collecting=True,
            trace=inbound.trace,
        )


def _fill_in(uow: UnitOfWork, repeated: Sequence[InboundMessage]) -> None:
    """Store the raw form of a webhook that comes after the sweep had found its message. Nothing else changes."""
    fill_in_raw(
        uow,
        [
            {"address": inbound.address_id, "provider_message_id": inbound.provider_message_id, "raw": inbound.raw}
            for inbound in repeated
            if inbound.source == "webhook"
        ],
    )


def _row(inbound: InboundMessage) -> dict[str, object]:
    row: dict[str, object] = {
        "id": inbound.id,
        "owner_id": inbound.owner_id,
        "lane": inbound.lane,
        "address_id": inbound.address_id,
        "provider": inbound.provider,
        "account_ref": inbound.account_ref,
        "provider_message_id": inbound.provider_message_id,
        "from_address": inbound.from_address.value,
        "to_address": inbound.to_address.value,
        "text": inbound.text,
        "kind": inbound.kind,
        "opt_out_type": inbound.opt_out_type,
        "profile_name": inbound.profile_name,
        "raw": inbound.raw,
        "source": inbound.source,
        "received_at": inbound.received_at,
        "outcome": "suppressed" if inbound.stale else None,
        "outcome_reason": "stale" if inbound.stale else None,
        "outcome_at": inbound.received_at if inbound.stale else None,
    }
    return row
