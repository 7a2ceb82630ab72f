"""Step 9, the send state machine: one part after the other, and none of them twice.

An attempt row is committed before each create call (`next_step.py`). The call may end in:

    accepted   the provider named the message
    refused    it surely will not be sent; final
    retry      it surely was not processed; again later, for as long as the channel allows
    unknown    it may or may not have been sent (`unknown.py`)
"""

from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from recado.conversation.models import Answer
from recado.conversation.ports import Channels, NotProcessed, SendResult, Sent
from recado.conversation.sending.next_step import (
    Call,
    JobEnded,
    Poll,
    Wait,
    answer_id_of,
    free_pair,
    next_step,
)
from recado.conversation.sending.outbox import SEND, enqueue_send
from recado.conversation.sending.policy import why_not_replay
from recado.conversation.sending.repository import Answers, Attempts, Parts
from recado.conversation.sending.results import Accounts, SendRules, change_state, dead_letter_payload, record
from recado.conversation.sending.unknown import created_within, record_poll
from recado.conversation.settlement import Settlement
from recado.core.clock import Clock
from recado.core.database.engine import Database
from recado.core.ids import Chance, Ids
from recado.core.queue.crash import CrashPoint, never
from recado.core.queue.job import Claim, Done, JobResult, Replayed, ReplayRefused, RetryIn, StoredJob
from recado.core.queue.lane import HeldLanes
from recado.core.queue.running.retrying import retry_while_leased
from recado.core.queue.service import Backoff
from recado.core.queue.storage import endings
from recado.core.queue.transactions import LaneTransaction, Transactions
from recado.core.tracing import FIND as FIND_SPAN
from recado.core.tracing import SEND as SEND_SPAN
from recado.core.tracing import NoTraces, Traces

log = structlog.get_logger(__name__)

START_WITHIN = timedelta(seconds=5)
"""A process that was frozen after it stored its attempt must not call: others may have settled that attempt."""

_LATE = NotProcessed("late", "the call was not made in time, so it was not made")


