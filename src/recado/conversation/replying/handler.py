"""Steps 6 to 8: from a claimed job to the one answer of its turn.

open      the lane's unturned messages join the turn; who may answer is decided before any agent (`open.py`)
run       the agent, outside any transaction, with a deadline (`run.py`)
commit    its result is stored behind the fence, and the job is ended (`commit.py`)
"""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar
from uuid import UUID

import structlog

from recado.conversation.errors import AgentFailed
from recado.conversation.models import Turn
from recado.conversation.ports import AgentResult, Agents, Usage
from recado.conversation.replying.apology import apologise, discard
from recado.conversation.replying.commit import commit
from recado.conversation.replying.jobs import REPLY
from recado.conversation.replying.open import (
    OpenedTurn,
    ReplyLimits,
    is_answered,
    join_new_messages,
    open_turn,
    turn_of,
)
from recado.conversation.replying.replays import replay
from recado.conversation.replying.run import STOOD_STILL, AgentRuns
from recado.conversation.sending.outbox import Split
from recado.conversation.sending.repository import Answers
from recado.conversation.transactions import Transaction, Transactions
from recado.core.clock import Clock
from recado.core.database.engine import Database
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.ids import Chance, Ids
from recado.core.metrics import Meters
from recado.core.queue.crash import CrashPoint, never
from recado.core.queue.job import Done, Job, JobResult, Replayed, ReplayRefused, RetryIn
from recado.core.queue.running.retrying import retry_while_leased
from recado.core.queue.service import Backoff
from recado.core.queue.storage import endings, inspection, lanes
from recado.core.tracing import NoTraces, Traces

log = structlog.get_logger(__name__)

T = TypeVar("T")


class ReplyHandler:
    """Answers the turn that a job stands for."""

    name = REPLY

    def __init__(
        self,
        database: Database,
        clock: Clock,
        ids: Ids,
        chance: Chance,
        agents: Agents,
        split: Split,
        limits: ReplyLimits,
        *,
        backoff: Backoff | None = None,
        crash: CrashPoint = never,
        meters: Meters | None = None,
        traces: Traces | None = None,
    ) -> None:
        self._clock = clock
        self._ids = ids
        self._chance = chance
        self._agents = agents
        self._split = split
        self._limits = limits
        self._backoff = backoff or Backoff()
        self._crash = crash
        self._transactions = Transactions(database, clock, ids)
        self._runs = AgentRuns(
            self._transactions, clock, agents, limits.agent, meters or Meters(), traces or NoTraces()
        )

    @property
    def time_limit(self) -> timedelta:
        """Twice the agent's time, because a newer message may start the first run again after its window."""
        return 2 * self._limits.agent + self._limits.burst

    async def run(self, job: Job) -> JobResult:
        turn_id = job.turn_id
        while True:
            opened = await self._open(job, turn_id)
            if opened is None:
                return Done(recorded=True)
            turn_id = opened.turn.id
            if job.may_be_lost(self._clock.now()):  # Its next holder may run it already.
                await self._runs.end(job, opened, STOOD_STILL, Usage())
                return RetryIn(timedelta(), str(STOOD_STILL.why), counts=False)
            try:
                result = await self._runs.run(job, opened)
            except AgentFailed as error:
                log.warning("agent.failed", turn=str(opened.turn.id), reason=error.reason, attempt=job.attempts + 1)
                return await self._failed(job, opened, error)
            self._crash("after_agent")
            if result == "lease_lost":
                return Done(recorded=True)
            if result != "newer_message" and await self._commit(job, opened, result):
                self._crash("after_commit")
                return Done(recorded=True)
            if not await self._let_newer_messages_join(job, opened.turn):
                return Done(recorded=True)

    async def _open(self, job: Job, turn_id: UUID | None) -> OpenedTurn | None:
        agent = await self._agents.agent_for(job.owner_id)
        history_limit = self._agents.history_limit(agent)
        return await self._write(
            job, lambda tx: open_turn(tx, job, turn_id, agent, history_limit, self._limits, self._split)
        )

    async def _commit(self, job: Job, opened: OpenedTurn, result: AgentResult) -> bool:
        return await retry_while_leased(
            job, lambda: self._write(job, lambda tx: commit(tx, job, opened, result, self._split))
        )

    async def _failed(self, job: Job, opened: OpenedTurn, error: AgentFailed) -> JobResult:
        """Try again later, or give the turn up at once when another run would fail as well."""
        if error.retryable:
            return RetryIn(self._backoff.after(job.attempts, self._chance), error.reason)

        def give_up(tx: Transaction) -> None:
            lanes.lock_lanes(tx.uow, [job.lane])
            if endings.dead_letter(tx.uow, job, tx.now, error.reason):
                self._apologise(tx, job, opened.turn.id)

        await self._write(job, give_up)
        return Done(recorded=True)

    async def _let_newer_messages_join(self, job: Job, turn: Turn) -> bool:
        """Wait until the burst window of the newer messages ends. Return False when the lease is lost meanwhile."""
        while not job.lost.is_set():
            joined = await self._write(job, lambda tx: join_new_messages(tx, job, turn))
            if isinstance(joined, bool):
                job.newer_message.clear()
                return joined
            await asyncio.sleep(max(0.0, (joined - self._clock.now()).total_seconds()))
        return False

    async def _write(self, job: Job, work: Callable[[Transaction], T]) -> T:
        return await self._transactions.write(work, owner=job.owner_id, urgent=True)

    # --- In transactions of the queue ---------------------------------------------------------------------------------

    def exhausted(self, uow: UnitOfWork, job: Job, error: str) -> None:  # noqa: ARG002 - the row keeps the error
        """Apologise for a job that is given up, in the transaction that makes the dead letter."""
        tx = self._transactions.within(uow).of_owner(job.owner_id)
        lanes.lock_lanes(uow, [job.lane])
        stored = inspection.find(uow, job.id)
        self._apologise(tx, job, stored.turn_id if stored else job.turn_id)

    def _apologise(self, tx: Transaction, job: Job, turn_id: UUID | None) -> None:
        turn, group = turn_of(tx, job, turn_id, self._limits.answer)
        if turn is not None and not is_answered(tx, turn):
            apologise(tx, job, turn, group, self._split)

    def replay(self, uow: UnitOfWork, job: Job, *, force: bool) -> Replayed | ReplayRefused:
        """Start a dead letter again, as a new turn over its messages."""
        tx = self._transactions.within(uow).of_owner(job.owner_id)
        return replay(tx, job, self._limits.answer, force=force)

    def discarded(self, uow: UnitOfWork, job: Job) -> str | None:
        """Settle the messages of a job that a person discards before it ran."""
        tx = self._transactions.within(uow).of_owner(job.owner_id)
        turn, _ = turn_of(tx, job, job.turn_id, self._limits.answer)
        if turn is not None and Answers(tx.uow).of_turn(turn.id) is None:
            discard(tx, turn)
        return None
