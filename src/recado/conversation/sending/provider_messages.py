"""Which provider message is which attempt's, and what has become of it.

A SID reaches us from the create call's answer, from a callback that bears the attempt's id, or from the provider's
list; in any order, and more than once. UNIQUE(account, SID) says whose it is; when a callback and the list disagree,
the callback wins. A second SID on one part is stored: it is the violation `sent_twice`, and hiding it helps nobody.

The account is the row that the attempt was made with, not what it calls itself: two owners may bear the same account
of a provider, one of them with a token that is made up, and neither may name, move or report the other's messages.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, TypeAlias
from uuid import UUID

import structlog
from sqlalchemy import and_, bindparam, select, update

from recado.conversation.models import Attempt
from recado.conversation.ports import ListedMessage
from recado.conversation.repository import Answers, Attempts, Contacts, Conversations, Parts
from recado.conversation.sending.outbox import Outbox, send_lane
from recado.conversation.settlement import Settlement
from recado.conversation.tables import attempts, delivery_events, sent_messages
from recado.core.clock import Clock
from recado.core.database.engine import Database
from recado.core.database.prepared import Prepared, inserting, param
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.ids import Ids
from recado.core.queue.storage import enqueue, lanes

log = structlog.get_logger(__name__)

FoundBy: TypeAlias = Literal["create", "callback", "list"]
Advances: TypeAlias = Callable[[str | None, str], bool]


_NAMED = and_(
    sent_messages.c.account_id == param(sent_messages.c.account_id, "account"),
    sent_messages.c.sid == param(sent_messages.c.sid, "of_sid"),
)
_BOUND_TO = Prepared(select(sent_messages.c.attempt_id).where(_NAMED))
_STATUS = Prepared(select(sent_messages.c.status).where(_NAMED))
_BIND = Prepared(
    inserting(
        sent_messages, "account_id", "sid", "owner_id", "attempt_id", "part_id", "found_by", "status", "created_at",
        "updated_at",
    )
)  # fmt: skip
_REBIND = Prepared(
    update(sent_messages)
    .where(_NAMED)
    .values(attempt_id=param(sent_messages.c.attempt_id), part_id=param(sent_messages.c.part_id), found_by="callback")
)
_RAISE = Prepared(
    update(sent_messages)
    .where(_NAMED)
    .values({name: param(sent_messages.c[name]) for name in ("status", "error_code", "updated_at")})
)
_SIDS_OF = Prepared(select(sent_messages.c.sid).where(sent_messages.c.attempt_id == bindparam("attempt_id")))
_MADE_BY = Prepared(
    select(attempts.c.owner_id, attempts.c.lane, attempts.c.account_id).where(attempts.c.id == bindparam("id"))
)
_EVENT = Prepared(inserting(delivery_events, "id", "owner_id", "attempt_id", "sid", "status", "error_code", "at"))


class ProviderMessages:
    """Ties SIDs to attempts inside a unit of work."""

    def __init__(self, uow: UnitOfWork, ids: Ids, now: datetime) -> None:
        self._uow = uow
        self._ids = ids
        self._now = now

    def bound(self, account_id: UUID, listed: ListedMessage) -> bool:
        """Whether a message of the account's list is an attempt's already."""
        return self._attempt_of(account_id, listed.sid.value) is not None

    def bind(self, attempt: Attempt, sid: str, *, found_by: FoundBy, status: str = "accepted") -> None:
        """The attempt was accepted under this SID, and its part with it."""
        other = self._attempt_of(attempt.account_id, sid)
        if other is not None and other != attempt.id and found_by != "callback":
            return
        if attempt.state != "accepted":
            Attempts(self._uow).change(attempt.id, state="accepted", finished_at=self._now)
        Parts(self._uow).change(attempt.part_id, state="accepted")
        if other is None:
            self._store(attempt, sid, found_by, status)
        elif other != attempt.id:
            self._rebind(other, sid, attempt)

    def _attempt_of(self, account_id: UUID, sid: str) -> UUID | None:
        for (attempt_id,) in self._uow.rows(_BOUND_TO, account=account_id, of_sid=sid):
            found: UUID = attempt_id
            return found
        return None

    def _store(self, attempt: Attempt, sid: str, found_by: FoundBy, status: str) -> None:
        self._uow.run(
            _BIND,
            account_id=attempt.account_id,
            sid=sid,
            owner_id=attempt.owner_id,
            attempt_id=attempt.id,
            part_id=attempt.part_id,
            found_by=found_by,
            status=status,
            created_at=self._now,
            updated_at=self._now,
        )

    def _rebind(self, other_id: UUID, sid: str, attempt: Attempt) -> None:
        """The list had given this SID to another attempt; that one is settled anew."""
        log.warning("send.rebound", attempt=str(attempt.id), other=str(other_id))
        name = {"account": attempt.account_id, "of_sid": sid}
        self._uow.run(_REBIND, **name, attempt_id=attempt.id, part_id=attempt.part_id)
        other = Attempts(self._uow).require(other_id)
        if self._uow.rows(_SIDS_OF, attempt_id=other_id) or Attempts(self._uow).in_flight(other.lane) is not None:
            return
        if other.part_id == attempt.part_id:  # The part has arrived; nothing has to wait for the other attempt's fate.
            Attempts(self._uow).change(other_id, state="unconfirmed")
            return
        answer = Answers(self._uow).require(other.answer_id)
        if answer.state not in ("waiting", "accepted"):  # It was given up, and no job is left that could look again.
            Attempts(self._uow).change(other_id, state="unconfirmed")
            Parts(self._uow).change(other.part_id, state="unconfirmed")
            return
        Attempts(self._uow).change(other_id, state="unknown", finished_at=None)
        Parts(self._uow).change(other.part_id, state="waiting")
        if answer.state == "accepted":
            Answers(self._uow).change(answer.id, state="waiting", settled_at=None)
            Outbox(self._uow, self._ids, self._now, lambda text: [text]).send(answer)


@dataclass(frozen=True, slots=True)
class DeliveryReport:
    """A callback: what the provider says has become of an attempt. `signers` are the accounts that may have signed it.

    It is heard only if the attempt was made with one of them.
    """

    attempt_id: UUID
    signers: frozenset[UUID]
    sid: str
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


class DeliveryReportService:
    """Takes callbacks, many in one commit. Every one is stored; a message's shown status only ever rises."""

    def __init__(self, database: Database, clock: Clock, ids: Ids, advances: Advances) -> None:
        self._clock = clock
        self._ids = ids
        self._advances = advances
        self.record = database.batched(self.record_many, refusable=True)

    def record_many(self, uow: UnitOfWork, reports: Sequence[DeliveryReport]) -> list[Recorded]:
        made_by = {report.attempt_id: uow.rows(_MADE_BY, id=report.attempt_id) for report in reports}
        heard = {
            report: owner_and_lane
            for report in reports
            for *owner_and_lane, account_id in made_by[report.attempt_id]
            if account_id in report.signers
        }
        lanes.lock_lanes(uow, {send_lane(lane) for _, lane in heard.values()})
        now = self._clock.now()
        return [
            self._record(uow.for_owner(heard[report][0]), report, now)
            if report in heard
            else (_FOREIGN if made_by[report.attempt_id] else _UNKNOWN)
            for report in reports
        ]

    def _record(self, uow: UnitOfWork, report: DeliveryReport, now: datetime) -> Recorded:
        attempt = Attempts(uow).require(report.attempt_id)
        self._remember(uow, attempt, report, now)
        was = attempt.state
        ProviderMessages(uow, self._ids, now).bind(attempt, report.sid, found_by="callback")
        self._raise_status(uow, attempt, report, now)
        if report.opted_out:
            conversation = Conversations(uow).require(Answers(uow).require(attempt.answer_id).conversation_id)
            Contacts(uow).change(conversation.contact_id, opted_out_at=now)
        if was != "accepted":
            self._resume_send(uow, attempt, now)
        return Recorded(known=True)

    def _remember(self, uow: UnitOfWork, attempt: Attempt, report: DeliveryReport, now: datetime) -> None:
        uow.run(
            _EVENT,
            id=self._ids.new(),
            owner_id=attempt.owner_id,
            attempt_id=attempt.id,
            sid=report.sid,
            status=report.status[:24],
            error_code=report.error_code,
            at=now,
        )

    def _raise_status(self, uow: UnitOfWork, attempt: Attempt, report: DeliveryReport, now: datetime) -> None:
        name: dict[str, object] = {"account": attempt.account_id, "of_sid": report.sid}
        for (status,) in uow.rows(_STATUS, **name):
            if self._advances(status, report.status):
                uow.run(_RAISE, **name, status=report.status, error_code=report.error_code, updated_at=now)

    def _resume_send(self, uow: UnitOfWork, attempt: Attempt, now: datetime) -> None:
        """What waited for this news need not wait longer; what was given up meanwhile is settled after all."""
        answer = Answers(uow).require(attempt.answer_id)
        if answer.state == "waiting":
            enqueue.make_due_now(uow, send_lane(answer.lane), now)
        elif answer.state == "unconfirmed" and all(part.state == "accepted" for part in Parts(uow).of(answer.id)):
            Settlement(uow, self._ids, now).accepted(answer)
