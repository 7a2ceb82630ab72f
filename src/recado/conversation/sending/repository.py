"""The rows of answers, their parts, their attempts and the provider's messages."""

from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Literal, TypeAlias
from uuid import UUID

from sqlalchemy import and_, bindparam, select, text, update

from recado.conversation import models
from recado.conversation.tables import answer_parts, answers, attempts, delivery_events, sent_messages
from recado.core.database.prepared import Prepared, inserting, param
from recado.core.database.repository import OwnedRepository, of_owner, owned
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.metrics import SENDS
from recado.core.queue.lane import Lane

_ANSWERS = owned(answers, models.Answer)
_ACCEPTED = answers.c.state == text("'accepted'")
_ANSWER_OF_TURN = Prepared(_ANSWERS.where(answers.c.turn_id == bindparam("turn_id")))
_NEWEST = Prepared(
    _ANSWERS.where(answers.c.conversation_id == bindparam("conversation_id")).order_by(answers.c.id.desc()).limit(1)
)
_LATEST_SPOKEN = (
    select(answers.c.id)
    .where(of_owner(answers), answers.c.conversation_id == bindparam("conversation_id"), _ACCEPTED)
    .order_by(answers.c.id.desc())
    .limit(bindparam("most"))
)
_SPOKEN = Prepared(
    select(answers.c.id, answers.c.author, answers.c.created_at, answer_parts.c.text)
    .join_from(answers, answer_parts, answer_parts.c.answer_id == answers.c.id)
    .where(answers.c.id.in_(_LATEST_SPOKEN))
    .order_by(answers.c.id, answer_parts.c.part_no)
)
_OF_PERSON = Prepared(
    _ANSWERS.where(
        answers.c.lane == bindparam("lane"),
        answers.c.author == text("'person'"),
        answers.c.created_at >= bindparam("at"),
        text("answers.state IN ('waiting','accepted')"),
    )
    .order_by(answers.c.created_at.desc())
    .limit(1)
)
_APOLOGY = Prepared(
    _ANSWERS.where(
        answers.c.lane == bindparam("lane"),
        answers.c.author == text("'apology'"),
        _ACCEPTED,
        answers.c.settled_at >= bindparam("since"),
    ).limit(1)
)


@dataclass(frozen=True, slots=True)
class Spoken:
    """What was said in an accepted answer."""

    author: models.Author
    at: datetime
    text: str


class Answers(OwnedRepository[models.Answer]):
    """Outbound things."""

    table, entity, noun = answers, models.Answer, "answer"

    def of_turn(self, turn_id: UUID) -> models.Answer | None:
        return self._one(_ANSWER_OF_TURN, turn_id=turn_id)

    def newest(self, conversation_id: UUID) -> models.Answer | None:
        """Return the answer of a conversation that was stored last."""
        return self._one(_NEWEST, conversation_id=conversation_id)

    def spoken_in(self, conversation_id: UUID, *, limit: int) -> list[Spoken]:
        """Return the latest accepted answers of a conversation with their whole texts, oldest first."""
        rows = self._uow.rows(_SPOKEN, owner=self.owner, conversation_id=conversation_id, most=limit)
        return [
            Spoken(author, created_at, "\n".join(text for *_, text in parts))
            for (_, author, created_at), parts in groupby(rows, key=lambda row: tuple(row[:3]))
        ]

    def of_person_since(self, lane: Lane, at: datetime) -> models.Answer | None:
        """Return the newest answer of a person in the lane since a moment, unless it could not be sent."""
        return self._one(_OF_PERSON, lane=lane, at=at)

    def latest_apology(self, lane: Lane, since: datetime) -> models.Answer | None:
        """Return an apology of the lane that was accepted since a moment."""
        return self._one(_APOLOGY, lane=lane, since=since)


_PARTS = Prepared(
    owned(answer_parts, models.Part)
    .where(answer_parts.c.answer_id == bindparam("answer_id"))
    .order_by(answer_parts.c.part_no)
)


class Parts(OwnedRepository[models.Part]):
    """Pieces of answers."""

    table, entity, noun = answer_parts, models.Part, "part"

    def of(self, answer_id: UUID) -> list[models.Part]:
        return self._many(_PARTS, answer_id=answer_id)


_ATTEMPTS = owned(attempts, models.Attempt)
_OF_PART = Prepared(_ATTEMPTS.where(attempts.c.part_id == bindparam("part_id")).order_by(attempts.c.number))
_OF_ANSWER = Prepared(_ATTEMPTS.where(attempts.c.answer_id == bindparam("answer_id")).order_by(attempts.c.id))
_IN_FLIGHT = Prepared(_ATTEMPTS.where(attempts.c.lane == bindparam("lane"), text("state IN ('sending','unknown')")))


