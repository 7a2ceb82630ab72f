"""Which provider message is which attempt's, and what has become of it.

A SID reaches us from the create call's answer, from a callback that bears the attempt's id, or from the provider's
list; in any order, and more than once. UNIQUE(account, SID) says whose it is. When a callback and the list disagree,
the callback wins. A second SID on one part is stored: it is the violation `sent_twice`, and hiding it helps nobody.

The account is the row that the attempt was made with, not what it calls itself: two owners may bear the same account
of a provider, one of them with a token that is made up, and neither may name, move or report the other's messages.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeAlias
from uuid import UUID

import structlog

from recado.conversation.contacts import opt_out
from recado.conversation.models import Attempt
from recado.conversation.ports import ListedMessage
from recado.conversation.sending.outbox import enqueue_send
from recado.conversation.sending.repository import (
    Answers,
    AttemptOrigin,
    Attempts,
    FoundBy,
    Parts,
    SentMessages,
    add_delivery_event,
    origin_of,
)
from recado.conversation.sending.telling import tell_undelivered
from recado.conversation.settlement import Settlement
from recado.core.clock import Clock
from recado.core.database.engine import Database
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.ids import Ids, IdSource
from recado.core.queue.lane import HeldLanes, send_lane
from recado.core.queue.storage import enqueue, lanes
from recado.core.queue.transactions import LaneTransaction, Transaction

log = structlog.get_logger(__name__)

Advances: TypeAlias = Callable[[str | None, str], bool]
"""Whether the second of two statuses of a message outranks the first."""


class ProviderMessages:
    """Ties provider messages to attempts."""

    def __init__(self, tx: LaneTransaction) -> None:
        self._tx = tx
        self._sent = SentMessages(tx.uow)

    def bound(self, account_id: UUID, listed: ListedMessage) -> bool:
        """Return whether a message of the account's list belongs to an attempt."""
        return self._sent.attempt_of(account_id, listed.provider_message_id) is not None

    def bind(self, attempt: Attempt, provider_message_id: str, *, found_by: FoundBy, status: str = "accepted") -> None:
        """Store that the attempt, and so its part, was accepted under this SID."""
        other = self._sent.attempt_of(attempt.account_id, provider_message_id)
        if other is not None and other != attempt.id and found_by != "callback":
            return
        if attempt.state != "accepted":
            Attempts(self._tx.uow).change(attempt.id, state="accepted", finished_at=self._tx.now)
        Parts(self._tx.uow).change(attempt.part_id, state="accepted")
        if other is None:
            self._sent.add(attempt, provider_message_id, found_by, status, self._tx.now)
        elif other != attempt.id:
            log.warning("send.rebound", attempt=str(attempt.id), other=str(other))
            self._sent.give_to(attempt, provider_message_id)
            self._settle_anew(other, attempt)

    def _settle_anew(self, attempt_id: UUID, arrived: Attempt) -> None:
        """Settle an attempt again whose message from the list belongs, by a callback, to another attempt."""
        uow = self._tx.uow
        attempt = Attempts(uow).require(attempt_id)
        if self._sent.any_of(attempt_id) or Attempts(uow).in_flight(attempt.lane) is not None:
            return
        if attempt.part_id == arrived.part_id:  # The part has arrived; nothing has to wait for this attempt.
            Attempts(uow).change(attempt_id, state="unconfirmed")
            return
        answer = Answers(uow).require(attempt.answer_id)
        if answer.state not in ("waiting", "accepted"):  # It was given up, and no job is left that could poll again.
            Attempts(uow).change(attempt_id, state="unconfirmed")
            Parts(uow).change(attempt.part_id, state="unconfirmed")
            return
        Attempts(uow).change(attempt_id, state="unknown", finished_at=None)
        Parts(uow).change(attempt.part_id, state="waiting")
        if answer.state == "accepted":
            Answers(uow).change(answer.id, state="waiting", settled_at=None)
            enqueue_send(self._tx.hold_also(answer.lane), answer)  # It may be of another lane.


