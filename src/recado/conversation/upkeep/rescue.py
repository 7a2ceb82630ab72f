"""What nobody moves is moved here: turns past their deadline, and work whose job is gone.

The second kind should not exist: every row that has to go somewhere is stored in the transaction that stores its job.
If an operator's SQL, a restored backup or a mistake of ours made one all the same, it gets a new job within a minute
instead of waiting for somebody to read the violations of `recado verify`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID

import structlog
from sqlalchemy import ColumnElement, Select, TextClause, or_, select, text

from recado.conversation.replying.handler import ReplyHandler
from recado.conversation.replying.jobs import REPLY
from recado.conversation.repository import Answers, Turns
from recado.conversation.sending.outbox import Outbox, send_lane
from recado.conversation.tables import answers, messages, turns
from recado.core.clock import Clock
from recado.core.database.engine import Database
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.ids import Ids
from recado.core.queue.job import NewJob
from recado.core.queue.storage import endings, enqueue, inspection
from recado.core.queue.storage.tables import UNFINISHED, message_queue

log = structlog.get_logger(__name__)

STEP = 100
RUN_LIMIT = timedelta(minutes=3)
"""When a round leaves the rest to the next one."""
_FIRST = datetime(1970, 1, 1, tzinfo=UTC)
SETTLED_BY_NOW = timedelta(minutes=1)
"""Younger rows may belong to a transaction's reader that is a moment behind; nobody mends those."""

_UNFINISHED = text("message_queue.status IN ('collecting','waiting','running')")


@dataclass(frozen=True, slots=True)
class RescueReport:
    """What one round found and moved."""

    overdue_turns: int = 0
    lanes_without_job: int = 0
    answers_without_job: int = 0


class Rescue:
    """One round looks at a few indexes that are empty when all is well."""

    def __init__(self, database: Database, clock: Clock, ids: Ids, replies: ReplyHandler, max_attempts: int) -> None:
        self._database = database
        self._clock = clock
        self._ids = ids
        self._replies = replies
        self._max_attempts = max_attempts

    async def run(self) -> RescueReport:
        now = self._clock.now()
        found = RescueReport(await self._settle_overdue(now))
        # Looked for beside the writer: where much waits, the look takes longer than anybody may hold it.
        while await self._database.read(lambda uow: _any_without_job(uow, now - SETTLED_BY_NOW), owner=None):
            lanes, unsent = await self._database.write(lambda uow: self._restore_jobs(uow, now), owner=None)
            found = replace(
                found,
                lanes_without_job=found.lanes_without_job + lanes,
                answers_without_job=found.answers_without_job + unsent,
            )
            if not lanes + unsent or self._clock.now() - now >= RUN_LIMIT:
                break
        if found != RescueReport():
            log.warning(
                "conversation.rescued",
                turns=found.overdue_turns,
                lanes=found.lanes_without_job,
                answers=found.answers_without_job,
            )
        return found

    async def _settle_overdue(self, now: datetime) -> int:
        """How many; by pages, for those that are to be left alone must not hide the others behind them."""
        settled, after = 0, (_FIRST, UUID(int=0))
        while page := await self._database.read(partial(_page_of_overdue, now=now, after=after), owner=None):
            for turn_id, _ in page:
                settled += await self._settle(turn_id)
            after = (page[-1][1], page[-1][0])
            if len(page) < STEP or self._clock.now() - now >= RUN_LIMIT:
                break
        return settled

    async def _settle(self, turn_id: UUID) -> bool:
        now = self._clock.now()
        return await self._database.write(lambda uow: self._give_up(uow, turn_id, now), owner=None)

    def _give_up(self, uow: UnitOfWork, turn_id: UUID, now: datetime) -> bool:
        """The job dies and the lease of whoever runs it is worth nothing any more, in one transaction."""
        found = _ids_of(uow, select(message_queue.c.id).where(message_queue.c.turn_id == turn_id, _UNFINISHED))
        job = inspection.find_held(uow, found[0]) if found else None
        if job is None or job.name != REPLY or job.status not in UNFINISHED:
            return False
        turn = Turns(uow.for_owner(job.owner_id)).require(turn_id)
        if turn.settled_at is not None or turn.deadline_at >= now:
            return False
        # A suspect's wait does not count, and a second chance's time begins with its first claim: both are reckoned
        # where the turn is opened, which a claimed suspect's own process may not have come to yet.
        second_chance = turn.replay_of is not None or turn.resumes
        if job.isolated or (second_chance and job.status == "waiting" and job.attempts == 0):
            return False
        endings.force_dead(uow, job, now, "no answer before the deadline")
        self._replies.exhausted(uow, job, "no answer before the deadline")
        return True

    def _restore_jobs(self, uow: UnitOfWork, now: datetime) -> tuple[int, int]:
        """New jobs for what has lost its own."""
        uow.allow_long_statements()
        lanes = uow.all(_lanes_without_job(now - SETTLED_BY_NOW))
        enqueue.add(uow, [self._reply_job(row["owner_id"], row["lane"], None, now) for row in lanes])
        orphaned = uow.all(_turns_without_job(now - SETTLED_BY_NOW))
        enqueue.add(uow, [self._reply_job(row["owner_id"], row["lane"], row["id"], now) for row in orphaned])
        unsent = uow.all(_answers_without_job(now - SETTLED_BY_NOW))
        for row in unsent:
            mine = uow.for_owner(row["owner_id"])
            Outbox(mine, self._ids, now, lambda whole: [whole]).send(Answers(mine).require(row["id"]))
        return len(lanes) + len(orphaned), len(unsent)

    def _reply_job(self, owner_id: UUID, lane: str, turn_id: UUID | None, now: datetime) -> NewJob:
        return NewJob(
            id=self._ids.new(),
            name=REPLY,
            owner_id=owner_id,
            created_at=now,
            due_at=now,
            lane=lane,
            turn_id=turn_id,
            max_attempts=self._max_attempts,
        )