class Attempts(OwnedRepository[models.Attempt]):
    """Create calls."""

    table, entity, noun = attempts, models.Attempt, "attempt"

    def add(self, entity: models.Attempt) -> models.Attempt:
        self._uow.count(SENDS, entity.state)
        return super().add(entity)

    def change(self, id_: UUID, **columns: object) -> bool:
        """Set columns of one row; every state that an attempt comes into is counted here."""
        if "state" in columns:
            self._uow.count(SENDS, str(columns["state"]))
        return super().change(id_, **columns)

    def of_part(self, part_id: UUID) -> list[models.Attempt]:
        return self._many(_OF_PART, part_id=part_id)

    def in_flight(self, lane: Lane) -> models.Attempt | None:
        """Return the one attempt to this pair of addresses that is `sending` or `unknown`."""
        return self._one(_IN_FLIGHT, lane=lane)

    def of_answer(self, answer_id: UUID) -> list[models.Attempt]:
        return self._many(_OF_ANSWER, answer_id=answer_id)


FoundBy: TypeAlias = Literal["create", "callback", "list"]
_NAMED = and_(
    sent_messages.c.account_id == param(sent_messages.c.account_id, "account"),
    sent_messages.c.provider_message_id == param(sent_messages.c.provider_message_id, "of_id"),
)
_BOUND_TO = Prepared(select(sent_messages.c.attempt_id).where(_NAMED))
_STATUS = Prepared(select(sent_messages.c.status).where(_NAMED))
_BIND = Prepared(
    inserting(
        sent_messages, "account_id", "provider_message_id", "owner_id", "attempt_id", "part_id", "found_by",
        "status", "created_at", "updated_at",
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
_IDS_OF = Prepared(
    select(sent_messages.c.provider_message_id).where(sent_messages.c.attempt_id == bindparam("attempt_id"))
)
_MADE_BY = Prepared(
    select(attempts.c.owner_id, attempts.c.lane, attempts.c.account_id).where(attempts.c.id == bindparam("id"))
)
_EVENT = Prepared(
    inserting(delivery_events, "id", "owner_id", "attempt_id", "provider_message_id", "status", "error_code", "at")
)


class SentMessages:
    """Messages of a provider that are known to be ours, by account and id; each belongs to one attempt."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow

    def attempt_of(self, account_id: UUID, provider_message_id: str) -> UUID | None:
        """Return the attempt that a provider's message belongs to."""
        for (attempt_id,) in self._uow.rows(_BOUND_TO, account=account_id, of_id=provider_message_id):
            found: UUID = attempt_id
            return found
        return None

    def status_of(self, account_id: UUID, provider_message_id: str) -> str | None:
        """Return the status that the provider reported last, or None for a message that is not ours."""
        for (status,) in self._uow.rows(_STATUS, account=account_id, of_id=provider_message_id):
            return str(status)
        return None

    def add(
        self, attempt: models.Attempt, provider_message_id: str, found_by: FoundBy, status: str, now: datetime
    ) -> None:
        """Store that the provider's message belongs to the attempt."""
        self._uow.run(
            _BIND,
            account_id=attempt.account_id,
            provider_message_id=provider_message_id,
            owner_id=attempt.owner_id,
            attempt_id=attempt.id,
            part_id=attempt.part_id,
            found_by=found_by,
            status=status,
            created_at=now,
            updated_at=now,
        )

    def give_to(self, attempt: models.Attempt, provider_message_id: str) -> None:
        """Move a message to another attempt, because a callback said so."""
        self._uow.run(
            _REBIND,
            account=attempt.account_id,
            of_id=provider_message_id,
            attempt_id=attempt.id,
            part_id=attempt.part_id,
        )

    def any_of(self, attempt_id: UUID) -> bool:
        """Return whether any message belongs to the attempt."""
        return bool(self._uow.rows(_IDS_OF, attempt_id=attempt_id))

    def set_status(
        self, account_id: UUID, provider_message_id: str, status: str, error_code: str | None, now: datetime
    ) -> None:
        """Store what the provider reported."""
        self._uow.run(
            _RAISE, account=account_id, of_id=provider_message_id, status=status, error_code=error_code, updated_at=now
        )


@dataclass(frozen=True, slots=True)
class AttemptOrigin:
    """Whose attempt it is, and the account it was made with."""

    owner_id: UUID
    lane: Lane
    account_id: UUID


def origin_of(uow: UnitOfWork, attempt_id: UUID) -> AttemptOrigin | None:
    """Return the owner and account of an attempt, without a check of the caller; None when there is no attempt."""
    for row in uow.rows(_MADE_BY, id=attempt_id):
        return AttemptOrigin(*row)
    return None


def add_delivery_event(
    uow: UnitOfWork,
    id_: UUID,
    attempt: models.Attempt,
    provider_message_id: str,
    status: str,
    error_code: str | None,
    now: datetime,
) -> None:
    """Keep a callback as it came."""
    uow.run(
        _EVENT,
        id=id_,
        owner_id=attempt.owner_id,
        attempt_id=attempt.id,
        provider_message_id=provider_message_id,
        status=status[:24],
        error_code=error_code,
        at=now,
    )
