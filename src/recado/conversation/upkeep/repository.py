"""Questions of upkeep: what lost its job, which turns are past their deadline, where nobody has spoken for long.

Each is answered from an index that is empty, or nearly so, when all is well. They read the rows of all owners.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias
from uuid import UUID

from sqlalchemy import ColumnElement, Select, TextClause, bindparam, or_, select, text, tuple_, update

from recado.conversation.models import ConversationStatus
from recado.conversation.tables import answers, attempts, conversations, messages, turns
from recado.core.database.prepared import Prepared, param
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.queue.lane import Lane
from recado.core.queue.storage.tables import message_queue

STEP = 100
"""The most rows one step of a rescue reads."""

Position: TypeAlias = tuple[datetime, UUID]
"""Where a page ends: a time, and the id of the row that has it."""

_UNFINISHED = text("message_queue.status IN ('collecting','waiting','running')")
_JOB = select(message_queue.c.id)


def _none(of: Select[UUID], *conditions: ColumnElement[bool] | TextClause) -> ColumnElement[bool]:
    """Return the condition that there is no such row.

    It is a scalar, which an index answers for each row. For NOT EXISTS, PostgreSQL would read the whole other table.
    """
    return of.where(*conditions).limit(1).scalar_subquery().is_(None)


_NO_ANSWER = _none(select(answers.c.id), answers.c.turn_id == turns.c.id)

# --- Turns past their deadline ----------------------------------------------------------------------------------------


def overdue_turns(uow: UnitOfWork, now: datetime, after: Position) -> list[Position]:
    """Return the deadlines and ids of the next unsettled, unanswered turns whose deadline is over."""
    statement = (
        select(turns.c.deadline_at, turns.c.id)
        .where(turns.c.settled_at.is_(None), turns.c.deadline_at < now, turns.c.deadline_at >= after[0], _NO_ANSWER)
        .where(or_(turns.c.deadline_at > after[0], turns.c.id > after[1]))
        .order_by(turns.c.deadline_at, turns.c.id)
        .limit(STEP)
    )
    return [(row["deadline_at"], row["id"]) for row in uow.all(statement)]


def job_of_turn(uow: UnitOfWork, turn_id: UUID) -> UUID | None:
    """Return the id of the unfinished job that carries a turn."""
    found = uow.first(_JOB.where(message_queue.c.turn_id == turn_id, _UNFINISHED))
    return None if found is None else found["id"]


# --- What lost its job ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LaneWithoutJob:
    """A lane with unturned messages, or with an unsettled turn, that no unfinished job will move on."""

    owner_id: UUID
    lane: Lane
    turn_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class AnswerWithoutJob:
    """An answer without a final state that no unfinished job sends, and the lane in which it would be sent."""

    owner_id: UUID
    lane: Lane
    id: UUID


@dataclass(frozen=True, slots=True)
class WithoutJob:
    """All that was found to have lost its job, up to `STEP` of each kind."""

    lanes: list[LaneWithoutJob]
    turns: list[LaneWithoutJob]
    answers: list[AnswerWithoutJob]


def _lanes(before: datetime) -> Select[*tuple[Any, ...]]:
    idle = _none(_JOB, message_queue.c.lane == messages.c.lane, _UNFINISHED)
    return (
        select(messages.c.owner_id, messages.c.lane)
        .where(messages.c.turn_id.is_(None), messages.c.outcome.is_(None), messages.c.received_at < before, idle)
        .distinct()
        .limit(STEP)
    )


def _turns(before: datetime) -> Select[*tuple[Any, ...]]:
    idle = _none(_JOB, message_queue.c.lane == turns.c.lane, _UNFINISHED)
    return (
        select(turns.c.owner_id, turns.c.lane, turns.c.id.label("turn_id"))
        .where(turns.c.settled_at.is_(None), turns.c.created_at < before, idle, _NO_ANSWER)
        .limit(STEP)
    )


def _answers(before: datetime) -> Select[*tuple[Any, ...]]:
    idle = _none(_JOB, message_queue.c.lane == answers.c.send_lane, _UNFINISHED)
    return (
        select(answers.c.owner_id, answers.c.send_lane.label("lane"), answers.c.id)
        .where(answers.c.settled_at.is_(None), answers.c.created_at < before, idle)
        .limit(STEP)
    )


def anything_without_job(uow: UnitOfWork, before: datetime) -> bool:
    """Return whether anything older than `before` lost its job.

    The statements may take long: each of a million waiting messages is looked up (7 s on a busy machine).
    """
    uow.allow_long_statements()
    return any(uow.first(question(before).limit(1)) is not None for question in (_lanes, _turns, _answers))


def all_without_job(uow: UnitOfWork, before: datetime) -> WithoutJob:
    """Return what older than `before` lost its job."""
    return _without_job(uow, _lanes(before), _turns(before), _answers(before))


def still_without_job(uow: UnitOfWork, before: datetime, found: Collection[Lane]) -> WithoutJob:
    """Return the same of some lanes only."""
    names = sorted(found)
    return _without_job(
        uow,
        _lanes(before).where(messages.c.lane.in_(names)),
        _turns(before).where(turns.c.lane.in_(names)),
        _answers(before).where(answers.c.send_lane.in_(names)),
    )


def _without_job(
    uow: UnitOfWork,
    of_lanes: Select[*tuple[Any, ...]],
    of_turns: Select[*tuple[Any, ...]],
    of_answers: Select[*tuple[Any, ...]],
) -> WithoutJob:
    lanes = [LaneWithoutJob(**row) for row in uow.all(of_lanes)]
    jobless = {lost.lane for lost in lanes}
    # One job for a lane: a turn of the same lane is found by the next run.
    found = [LaneWithoutJob(**row) for row in uow.all(of_turns)]
    return WithoutJob(
        lanes,
        [lost for lost in found if lost.lane not in jobless],
        [AnswerWithoutJob(**row) for row in uow.all(of_answers)],
    )


# --- Conversations in which nobody speaks -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class IdleCandidate:
    """A conversation that looked idle when its page was read."""

    last_activity_at: datetime
    id: UUID
    owner_id: UUID
    lane: Lane


# The first two conditions are those of the index, word for word: SQLite uses it for nothing else.
IDLE_QUERY = Prepared(
    select(conversations.c.last_activity_at, conversations.c.id, conversations.c.owner_id, conversations.c.lane)
    .where(
        conversations.c.status != text("'closed'"),
        conversations.c.held_by == text("'agent'"),
        conversations.c.status == bindparam("status"),
        conversations.c.last_activity_at <= bindparam("since"),
        tuple_(conversations.c.last_activity_at, conversations.c.id)
        > tuple_(param(conversations.c.last_activity_at, "after"), param(conversations.c.id, "after_id")),
    )
    .order_by(conversations.c.last_activity_at, conversations.c.id)
    .limit(bindparam("most"))
)
_AHEAD = Prepared(
    select(conversations.c.id)
    .where(
        conversations.c.status != text("'closed'"),
        conversations.c.held_by == text("'agent'"),
        conversations.c.status == bindparam("status"),
        conversations.c.last_activity_at > bindparam("ahead"),
    )
    .limit(bindparam("most"))
)
_RESET = Prepared(
    update(conversations)
    .where(conversations.c.id == bindparam("of_id"), conversations.c.last_activity_at > bindparam("ahead"))
    .values(last_activity_at=param(conversations.c.last_activity_at, "now"))
)


def idle_conversations(
    uow: UnitOfWork, status: ConversationStatus, since: datetime, after: Position, limit: int
) -> list[IdleCandidate]:
    """Return the next conversations that the agent holds and in which nobody has spoken since a moment."""
    rows = uow.rows(IDLE_QUERY, status=status, since=since, after=after[0], after_id=after[1], most=limit)
    return [IdleCandidate(*row) for row in rows]


def active_after(uow: UnitOfWork, status: ConversationStatus, moment: datetime, limit: int) -> list[UUID]:
    """Return conversations whose last activity lies after a moment that is still to come."""
    return [id_ for (id_,) in uow.rows(_AHEAD, status=status, ahead=moment, most=limit)]


def reset_activity(uow: UnitOfWork, ids: Sequence[UUID], ahead: datetime, now: datetime) -> None:
    """Set the last activity to `now` where it lies after `ahead`."""
    uow.run_many(_RESET, [{"of_id": id_, "now": now, "ahead": ahead} for id_ in ids])


# --- What is under way over a number ----------------------------------------------------------------------------------

_UNTURNED = select(messages.c.id).where(
    messages.c.address_id == bindparam("address_id"), messages.c.turn_id.is_(None), messages.c.outcome.is_(None)
)
_UNSETTLED_TURN = (
    select(turns.c.id)
    .join(conversations, conversations.c.id == turns.c.conversation_id)
    .where(turns.c.settled_at.is_(None), conversations.c.address_id == bindparam("address_id"))
)
_UNSETTLED_ANSWER = select(answers.c.id).where(
    answers.c.settled_at.is_(None), answers.c.address_id == bindparam("address_id")
)
_OVER_ADDRESS = [Prepared(each.limit(1)) for each in (_UNTURNED, _UNSETTLED_TURN, _UNSETTLED_ANSWER)]
_WITH_ACCOUNT = Prepared(
    select(attempts.c.id)
    .where(text("state IN ('sending','unknown')"), attempts.c.account_id == bindparam("account_id"))
    .limit(1)
)


def is_address_busy(uow: UnitOfWork, address_id: UUID) -> bool:
    """Return whether a message to a number of ours, or an answer from it, is not settled."""
    return any(uow.rows(each, address_id=address_id) for each in _OVER_ADDRESS)


def is_account_busy(uow: UnitOfWork, account_id: UUID) -> bool:
    """Return whether it is not known yet what became of an attempt that was made with an account."""
    return bool(uow.rows(_WITH_ACCOUNT, account_id=account_id))