def _ids_of(uow: UnitOfWork, statement: Select[UUID]) -> Sequence[UUID]:
    return [row["id"] for row in uow.all(statement)]


def _any_without_job(uow: UnitOfWork, before: datetime) -> bool:
    uow.allow_long_statements()  # Of a million messages that wait each is looked up: seven seconds, on a busy machine.
    questions = (_lanes_without_job, _turns_without_job, _answers_without_job)
    return any(uow.first(question(before).limit(1)) is not None for question in questions)


def _none(of: Select[UUID], *conditions: ColumnElement[bool] | TextClause) -> ColumnElement[bool]:
    """There is no such row. A scalar, which is looked up in an index for each row: PostgreSQL would read all rows of
    the other table once, to join them with what NOT EXISTS asks."""
    return of.where(*conditions).limit(1).scalar_subquery().is_(None)


def _page_of_overdue(uow: UnitOfWork, now: datetime, after: tuple[datetime, UUID]) -> list[tuple[UUID, datetime]]:
    statement = (
        select(turns.c.id, turns.c.deadline_at)
        .where(turns.c.settled_at.is_(None), turns.c.deadline_at < now, turns.c.deadline_at >= after[0], _NO_ANSWER)
        .where(or_(turns.c.deadline_at > after[0], turns.c.id > after[1]))
        .order_by(turns.c.deadline_at, turns.c.id)
        .limit(STEP)
    )
    return [(row["id"], row["deadline_at"]) for row in uow.all(statement)]


_NO_ANSWER = _none(select(answers.c.id), answers.c.turn_id == turns.c.id)
_JOB = select(message_queue.c.id)


def _lanes_without_job(before: datetime) -> Select[UUID, str]:
    idle = _none(_JOB, message_queue.c.lane == messages.c.lane, _UNFINISHED)
    return (
        select(messages.c.owner_id, messages.c.lane)
        .where(messages.c.turn_id.is_(None), messages.c.outcome.is_(None), messages.c.received_at < before, idle)
        .distinct()
        .limit(STEP)
    )


def _turns_without_job(before: datetime) -> Select[UUID, UUID, str]:
    idle = _none(_JOB, message_queue.c.lane == turns.c.lane, _UNFINISHED)
    return (
        select(turns.c.id, turns.c.owner_id, turns.c.lane)
        .where(turns.c.settled_at.is_(None), turns.c.created_at < before, idle, _NO_ANSWER)
        .limit(STEP)
    )


def _answers_without_job(before: datetime) -> Select[UUID, UUID]:
    idle = _none(_JOB, text(f"message_queue.lane = '{send_lane('')}' || answers.lane"), _UNFINISHED)
    return (
        select(answers.c.id, answers.c.owner_id)
        .where(answers.c.settled_at.is_(None), answers.c.created_at < before, idle)
        .limit(STEP)
    )