@dataclass(frozen=True, slots=True)
class DeliveryReport:
    """A callback: what the provider says has become of an attempt.

    `signers` are the accounts that may have signed it; it is heard only if the attempt was made with one of them.
    """

    attempt_id: UUID
    signers: frozenset[UUID]
    provider_message_id: str
    status: str
    error_code: str | None
    opted_out: bool = False


@dataclass(frozen=True, slots=True)
class Recorded:
    """The report is stored, unless no attempt bears its id (`known`) or another account made that (`allowed`)."""

    known: bool
    allowed: bool = True


_UNKNOWN: Final = Recorded(known=False)
_FOREIGN: Final = Recorded(known=True, allowed=False)


@dataclass(frozen=True, slots=True)
class _Arrived:
    """A report with the ids that are handed to its unit of work."""

    report: DeliveryReport
    first_id: UUID

    def within(self, held: HeldLanes, origin: AttemptOrigin, now: datetime) -> LaneTransaction:
        return LaneTransaction.of_queue(held, origin.owner_id, now, IdSource(self.first_id))


class DeliveryReportService:
    """Takes callbacks, many in one commit. Every one is stored; a message's shown status only ever rises.

    `failed` are the statuses of a message that does not arrive.
    """

    def __init__(self, database: Database, clock: Clock, ids: Ids, advances: Advances, failed: Collection[str]) -> None:
        self._clock = clock
        self._ids = ids
        self._advances = advances
        self._failed = failed
        self._record_batched = database.batched(self.record_many, refusable=True)

    async def record(self, report: DeliveryReport) -> Recorded:
        """Store a report, and what follows from it for its answer."""
        return await self._record_batched(_Arrived(report, self._ids.new()))

    def record_many(self, uow: UnitOfWork, arrived: Sequence[_Arrived]) -> list[Recorded]:
        origins = [origin_of(uow, each.report.attempt_id) for each in arrived]
        heard = [
            origin if origin is not None and origin.account_id in each.report.signers else None
            for each, origin in zip(arrived, origins, strict=True)
        ]
        held = lanes.hold(uow, {send_lane(origin.lane) for origin in heard if origin is not None})
        now = self._clock.now()  # After the wait for the lanes.
        recorded: list[Recorded] = []
        for each, known, origin in zip(arrived, origins, heard, strict=True):
            if origin is not None:
                self._record(each.within(held, origin, now), each.report)
                recorded.append(Recorded(known=True))
            else:
                recorded.append(_UNKNOWN if known is None else _FOREIGN)
        return recorded

    def _record(self, tx: LaneTransaction, report: DeliveryReport) -> None:
        attempt = Attempts(tx.uow).require(report.attempt_id)
        add_delivery_event(
            tx.uow, tx.ids.new(), attempt, report.provider_message_id, report.status, report.error_code, tx.now
        )
        ProviderMessages(tx).bind(attempt, report.provider_message_id, found_by="callback")
        self._raise_status(tx, attempt, report)
        if report.opted_out:
            opt_out(tx, Answers(tx.uow).require(attempt.answer_id).conversation_id)
        if attempt.state != "accepted":
            _resume(tx, attempt)

    def _raise_status(self, tx: Transaction, attempt: Attempt, report: DeliveryReport) -> None:
        sent = SentMessages(tx.uow)
        status = sent.status_of(attempt.account_id, report.provider_message_id)
        if status is not None and self._advances(status, report.status):
            sent.set_status(attempt.account_id, report.provider_message_id, report.status, report.error_code, tx.now)
            if report.status in self._failed:
                answer = Answers(tx.uow).require(attempt.answer_id)
                tell_undelivered(tx, answer, attempt, report.status, report.error_code)


def _resume(tx: LaneTransaction, attempt: Attempt) -> None:
    """Make the send job due that waited for this news; settle an answer that was given up meanwhile after all."""
    answer = Answers(tx.uow).require(attempt.answer_id)
    if answer.state == "waiting":
        enqueue.make_due_now(tx.held, answer.send_lane, tx.now)
    elif answer.state == "unconfirmed" and all(part.state == "accepted" for part in Parts(tx.uow).of(answer.id)):
        Settlement(tx).accepted(answer)
