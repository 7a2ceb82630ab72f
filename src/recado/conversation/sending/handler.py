"""Step 9, the send state machine: one part after the other, and never one twice.

An attempt row is committed before each create call. What the call may end in:

    accepted   the provider named it
    refused    it surely will not be sent; final
    retry      it surely never got in; again later, until the 24 hours are over
    unknown    nobody can tell yet: a callback with the attempt's id settles it, or the provider's list. Not listed in
               three complete looks, the last two minutes after the attempt's deadline, it is `absent` and sent once
               more

While an attempt is `sending` or `unknown` nothing else goes to that pair of addresses: the send lane is serial, and a
unique index is the wall behind it. A process that died in a call leaves `sending` behind: `unknown` to the next one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol, TypeAlias, TypeVar
from uuid import UUID

import structlog

from recado.conversation.models import Answer, AnswerState, Attempt, Conversation, Part, Suppression
from recado.conversation.ports import (
    Channel,
    ListedMessage,
    NotProcessed,
    OutboundText,
    Pull,
    Refused,
    SendResult,
    Sent,
    Unknown,
)
from recado.conversation.repository import Answers, Attempts, Contacts, Conversations, Messages, Parts
from recado.conversation.sending.outbox import SEND, Outbox
from recado.conversation.sending.provider_messages import ProviderMessages
from recado.conversation.sending.splitting import normalised
from recado.conversation.settlement import Settlement
from recado.conversation.values import Address
from recado.core.clock import Clock
from recado.core.database.engine import Database
from recado.core.database.types import JsonValue
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.errors import InvalidInput
from recado.core.ids import Chance, Ids
from recado.core.queue.crash import CrashPoint, never
from recado.core.queue.job import Done, Job, JobResult, Replayed, ReplayRefused, RetryIn
from recado.core.queue.running.retrying import retry_while_leased
from recado.core.queue.service import Backoff
from recado.core.queue.storage import endings, lanes, leases
from recado.core.queue.storage.claiming import LEEWAY
from recado.core.tracing import FIND as FIND_SPAN
from recado.core.tracing import SEND as SEND_SPAN
from recado.core.tracing import NoTraces, Traces
from recado.identity.repository import owner_in

log = structlog.get_logger(__name__)

T = TypeVar("T")

CALL_LIMIT = timedelta(seconds=18)
"""Connect 3 s and read 15 s: after this an attempt's call is over, whatever it answered."""
WINDOW = timedelta(hours=24)
"""WhatsApp's customer service window, counted from the newest inbound message; for SMS how long we keep trying."""
MAX_PAUSE = timedelta(hours=6)
"""What a provider may ask us to wait before the next attempt; then it is asked anew."""

PULLS_AFTER = (timedelta(seconds=5), timedelta(seconds=15), timedelta(seconds=45))
"""When to look into the provider's list after an unknown attempt began; the list may lag, so one look is no proof."""
START_WITHIN = timedelta(seconds=5)
"""A process that was frozen after it stored its attempt must not call when others may have settled that attempt."""
ABSENT_PULLS = 3
ABSENT_AFTER = timedelta(seconds=120)
CLEAR_WITHIN = timedelta(minutes=10)
CREATED_BEFORE_START = timedelta(seconds=5)
CREATED_AFTER_DEADLINE = timedelta(seconds=60)
PULL_PAUSE = timedelta(seconds=30)
SET_BACK = "clock_set_back"
"""The code of an attempt that began by a clock which was ahead: its times were set right, and are a guess."""


_LATE = NotProcessed("late", "the call was not made in time, so it was not made")


class Accounts(Protocol):
    """What the state machine must know of the account behind an address of ours, inside its own transaction."""

    def behind(self, uow: UnitOfWork, address_id: UUID) -> UUID: ...

    def paused_for(self, uow: UnitOfWork, address_id: UUID, now: datetime) -> timedelta | None: ...

    def pause(self, uow: UnitOfWork, account_id: UUID, now: datetime, span: timedelta, why: str) -> None: ...