class SendHandler:
    """Sends what of an answer has not been accepted yet."""

    name = SEND
    time_limit = timedelta(seconds=120)

    def __init__(
        self,
        database: Database,
        clock: Clock,
        ids: Ids,
        chance: Chance,
        channels: Channels,
        accounts: Accounts,
        *,
        apology_quiet: timedelta = timedelta(minutes=10),
        backoff: Backoff | None = None,
        crash: CrashPoint = never,
        traces: Traces | None = None,
    ) -> None:
        self._transactions = Transactions(database, clock, ids)
        self._clock = clock
        self._chance = chance
        self._channels = channels
        self._rules = SendRules(channels, accounts, apology_quiet)
        self._backoff = backoff or Backoff(cap=timedelta(minutes=2))
        self._crash = crash
        self._traces = traces or NoTraces()

    async def run(self, claim: Claim) -> JobResult:
        yield_at = self._clock.now() + self.time_limit / 2
        while not claim.is_lost:
            step = await self._transactions.write_job(claim, lambda tx: next_step(tx, claim, self._rules))
            match step:
                case JobEnded():
                    return Done(recorded=True)
                case Wait(delay, why):
                    return RetryIn(delay, why, counts=False)
                case Call():
                    if await self._call(claim, step):
                        return Done(recorded=True)
                case Poll():
                    await self._poll(claim, step)
            if self._clock.now() > yield_at:  # A long answer goes on under a new lease.
                return RetryIn(timedelta(), counts=False)
        return Done(recorded=True)

    async def _call(self, claim: Claim, call: Call) -> bool:
        """Make the call. Return whether its result settled the answer and so ended the job."""
        attempt = call.attempt
        self._crash("before_send")
        late = claim.is_lost or self._clock.now() - attempt.started_at > START_WITHIN
        result = _LATE if late else await self._send(call)
        self._crash("after_send")
        pause = self._backoff.after(min(attempt.number - 1, 10), self._chance)
        settled = await retry_while_leased(
            claim,
            lambda: self._transactions.write_job(
                claim, lambda tx: record(tx, claim, attempt, result, pause, self._rules)
            ),
        )
        if settled:
            self._crash("after_settle")
        return settled

    async def _send(self, call: Call) -> SendResult:
        attempt = call.attempt
        with self._traces.within(SEND_SPAN, "client", attempt=str(attempt.id), number=attempt.number) as span:
            channel = self._channels.channel_for(call.message.provider)
            result = await channel.send(replace(call.message, trace=span.traceparent))
            span.note(result=type(result).__name__.lower())
            if not isinstance(result, Sent):
                span.note(code=result.code)
            return result

    async def _poll(self, claim: Claim, poll: Poll) -> None:
        polled_at = self._clock.now()  # A list that was read before a long pause tells nothing about the time after it.
        created_after, created_before = created_within(poll.attempt)
        with self._traces.within(FIND_SPAN, "client", attempt=str(poll.attempt.id)) as span:
            pull = await poll.finder.find(poll.message, created_after=created_after, created_before=created_before)
            span.note(complete=pull.complete, found=len(pull.messages))
        await self._transactions.write_job(
            claim, lambda tx: record_poll(tx, claim, poll.attempt, pull, poll.message.text, polled_at)
        )

    # --- In transactions of the queue ---------------------------------------------------------------------------------

    def exhausted(self, held: HeldLanes, job: StoredJob, error: str, now: datetime, ids: Ids) -> None:
        """Settle the answer of a job that is given up: what may have been sent is unconfirmed, the rest unreachable."""
        tx = LaneTransaction.of_queue(held, job.owner_id, now, ids)
        answer = Answers(tx.uow).require(answer_id_of(job))
        if answer.state == "waiting":
            _give_up(tx, job, answer)
            log.error("send.exhausted", answer=str(answer.id), error=error)

    def replay(
        self, held: HeldLanes, job: StoredJob, *, force: bool, now: datetime, ids: Ids
    ) -> Replayed | ReplayRefused:
        """Send again what of the answer did not arrive. An unconfirmed part may arrive twice then; a person decides."""
        tx = LaneTransaction.of_queue(held, job.owner_id, now, ids)
        answer = Answers(tx.uow).require(answer_id_of(job))
        account = self._rules.accounts.behind(tx.uow, answer.address_id)
        refusal = why_not_replay(tx, answer, self._rules.of(account, answer), force=force)
        if refusal is not None:
            return ReplayRefused(job.id, refusal)
        for part in Parts(tx.uow).of(answer.id):
            if part.state != "accepted":
                Parts(tx.uow).change(part.id, state="waiting")
        Answers(tx.uow).change(answer.id, state="waiting", settled_at=None, reason=None)
        return Replayed(job.id, enqueue_send(tx, answer, job.trace))

    def discarded(self, held: HeldLanes, job: StoredJob, now: datetime, ids: Ids) -> str | None:
        """Settle the answer of a job that a person discards. Return a refusal while it may already have been sent."""
        tx = LaneTransaction.of_queue(held, job.owner_id, now, ids)
        answer = Answers(tx.uow).require(answer_id_of(job))
        busy = Attempts(tx.uow).in_flight(answer.lane)
        if busy is not None and busy.answer_id == answer.id:
            return f"attempt {busy.id} of it is {busy.state}: it may have been sent"
        Settlement(tx).failed(answer, "stopped", "discarded")
        return None


def _give_up(tx: LaneTransaction, job: StoredJob, answer: Answer) -> None:
    parts = Parts(tx.uow).of(answer.id)
    free_pair(tx, answer, parts)
    endings.set_payload(tx.held, job, dead_letter_payload(answer, parts))
    busy = Attempts(tx.uow).in_flight(answer.lane)
    settlement = Settlement(tx)
    if busy is not None and busy.answer_id == answer.id:
        change_state(tx, busy, "unconfirmed")
        Parts(tx.uow).change(busy.part_id, state="unconfirmed")
        settlement.failed(answer, "unconfirmed", "unconfirmed")
    elif all(part.state == "accepted" for part in parts):
        settlement.accepted(answer)
        endings.mark_done(tx.held, job)  # The answer has arrived: there is nothing to be done about it.
    else:
        settlement.failed(answer, "refused", "unreachable")
