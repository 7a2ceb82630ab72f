"""Move on what nothing else moves: turns past their deadline, and work whose job is gone.

The second kind should not exist: every row that has to go somewhere is stored in the transaction that stores its job.
If an operator's SQL, a restored backup or a mistake of ours made one all the same, it gets a new job within a minute
instead of waiting until somebody reads the violations of `recado verify`.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

import structlog

from recado.conversation.replying.apology import apologise
from recado.conversation.replying.jobs import REPLY, reply_job
from recado.conversation.replying.open import NO_ANSWER_IN_TIME
from recado.conversation.replying.reception import read_turn
from recado.conversation.repository import Turns
from recado.conversation.sending.outbox import Split, enqueue_send
from recado.conversation.sending.repository import Answers
from recado.conversation.upkeep.repository import (
    STEP,
    LaneWithoutJob,
    WithoutJob,
    all_without_job,
    anything_without_job,
    job_of_turn,
    overdue_turns,
    still_without_job,
)
from recado.core.clock import Clock
from recado.core.database.engine import Database
from recado.core.database.pages import FIRST_PLACE
from recado.core.ids import Ids
from recado.core.queue.job import NewJob
from recado.core.queue.lane import Lane
from recado.core.queue.storage import endings, enqueue, inspection, lanes
from recado.core.queue.storage.lanes import LaneOwner
from recado.core.queue.storage.tables import UNFINISHED
from recado.core.queue.transactions import Transaction, Transactions, UnlockedTransaction

log = structlog.get_logger(__name__)

RUN_LIMIT = timedelta(minutes=3)
"""After this a run leaves the rest to the next one."""
SETTLED_BY_NOW = timedelta(minutes=1)
"""Younger rows are left alone: the snapshot that found them may be a moment old."""


@dataclass(frozen=True, slots=True)
class RescueReport:
    """What one run found and moved on."""

    overdue_turns: int = 0
    lanes_without_job: int = 0
    answers_without_job: int = 0


class Rescue:
    """Settles turns past their deadline and gives new jobs to what lost its own. Any number of runs may overlap."""

    def __init__(self, database: Database, clock: Clock, ids: Ids, split: Split, max_attempts: int) -> None:
        self._database = database
        self._transactions = Transactions(database, clock, ids)
        self._clock = clock
        self._split = split
        self._max_attempts = max_attempts

    async def run(self) -> RescueReport:
        """Move on what is found, for at most `RUN_LIMIT`."""
        begun = self._clock.now()
        report = RescueReport(await self._settle_overdue(begun))
        before = begun - SETTLED_BY_NOW
        # The search is a read: where much waits it takes longer than the one writer may be kept busy.
        while await self._database.read(partial(anything_without_job, before=before), owner=None):
            replies, sends = await self._transactions.write(partial(self._restore_jobs, before=before), owner=None)
            report = replace(
                report,
                lanes_without_job=report.lanes_without_job + replies,
                answers_without_job=report.answers_without_job + sends,
            )
            if not replies + sends or self._clock.now() - begun >= RUN_LIMIT:
                break
        if report != RescueReport():
            log.warning(
                "conversation.rescued",
                turns=report.overdue_turns,
                lanes=report.lanes_without_job,
                answers=report.answers_without_job,
            )
        return report

    # --- Turns past their deadline ------------------------------------------------------------------------------------

    async def _settle_overdue(self, begun: datetime) -> int:
        """Return how many turns were settled. Pages go on behind turns that are to be left alone."""
        settled, after = 0, FIRST_PLACE
        while page := await self._database.read(partial(overdue_turns, now=begun, after=after), owner=None):
            for _, turn_id in page:
                settled += await self._transactions.write(partial(self._give_up, turn_id=turn_id), owner=None)
            after = page[-1]
            if len(page) < STEP or self._clock.now() - begun >= RUN_LIMIT:
                break
        return settled

    def _give_up(self, tx: UnlockedTransaction, turn_id: UUID) -> bool:
        """Make the job dead and fence its lease in one transaction with the apology."""
        job_id = job_of_turn(tx.uow, turn_id)
        found = inspection.hold_job(tx.uow, job_id) if job_id else None
        if found is None or found[1].name != REPLY or found[1].status not in UNFINISHED:
            return False
        held, job = found
        tx = tx.of_owner(job.owner_id)
        turn = Turns(tx.uow).require(turn_id)
        if turn.settled_at is not None or turn.deadline_at >= tx.now:
            return False
        # Waiting to be isolated does not count, and the time of a replay or a release begins with its first claim.
        # Both are reckoned when the turn is opened, which the process of an isolated job may not have done yet.
        not_begun = job.status == "waiting" and job.attempts == 0 and (turn.replay_of is not None or turn.resumes)
        if job.isolated or not_begun:
            return False
        endings.force_dead(held, job, tx.now, NO_ANSWER_IN_TIME)
        carried = read_turn(tx, turn)
        if not carried.answered:
            apologise(tx.holding(held), job, carried, self._split)
        return True

    # --- What lost its job --------------------------------------------------------------------------------------------

    def _restore_jobs(self, tx: UnlockedTransaction, before: datetime) -> tuple[int, int]:
        """Return how many lanes and how many answers got a new job.

        What was found is searched again once its lanes are held: another transaction may have given it a job meanwhile.
        """
        tx.uow.allow_long_statements()
        owners = _owners(all_without_job(tx.uow, before))
        held = tx.holding(lanes.hold_or_create(tx.uow, owners))
        lost = still_without_job(tx.uow, before, owners)
        enqueue.add(held.held, [self._reply_job(held, each) for each in (*lost.lanes, *lost.turns)])
        for each in lost.answers:
            mine = held.of_owner(each.owner_id)
            enqueue_send(mine, Answers(mine.uow).require(each.id))
        return len(lost.lanes) + len(lost.turns), len(lost.answers)

    def _reply_job(self, tx: Transaction, lost: LaneWithoutJob) -> NewJob:
        return reply_job(tx, lost.owner_id, lost.lane, self._max_attempts, turn_id=lost.turn_id)


def _owners(found: WithoutJob) -> dict[Lane, LaneOwner]:
    """Return the lanes in which jobs are to be stored, whose they are, and of which kind."""
    replies = {lost.lane: LaneOwner(lost.owner_id, "reply") for lost in (*found.lanes, *found.turns)}
    return replies | {lost.lane: LaneOwner(lost.owner_id, "send") for lost in found.answers}