@dataclass(frozen=True, slots=True)
class _Call:
    """Make this create call now; its attempt row is stored."""

    attempt: Attempt
    message: OutboundText


@dataclass(frozen=True, slots=True)
class _Poll:
    """Look into the provider's list for an attempt whose fate is unknown."""

    attempt: Attempt
    message: OutboundText
    text: str


@dataclass(frozen=True, slots=True)
class _Wait:
    """Nothing can be done before this is over."""

    delay: timedelta
    why: str


@dataclass(frozen=True, slots=True)
class _JobEnded:
    """The job's row is ended, or another worker's."""


_Step: TypeAlias = _Call | _Poll | _Wait | _JobEnded


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
        channel: Channel,
        accounts: Accounts,
        callback_ref: Callable[[UUID], str],
        *,
        apology_quiet: timedelta = timedelta(minutes=10),
        backoff: Backoff | None = None,
        crash: CrashPoint = never,
        traces: Traces | None = None,
    ) -> None:
        self._traces = traces or NoTraces()
        self._database = database
        self._clock = clock
        self._ids = ids
        self._chance = chance
        self._channel = channel
        self._accounts = accounts
        self._callback_ref = callback_ref
        self._apology_quiet = apology_quiet
        self._backoff = backoff or Backoff(cap=timedelta(minutes=2))
        self._crash = crash

    async def run(self, job: Job) -> JobResult:
        yield_at = self._clock.now() + self.time_limit / 2
        while not job.lost.is_set():
            step = await self._write(job, lambda uow: self._next(uow, job, self._clock.now()))
            match step:
                case _JobEnded():
                    return Done(recorded=True)
                case _Wait(delay, why):
                    return RetryIn(delay, why, counts=False)
                case _Call(attempt, message):
                    await self._call(job, attempt, message)
                case _Poll(attempt, message, text):
                    await self._poll(job, attempt, message, text)
            if self._clock.now() > yield_at:  # A long answer goes on under a lease of its own.
                return RetryIn(timedelta(), counts=False)
        return Done(recorded=True)

    async def _call(self, job: Job, attempt: Attempt, message: OutboundText) -> None:
        self._crash("before_send")
        late = job.lost.is_set() or self._clock.now() - attempt.started_at > START_WITHIN
        result = _LATE if late else await self._send(attempt, message)
        self._crash("after_send")
        settled = await retry_while_leased(
            job,
            lambda: self._write(job, lambda uow: self._record(uow, job, attempt, result, self._clock.now())),
        )
        if settled:
            self._crash("after_settle")

    async def _send(self, attempt: Attempt, message: OutboundText) -> SendResult:
        with self._traces.within(SEND_SPAN, "client", attempt=str(attempt.id), number=attempt.number) as span:
            result = await self._channel.send(replace(message, trace=span.traceparent))
            span.note(result=type(result).__name__.lower())
            if not isinstance(result, Sent):
                span.note(code=result.code)
            return result

    async def _poll(self, job: Job, attempt: Attempt, message: OutboundText, text: str) -> None:
        polled_at = self._clock.now()  # A list read before a long pause says nothing about the time after it.
        with self._traces.within(FIND_SPAN, "client", attempt=str(attempt.id)) as span:
            pull = await self._channel.find(
                message,
                created_after=attempt.started_at - (WINDOW if attempt.code == SET_BACK else CREATED_BEFORE_START),
                created_before=attempt.deadline_at + CREATED_AFTER_DEADLINE,
            )
            span.note(complete=pull.complete, found=len(pull.messages))
        await self._write(job, lambda uow: self._record_poll(uow, job, attempt, pull, text, polled_at))

    # --- What is next -------------------------------------------------------------------------------------------------

    def _next(self, uow: UnitOfWork, job: Job, now: datetime) -> _Step:
        """Decide in one transaction, and store the attempt row if a call is next."""
        if not leases.holds(uow, job):
            return _JobEnded()
        answer = Answers(uow).require(_answer_id(job))
        if answer.state != "waiting":
            endings.complete(uow, job, now)
            return _JobEnded()
        parts = Parts(uow).of(answer.id)
        self._free_pair(uow, answer, parts, now)
        part = next((part for part in parts if part.state != "accepted"), None)
        if part is None:
            self._settle(uow, job, now, lambda settlement: settlement.accepted(answer))
            return _JobEnded()
        tried = Attempts(uow).of_part(part.id)
        last = tried[-1] if tried else None
        if last is not None and last.state == "sending":  # Whoever made the call died in it.
            last = self._change(uow, last, "unknown", now, code="interrupted")
        if last is not None and last.state == "unknown":
            last = self._with_times_reset(last, uow, now)
            return self._next_poll(answer, part, last, now)
        return self._next_call(uow, job, answer, part, tried, now)

    def _free_pair(self, uow: UnitOfWork, answer: Answer, parts: Sequence[Part], now: datetime) -> None:
        """A second attempt whose part turned out to have been accepted by the first holds up nobody any more."""
        accepted = {part.id for part in parts if part.state == "accepted"}
        busy = Attempts(uow).in_flight(answer.lane)
        if busy is not None and busy.part_id in accepted:
            self._change(uow, busy, "unconfirmed", now)

    def _with_times_reset(self, attempt: Attempt, uow: UnitOfWork, now: datetime) -> Attempt:
        """An attempt whose start or last look lies in the future is one of a clock that was set back since.

        Its looks begin again. When it really began is not known, so its message may be one of the last day.
        """
        begun_ahead = attempt.started_at > now + LEEWAY
        if not begun_ahead and (attempt.last_pull_at is None or attempt.last_pull_at <= now + LEEWAY):
            return attempt
        anew = replace(attempt, pulls=0, last_pull_at=None)
        if begun_ahead:
            anew = replace(anew, started_at=now, deadline_at=now + CALL_LIMIT, code=SET_BACK)
        log.warning("send.clock_was_set_back", attempt=str(attempt.id))
        Attempts(uow).change(
            attempt.id,
            pulls=anew.pulls,
            last_pull_at=anew.last_pull_at,
            started_at=anew.started_at,
            deadline_at=anew.deadline_at,
            code=anew.code,
        )
        return anew

    def _next_poll(self, answer: Answer, part: Part, attempt: Attempt, now: datetime) -> _Step:
        due_at = _next_pull_at(attempt)
        if due_at > now:
            return _Wait(due_at - now, "outcome of a send unknown")
        return _Poll(attempt, self._outbound(answer, part, attempt), part.text)

    def _next_call(
        self, uow: UnitOfWork, job: Job, answer: Answer, part: Part, tried: Sequence[Attempt], now: datetime
    ) -> _Step:
        if self._stopped(uow, job, answer, now):
            return _JobEnded()
        paused = self._accounts.paused_for(uow, answer.address_id, now)
        if paused is not None:
            return _Wait(min(paused, self._window_ends(uow, answer) - now), "the account is paused")
        busy = Attempts(uow).in_flight(answer.lane)
        if busy is not None:
            return _Wait(PULLS_AFTER[0], "another send to this customer is not settled")
        attempt = Attempt(
            id=self._ids.new(),
            owner_id=answer.owner_id,
            answer_id=answer.id,
            part_id=part.id,
            account_id=self._accounts.behind(uow, answer.address_id),
            lane=answer.lane,
            number=len(tried) + 1,
            state="sending",
            worker=job.lease_token,
            started_at=now,
            deadline_at=now + CALL_LIMIT,
            pulls=0,
            last_pull_at=None,
            code=None,
            detail=None,
            finished_at=None,
        )
        Attempts(uow).add(attempt)
        return _Call(attempt, self._outbound(answer, part, attempt))

    def _outbound(self, answer: Answer, part: Part, attempt: Attempt) -> OutboundText:
        return OutboundText(
            owner_id=answer.owner_id,
            address_id=answer.address_id,
            account_id=attempt.account_id,
            from_address=Address(answer.from_address),
            to_address=Address(answer.to_address),
            text=part.text,
            callback_ref=self._callback_ref(attempt.id),
        )

    # --- What may stop it ---------------------------------------------------------------------------------------------

    def _stopped(self, uow: UnitOfWork, job: Job, answer: Answer, now: datetime) -> bool:
        """Checked again in the transaction that would store the attempt: after it, nothing stops the call."""
        conversation = Conversations(uow).require(answer.conversation_id)
        if answer.id == conversation.nudge_id and not self._still_silent(uow, conversation):
            self._settle(uow, job, now, lambda settlement: settlement.taken_over(answer, "somebody has spoken since"))
            return True
        if answer.author in ("agent", "apology") and conversation.held_by != "agent":
            why = f"held by {conversation.held_by} before it was sent"
            self._settle(uow, job, now, lambda settlement: settlement.taken_over(answer, why))
            return True
        if answer.turn_id is not None and Answers(uow).of_person_since(answer.lane, answer.created_at):
            self._settle(uow, job, now, lambda settlement: settlement.taken_over(answer, "a person has spoken since"))
            return True
        if answer.author == "apology":
            first = Answers(uow).latest_apology(answer.lane, now - self._apology_quiet)
            if first is not None:
                self._settle(uow, job, now, lambda settlement: settlement.already_apologised(answer, first))
                return True
        reason = self._why_not(uow, answer, now)
        if reason is None:
            return False
        self._fail(uow, job, answer, "refused" if reason == "unreachable" else "stopped", reason, now)
        return True

    def _still_silent(self, uow: UnitOfWork, conversation: Conversation) -> bool:
        """Nobody is asked whether they are still there who has just written, or has a person to talk to."""
        silent = conversation.status == "idle" and conversation.held_by == "agent"
        return silent and not Messages(uow).unturned(conversation.lane)

    def _why_not(self, uow: UnitOfWork, answer: Answer, now: datetime) -> Suppression | None:
        conversation = Conversations(uow).require(answer.conversation_id)
        if owner_in(uow, answer.owner_id).closed_at is not None:
            return "closed_account"
        if Contacts(uow).require(conversation.contact_id).opted_out_at is not None:
            return "opt_out"
        if now < self._window_ends(uow, answer):
            return None
        tried = Attempts(uow).of_answer(answer.id)
        return "window_closed" if _is_whatsapp(answer) and not tried else "unreachable"

    def _window_ends(self, uow: UnitOfWork, answer: Answer) -> datetime:
        """Until when it may be sent; no wait is longer."""
        newest = Messages(uow).newest(answer.conversation_id) if _is_whatsapp(answer) else None
        return (answer.created_at if newest is None else newest.received_at) + WINDOW

    # --- What a call gave ---------------------------------------------------------------------------------------------

    def _record(self, uow: UnitOfWork, job: Job, attempt: Attempt, result: SendResult, now: datetime) -> bool:
        """Store what is known; whether the answer is settled by it. Facts are stored even under a lost lease."""
        lanes.lock_lanes(uow, [job.lane])
        current = Attempts(uow).require(attempt.id)
        match result:
            case Sent(_, sid):
                ProviderMessages(uow, self._ids, now).bind(current, sid.value, found_by="create")
                return self._settle_if_complete(uow, job, current, now)
            case _ if current.state != "sending":
                return False  # A callback was faster, or another worker has begun to reconcile: what it finds wins.
            case Refused() as refused:
                return self._refused(uow, job, current, refused, now)
            case NotProcessed() as not_processed:
                self._not_processed(uow, job, current, not_processed, now)
            case Unknown(code, detail):
                log.warning("send.unknown", attempt=str(attempt.id), code=code)
                self._change(uow, current, "unknown", now, code=code, detail=detail)
        return False

    def _refused(self, uow: UnitOfWork, job: Job, attempt: Attempt, refused: Refused, now: datetime) -> bool:
        log.warning("send.refused", attempt=str(attempt.id), code=refused.code, reason=refused.reason)
        self._change(uow, attempt, "refused", now, code=refused.code, detail=refused.detail)
        answer = Answers(uow).require(attempt.answer_id)
        if refused.reason == "opt_out":
            conversation = Conversations(uow).require(answer.conversation_id)
            Contacts(uow).change(conversation.contact_id, opted_out_at=now)
        if refused.pause_account:
            self._accounts.pause(uow, attempt.account_id, now, timedelta(minutes=5), refused.code)
        if Parts(uow).require(attempt.part_id).state == "accepted":
            # An earlier attempt, taken for lost, turned out to have arrived while this one was under way.
            return self._settle_if_complete(uow, job, attempt, now)
        if not self._fail(uow, job, answer, "refused", refused.reason, now, refused.code):
            return False
        Parts(uow).change(attempt.part_id, state="refused")
        return True

    def _not_processed(
        self, uow: UnitOfWork, job: Job, attempt: Attempt, not_processed: NotProcessed, now: datetime
    ) -> None:
        self._change(uow, attempt, "retry", now, code=not_processed.code, detail=not_processed.detail)
        delay = self._backoff.after(min(attempt.number - 1, 10), self._chance)
        if not_processed.retry_after is not None:
            delay = min(max(delay, timedelta(seconds=not_processed.retry_after)), MAX_PAUSE)
        if not_processed.pause_account:
            self._accounts.pause(uow, attempt.account_id, now, delay, not_processed.code)
        left = self._window_ends(uow, Answers(uow).require(attempt.answer_id)) - now
        delay = min(delay, max(left, timedelta()))
        endings.requeue(uow, job, now, delay, error=f"{not_processed.code}: trying again")

    def _change(
        self,
        uow: UnitOfWork,
        attempt: Attempt,
        state: str,
        now: datetime,
        *,
        code: str | None = None,
        detail: str | None = None,
    ) -> Attempt:
        finished = None if state == "unknown" else now
        Attempts(uow).change(
            attempt.id, state=state, code=code or attempt.code, detail=detail or attempt.detail, finished_at=finished
        )
        return Attempts(uow).require(attempt.id)

    # --- Settling what is unknown -------------------------------------------------------------------------------------

    def _record_poll(
        self, uow: UnitOfWork, job: Job, attempt: Attempt, pull: Pull, text: str, polled_at: datetime
    ) -> None:
        """Bind what was found; else count the look, and decide when there were enough of them."""
        now = self._clock.now()
        lanes.lock_lanes(uow, [job.lane])
        attempt = Attempts(uow).require(attempt.id)
        if attempt.state != "unknown" or not leases.holds(uow, job):
            return
        bindings = ProviderMessages(uow, self._ids, now)
        ours = [
            listed
            for listed in pull.messages
            if normalised(listed.body) == normalised(text) and not bindings.bound(attempt.account_id, listed)
        ]
        if ours:
            oldest: ListedMessage = min(ours, key=lambda listed: (listed.created_at, listed.sid.value))
            bindings.bind(attempt, oldest.sid.value, found_by="list", status=oldest.status)
            self._settle_if_complete(uow, job, attempt, now)
            return
        if Parts(uow).require(attempt.part_id).state == "accepted":
            return  # An earlier attempt has turned up during the look; the next step frees the pair.
        attempt = replace(attempt, pulls=attempt.pulls + pull.complete, last_pull_at=polled_at)
        Attempts(uow).change(attempt.id, pulls=attempt.pulls, last_pull_at=polled_at)
        if pull.complete and attempt.pulls >= ABSENT_PULLS and polled_at >= attempt.deadline_at + ABSENT_AFTER:
            self._change(uow, attempt, "absent", now)
            self._resend_or_give_up(uow, job, attempt, now)
        elif not pull.complete and polled_at >= attempt.deadline_at + CLEAR_WITHIN:
            self._change(uow, attempt, "unconfirmed", now)
            self._resend_or_give_up(uow, job, attempt, now, unclear=True)

    def _resend_or_give_up(
        self, uow: UnitOfWork, job: Job, attempt: Attempt, now: datetime, *, unclear: bool = False
    ) -> None:
        """One resend of what was found absent; an owner who prefers delivery gets one more, and one of the unclear."""
        lost = [tried for tried in Attempts(uow).of_part(attempt.part_id) if tried.state in ("absent", "unconfirmed")]
        delivery = owner_in(uow, attempt.owner_id).send_policy == "prefer_delivery"
        allowed = (0 if unclear else 1) + (1 if delivery else 0)
        if len(lost) > allowed:
            self._give_up_unconfirmed(uow, job, attempt, now)

    def _give_up_unconfirmed(self, uow: UnitOfWork, job: Job, attempt: Attempt, now: datetime) -> None:
        Attempts(uow).change(attempt.id, state="unconfirmed")
        Parts(uow).change(attempt.part_id, state="unconfirmed")
        self._fail(uow, job, Answers(uow).require(attempt.answer_id), "unconfirmed", "unconfirmed", now, attempt.code)

    # --- Settling the answer ------------------------------------------------------------------------------------------

    def _settle_if_complete(self, uow: UnitOfWork, job: Job, attempt: Attempt, now: datetime) -> bool:
        answer = Answers(uow).require(attempt.answer_id)
        if answer.state != "waiting" or any(part.state != "accepted" for part in Parts(uow).of(answer.id)):
            return False
        return self._settle(uow, job, now, lambda settlement: settlement.accepted(answer))

    def _settle(self, uow: UnitOfWork, job: Job, now: datetime, end: Callable[[Settlement], None]) -> bool:
        """Step 10, behind the lease's fence."""
        if not endings.complete(uow, job, now):
            return False
        end(Settlement(uow, self._ids, now))
        return True

    def _fail(
        self,
        uow: UnitOfWork,
        job: Job,
        answer: Answer,
        state: AnswerState,
        reason: Suppression,
        now: datetime,
        code: str | None = None,
    ) -> bool:
        """It ends here: with a dead letter when an operator can do something about it or part of it has arrived."""
        parts = Parts(uow).of(answer.id)
        arrived = [part.part_no for part in parts if part.state == "accepted"]
        if reason not in ("unreachable", "unconfirmed") and not arrived:
            return self._settle(uow, job, now, lambda settlement: settlement.failed(answer, state, reason, code))
        why = f"{reason} ({code})" if code else reason
        if not endings.dead_letter(uow, job, now, f"{why}: {len(arrived)} of {len(parts)} parts sent"):
            return False
        endings.set_payload(uow, job.id, _dead_letter_payload(answer, arrived, len(parts)))
        Settlement(uow, self._ids, now).failed(answer, state, reason, code)
        return True

    # --- Endings decided elsewhere ------------------------------------------------------------------------------------

    def exhausted(self, uow: UnitOfWork, job: Job, error: str) -> None:
        """Its worker died again and again: what may have been sent is unconfirmed, the rest unreachable."""
        uow = uow.for_owner(job.owner_id)
        now = self._clock.now()
        answer = Answers(uow).require(_answer_id(job))
        if answer.state != "waiting":
            return
        parts = Parts(uow).of(answer.id)
        self._free_pair(uow, answer, parts, now)
        arrived = [part.part_no for part in parts if part.state == "accepted"]
        endings.set_payload(uow, job.id, _dead_letter_payload(answer, arrived, len(parts)))
        busy = Attempts(uow).in_flight(answer.lane)
        settlement = Settlement(uow, self._ids, now)
        if busy is not None and busy.answer_id == answer.id:
            self._change(uow, busy, "unconfirmed", now)
            Parts(uow).change(busy.part_id, state="unconfirmed")
            settlement.failed(answer, "unconfirmed", "unconfirmed")
        elif len(arrived) == len(parts):
            settlement.accepted(answer)
            endings.mark_done(uow, job.id)  # Nothing is dead about an answer that has arrived.
        else:
            settlement.failed(answer, "refused", "unreachable")
        log.error("send.exhausted", answer=str(answer.id), error=error)

    def replay(self, uow: UnitOfWork, job: Job, *, force: bool) -> Replayed | ReplayRefused:
        """Send again what of the answer did not arrive. What is unconfirmed may arrive twice then; a person decides."""
        uow = uow.for_owner(job.owner_id)
        now = self._clock.now()
        answer = Answers(uow).require(_answer_id(job))
        refusal = self._why_not_replay(uow, answer, now, force=force)
        if refusal is not None:
            return ReplayRefused(job.id, refusal)
        for part in Parts(uow).of(answer.id):
            if part.state != "accepted":
                Parts(uow).change(part.id, state="waiting")
        Answers(uow).change(answer.id, state="waiting", settled_at=None, reason=None)
        return Replayed(job.id, Outbox(uow, self._ids, now, lambda text: [text], job.trace).send(answer))

    def _why_not_replay(self, uow: UnitOfWork, answer: Answer, now: datetime, *, force: bool) -> str | None:
        if answer.state not in ("unconfirmed", "refused"):
            return f"the answer is {answer.state} by now"
        conversation = Conversations(uow).require(answer.conversation_id)
        if conversation.held_by == "person" and answer.author != "person":
            return "a person holds the conversation"
        if answer.turn_id is not None:
            group = Messages(uow).of_turn(answer.turn_id)
            if not group:
                return "its messages belong to a newer turn"
            later = Messages(uow).later_outcomes(answer.lane, group[-1].id)
            if None in later:
                return "a later message of the same customer is being answered"
            if later & {"answered", "superseded"} and not force:
                return "a later message of the same customer was answered; --force sends this one all the same"
        reason = self._why_not(uow, answer, now)
        return None if reason is None else f"it cannot be sent now: {reason.replace('_', ' ')}"

    def discarded(self, uow: UnitOfWork, job: Job) -> str | None:
        """A person takes an answer out of the line; not while it may already have been sent."""
        uow = uow.for_owner(job.owner_id)
        answer = Answers(uow).require(_answer_id(job))
        busy = Attempts(uow).in_flight(answer.lane)
        if busy is not None and busy.answer_id == answer.id:
            return f"attempt {busy.id} of it is {busy.state}: it may have been sent"
        Settlement(uow, self._ids, self._clock.now()).failed(answer, "stopped", "discarded")
        return None

    async def _write(self, job: Job, work: Callable[[UnitOfWork], T]) -> T:
        return await self._database.write(work, owner=job.owner_id, urgent=True)


