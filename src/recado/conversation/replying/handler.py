"""Steps 6 to 8: from a claimed job to the one answer of its turn.

open      the lane's unturned messages join the turn; who may answer is decided before any agent (`open.py`)
run       the agent, outside any transaction, with a deadline (`run.py`)
commit    its result is stored behind the fence, and the job is ended (`commit.py`)
"""

import asyncio
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from recado.conversation.errors import AgentFailed
from recado.conversation.models import Turn
from recado.conversation.ports import AgentResult, Agents, Channels, Usage
from recado.conversation.replying.apology import apologise, discard
from recado.conversation.replying.commit import commit
from recado.conversation.replying.jobs import REPLY
from recado.conversation.replying.open import (
    KnownAgents,
    OpenedTurn,
    ReplyLimits,
    join_new_messages,
    open_turn,
)
from recado.conversation.replying.reception import turn_of
from recado.conversation.replying.replays import replay
from recado.conversation.replying.run import STOOD_STILL, AgentRuns
from recado.conversation.sending.outbox import Split
from recado.core.clock import Clock
from recado.core.database.engine import Database
from recado.core.ids import Chance, Ids
from recado.core.metrics import Meters
from recado.core.queue.crash import CrashPoint, never
from recado.core.queue.job import Claim, Done, JobResult, Replayed, ReplayRefused, RetryIn, StoredJob
from recado.core.queue.lane import HeldLanes
from recado.core.queue.running.retrying import retry_while_leased
from recado.core.queue.service import Backoff
from recado.core.queue.storage import endings, inspection
from recado.core.queue.transactions import LaneTransaction, Transactions
from recado.core.tracing import NoTraces, Traces

log = structlog.get_logger(__name__)


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
        channels: Channels,
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
        self._channels = channels
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

    async def run(self, claim: Claim) -> JobResult:
        job, turn_id = claim.job, claim.job.turn_id
        while True:
            opened = await self._open(claim, turn_id)
            if opened is None:
                return Done(recorded=True)
            turn_id = opened.turn.id
            if claim.may_be_lost(self._clock.now()):  # Its next holder may run it already.
                await self._runs.end(claim, opened, STOOD_STILL, Usage())
                return RetryIn(timedelta(), str(STOOD_STILL.why), counts=False)
            try:
                result = await self._runs.run(claim, opened)
            except AgentFailed as error:
                log.warning("agent.failed", turn=str(opened.turn.id), reason=error.reason, attempt=job.attempts + 1)
                return await self._failed(claim, opened, error)
            self._crash("after_agent")
            if result == "lease_lost":
                return Done(recorded=True)
            if result != "newer_message" and await self._commit(claim, opened, result):
                self._crash("after_commit")
                return Done(recorded=True)
            if not await self._let_newer_messages_join(claim, opened.turn):
                return Done(recorded=True)

    async def _open(self, claim: Claim, turn_id: UUID | None) -> OpenedTurn | None:
        known = KnownAgents(await self._agents.agents_of(claim.job.owner_id), self._agents.history_limit)
        return await self._transactions.write_job(
            claim, lambda tx: open_turn(tx, claim, turn_id, known, self._limits, self._split)
        )

    async def _commit(self, claim: Claim, opened: OpenedTurn, result: AgentResult) -> bool:
        return await retry_while_leased(
            claim,
            lambda: self._transactions.write_job(
                claim, lambda tx: commit(tx, claim, opened, result, self._split, self._channels)
            ),
        )

    async def _failed(self, claim: Claim, opened: OpenedTurn, error: AgentFailed) -> JobResult:
        """Try again later, or give the turn up at once when another run would fail as well."""
        if error.retryable:
            return RetryIn(self._backoff.after(claim.job.attempts, self._chance), error.reason)

        def give_up(tx: LaneTransaction) -> None:
            if endings.dead_letter(tx.held, claim, tx.now, error.reason, attempts=claim.job.attempts + 1):
                self._apologise(tx, claim.job, opened.turn.id)

        await self._transactions.write_job(claim, give_up)
        return Done(recorded=True)

    async def _let_newer_messages_join(self, claim: Claim, turn: Turn) -> bool:
        """Wait until the burst window of the newer messages ends. Return False when the lease is lost meanwhile."""
        while not claim.is_lost:
            joined = await self._transactions.write_job(claim, lambda tx: join_new_messages(tx, claim, turn))
            if isinstance(joined, bool):
                claim.newer_message_joined()
                return joined
            await asyncio.sleep(max(0.0, (joined - self._clock.now()).total_seconds()))
        return False

    # --- In transactions of the queue ---------------------------------------------------------------------------------

    def exhausted(self, held: HeldLanes, job: StoredJob, error: str, now: datetime, ids: Ids) -> None:  # noqa: ARG002
        """Apologise for a job that is given up, in the transaction that makes the dead letter."""
        tx = LaneTransaction.of_queue(held, job.owner_id, now, ids)
        stored = inspection.find(tx.uow, job.id)
        self._apologise(tx, job, stored.turn_id if stored else job.turn_id)

    def _apologise(self, tx: LaneTransaction, job: StoredJob, turn_id: UUID | None) -> None:
        carried = turn_of(tx, job, turn_id, self._limits.answer)
        if carried is not None and not carried.answered:
            apologise(tx, job, carried, self._split)

    def replay(
        self, held: HeldLanes, job: StoredJob, *, force: bool, now: datetime, ids: Ids
    ) -> Replayed | ReplayRefused:
        """Start a dead letter again, as a new turn over its messages."""
        tx = LaneTransaction.of_queue(held, job.owner_id, now, ids)
        return replay(tx, job, self._limits.answer, self._channels, force=force)

    def discarded(self, held: HeldLanes, job: StoredJob, now: datetime, ids: Ids) -> str | None:
        """Settle the messages of a job that a person discards before it ran."""
        tx = LaneTransaction.of_queue(held, job.owner_id, now, ids)
        carried = turn_of(tx, job, job.turn_id, self._limits.answer)
        if carried is not None and not carried.answered:
            discard(tx, carried.turn)
        return None