def _is_whatsapp(answer: Answer) -> bool:
    return Address(answer.to_address).channel == "whatsapp"


def _answer_id(job: Job) -> UUID:
    payload = job.payload
    if not isinstance(payload, dict) or not isinstance(payload.get("answer"), str):
        raise InvalidInput(f"job {job.id} carries no answer")
    return UUID(payload["answer"])


def _dead_letter_payload(answer: Answer, arrived: Sequence[int], parts: int) -> dict[str, JsonValue]:
    return {"answer": str(answer.id), "arrived": list(arrived), "parts": parts}


def _next_pull_at(attempt: Attempt) -> datetime:
    """Five, fifteen and forty-five seconds after it began, then when three looks are proof, then every half minute."""
    if attempt.last_pull_at is None:
        return attempt.started_at + PULLS_AFTER[0]
    if attempt.pulls < len(PULLS_AFTER):
        # A list that cannot be read is asked less and less often.
        pause = min(max(PULLS_AFTER[0], attempt.last_pull_at - attempt.started_at), PULL_PAUSE)
        return max(attempt.started_at + PULLS_AFTER[attempt.pulls], attempt.last_pull_at + pause)
    return max(attempt.deadline_at + ABSENT_AFTER, attempt.last_pull_at + PULL_PAUSE)
