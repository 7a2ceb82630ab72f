"""Steps 6 to 8: from a claimed job to the one answer of its turn.

    open      the lane's unturned messages join the turn; who may answer is decided before any agent
    run       the agent, outside any transaction, with a deadline
    commit    behind the fence: the lease is ours AND the turn is as we read it AND the agent holds the conversation

The job is ended in the same transaction that stores its result, and ending it is the lease's fence
(`endings.complete`). A result that loses the fence is kept as a draft and never sent.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Literal, TypeAlias, TypeVar
from uuid import UUID

import structlog

from recado.conversation.errors import AgentFailed
from recado.conversation.lifecycle import Lifecycle
from recado.conversation.models import Author, Contact, Conversation, Draft, Message, Turn
from recado.conversation.outcomes import Outcomes, TurnOutcome
from recado.conversation.ports import (
    Agent,
    AgentResult,
    Agents,
    Consumption,
    HandOff,
    HistoryEntry,
    Incoming,
    NoReply,
    Reply,
    TurnContext,
    Usage,
)
from recado.conversation.replying.effects import StoredEffects, effects_ran
from recado.conversation.replying.gate import Suppress, ToAgent, ToPerson, who_answers
from recado.conversation.replying.jobs import REPLY
from recado.conversation.replying.reception import Reception
from recado.conversation.replying.replays import Replays, was_forced
from recado.conversation.replying.runs import RunEnding, RunResult, begin_run, end_run, result_of
from recado.conversation.repository import Answers, Contacts, Conversations, Drafts, Messages, Turns
from recado.conversation.sending.outbox import Outbox, Split
from recado.conversation.settlement import Settlement
from recado.core.clock import Clock
from recado.core.database.engine import Database
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.errors import Busy, StorageUnavailable
from recado.core.ids import Chance, Ids
from recado.core.metrics import AGENT_RUN, AGENT_RUNS, Meters
from recado.core.queue.crash import CrashPoint, never
from recado.core.queue.job import Done, Job, JobResult, Replayed, ReplayRefused, RetryIn
from recado.core.queue.running.retrying import retry_while_leased
from recado.core.queue.service import Backoff
from recado.core.queue.storage import endings, enqueue, lanes, leases
from recado.core.tracing import AGENT, NoTraces, Span, Traces
from recado.identity.repository import owner_in

log = structlog.get_logger(__name__)

A_PERSON_SPOKE = "a person has spoken since"

_SPEAKERS: dict[Author, Literal["agent", "person", "notice"]] = {
    "agent": "agent",
    "apology": "agent",
    "person": "person",
    "notice": "notice",
}

T = TypeVar("T")

TOLD_TO_STOP = RunEnding("interrupted", "its worker was told to stop")
_STOOD_STILL = "its worker stood still"
_STOPPING_SECONDS = 2.0
"""How long the row of a run that is being stopped may take: what stops it is waiting."""


@dataclass(frozen=True, slots=True)
class ReplyLimits:
    """Seconds an agent gets, and how long a turn may take from its first claim to its answer's commit."""

    agent: timedelta = timedelta(seconds=60)
    answer: timedelta = timedelta(seconds=300)
    burst: timedelta = timedelta(seconds=8)
    apology_quiet: timedelta = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class _Opened:
    """The turn as it was read; the commit compares it with what it is then."""

    agent: Agent
    turn: Turn
    conversation: Conversation
    contact: Contact
    locale: str
    messages: list[Message]
    history: list[HistoryEntry]
    run_id: UUID


@dataclass(frozen=True, slots=True)
class _NewMessage:
    """A message came while the turn ran for the first time: it belongs in."""


@dataclass(frozen=True, slots=True)
class _TurnEnded:
    """Nothing is left to be done for this job; its row says how it ended."""


_Interruption: TypeAlias = _NewMessage | _TurnEnded


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
        self._meters = meters or Meters()
        self._traces = traces or NoTraces()
        self._database = database
        self._clock = clock
        self._ids = ids
        self._chance = chance
        self._agents = agents
        self._split = split
        self._limits = limits
        self._backoff = backoff or Backoff()
        self._crash = crash

    @property
    def time_limit(self) -> timedelta:
        """Twice the agent's time, because a newcomer may start the first run again after its window."""
        return 2 * self._limits.agent + self._limits.burst

    async def run(self, job: Job) -> JobResult:
        while True:
            agent = await self._agents.agent_for(job.owner_id)
            opened = await self._write(job, partial(self._open, job=job, agent=agent))
            if isinstance(opened, _TurnEnded):
                return Done(recorded=True)
            job.turn_id = opened.turn.id
            if job.may_be_lost(self._clock.now()):  # A run would go on beside that of the next holder, if there is one.
                await self._end_run(job, opened, RunEnding("interrupted", _STOOD_STILL), Usage())
                return RetryIn(timedelta(), _STOOD_STILL, counts=False)
            try:
                result = await self._recorded(job, opened)
            except AgentFailed as error:
                log.warning("agent.failed", turn=str(opened.turn.id), reason=error.reason, attempt=job.attempts + 1)
                return await self._failure(job, error)
            self._crash("after_agent")
            if not isinstance(result, _NewMessage | _TurnEnded):
                commit = partial(self._commit, job=job, opened=opened, result=result)
                result = await retry_while_leased(job, partial(self._write, job, commit))
            if isinstance(result, _TurnEnded):
                self._crash("after_commit")
                return Done(recorded=True)
            if not await self._join_new_messages(job, opened.turn):
                return Done(recorded=True)

    # --- Open ---------------------------------------------------------------------------------------------------------

    def _open(self, uow: UnitOfWork, job: Job, agent: Agent) -> _Opened | _TurnEnded:
        """Make or read the turn, and settle it here when no agent is to answer it."""
        now = self._clock.now()
        if not leases.holds(uow, job):
            return _TurnEnded()
        turn, group = self._turn_of(uow, job, now)
        if turn is None or turn.settled_at is not None or Answers(uow).of_turn(turn.id) is not None:
            endings.complete(uow, job, now)
            return _TurnEnded()
        conversation = Conversations(uow).require(turn.conversation_id)
        contact = Contacts(uow).require(conversation.contact_id)
        if now >= turn.deadline_at:
            endings.dead_letter(uow, job, now, "no answer before the deadline")
            self.exhausted(uow, job, "no answer before the deadline")
            return _TurnEnded()
        owner = owner_in(uow, job.owner_id)
        decision = who_answers(uow, owner, contact, conversation, group)
        if isinstance(decision, ToAgent) and Settlement(uow, self._ids, now).person_answer_since(turn):
            decision = ToPerson(A_PERSON_SPOKE)
        if isinstance(decision, ToAgent):
            history = self._history(uow, turn, conversation, self._agents.history_limit(agent))
            run_id = self._ids.new()
            begin_run(uow, run_id, turn, now)
            return _Opened(agent, turn, conversation, contact, owner.locale, decision.messages, history, run_id)
        endings.complete(uow, job, now)
        self._settle_without_agent(uow, turn, decision, now)
        return _TurnEnded()

    def _turn_of(self, uow: UnitOfWork, job: Job, now: datetime) -> tuple[Turn | None, list[Message]]:
        """The turn the job carries, or a new one over what waits in the lane."""
        turns, messages = Turns(uow), Messages(uow)
        if job.turn_id is not None:
            turn = turns.require(job.turn_id)
            deadline_at = self._deadline_of(turn, job, now)
            if deadline_at != turn.deadline_at:
                turn = replace(turn, deadline_at=deadline_at)
                turns.change(turn.id, deadline_at=deadline_at)
            return turn, messages.of_turn(turn.id)
        group = messages.unturned(job.lane)
        if not group:
            return None, []
        _, conversation = Reception(uow, self._ids, now).receive(group)
        turn = turns.add(Turn.begin(self._ids.new(), conversation, now, self._limits.answer))
        messages.join([message.id for message in group], turn_id=turn.id)
        endings.set_turn(uow, job, turn.id)
        return turn, group

    def _deadline_of(self, turn: Turn, job: Job, now: datetime) -> datetime:
        """Waiting as a suspect does not run it, and that of a replay or a release begins when it is first claimed.

        None is later than that of a turn which begins now, unless a clock was set back meanwhile.
        """
        latest = now + self._limits.answer
        if job.isolated:
            return min(turn.deadline_at + max(now - job.due_at, timedelta()), latest)
        if job.attempts == 0 and (turn.replay_of is not None or turn.resumes):
            return latest
        return min(turn.deadline_at, latest)

    def _history(self, uow: UnitOfWork, turn: Turn, conversation: Conversation, most: int) -> list[HistoryEntry]:
        """What was said before in this conversation, oldest first; earlier conversations are closed for a reason."""
        if most == 0:
            return []
        heard = [
            HistoryEntry("customer", message.text, message.received_at)
            for message in Messages(uow).before(conversation.id, turn.id, limit=most)
        ]
        said = [
            HistoryEntry(_SPEAKERS[answer.author], text, answer.created_at)
            for answer, text in Answers(uow).spoken_in(conversation.id, limit=most)
        ]
        return sorted(heard + said, key=lambda entry: entry.at)[-most:]

    def _settle_without_agent(self, uow: UnitOfWork, turn: Turn, decision: Suppress | ToPerson, now: datetime) -> None:
        if isinstance(decision, Suppress):
            Outcomes(uow, self._ids, now).settle_turn(turn, TurnOutcome("suppressed", decision.reason))
        else:
            Settlement(uow, self._ids, now).to_person(turn, decision.why)

    # --- Run ----------------------------------------------------------------------------------------------------------

    async def _recorded(self, job: Job, opened: _Opened) -> AgentResult | _Interruption:
        """The agent's result, once its row says what became of the run and what it cost."""
        consumption = Consumption()
        try:
            result = await self._traced(job, opened, consumption)
        except asyncio.CancelledError:
            await self._end_run(job, opened, TOLD_TO_STOP, consumption.so_far, within=_STOPPING_SECONDS)
            raise
        except AgentFailed as error:
            await self._end_run(job, opened, RunEnding("failed", error.reason), consumption.so_far)
            raise
        except Exception as error:
            await self._end_run(job, opened, RunEnding("failed", type(error).__name__), consumption.so_far)
            raise
        usage = consumption.so_far if isinstance(result, _NewMessage | _TurnEnded) else result.usage
        await self._end_run(job, opened, _ending_of(result), consumption.so_far if usage == Usage() else usage)
        return result

    async def _end_run(
        self, job: Job, opened: _Opened, ending: RunEnding, usage: Usage, *, within: float | None = None
    ) -> None:
        """In a transaction of its own, so that no later one takes it back; a row that cannot be ended stops no run."""
        end = partial(end_run, run_id=opened.run_id, ending=ending, usage=usage, now=self._clock.now())
        try:
            async with asyncio.timeout(within):
                await retry_while_leased(job, partial(self._write, job, end))
        except (TimeoutError, Busy, StorageUnavailable) as error:
            log.warning("agent.run_not_recorded", run=str(opened.run_id), error=str(error))

    async def _traced(self, job: Job, opened: _Opened, consumption: Consumption) -> AgentResult | _Interruption:
        turn, messages = str(opened.turn.id), len(opened.messages)
        with self._traces.within(AGENT, "internal", turn=turn, messages=messages) as span:
            result = await self._measured(self._run_agent(job, opened, consumption, span.traceparent), span)
            if isinstance(result, Reply | HandOff | NoReply):
                usage = result.usage
                span.note(model=usage.model or "", input_tokens=usage.input_tokens, output_tokens=usage.output_tokens)
            return result

    async def _measured(self, run: Awaitable[AgentResult | _Interruption], span: Span) -> AgentResult | _Interruption:
        """Count and time a run of the agent, and tell how it ended."""
        begun = self._clock.monotonic()
        how: RunResult = "failed"
        try:
            result = await run
            how = _ending_of(result).how
        except asyncio.CancelledError:
            how = "interrupted"
            raise
        else:
            return result
        finally:
            span.note(result=how)
            self._meters.count(AGENT_RUNS, how)
            self._meters.time(AGENT_RUN, how, seconds=self._clock.monotonic() - begun)

    async def _run_agent(
        self, job: Job, opened: _Opened, consumption: Consumption, trace: str | None
    ) -> AgentResult | _Interruption:
        """The agent's result, or what made it pointless: a newcomer during a first run, or a lost lease."""
        effects = StoredEffects(self._database, self._clock, opened.turn)
        timeout = min(self._limits.agent, opened.turn.deadline_at - self._clock.now()).total_seconds()
        context = TurnContext(
            owner_id=job.owner_id,
            contact_id=opened.contact.id,
            conversation_id=opened.conversation.id,
            turn_id=opened.turn.id,
            locale=opened.locale,
            contact_name=opened.contact.name,
            messages=[Incoming(m.text, m.kind, m.received_at) for m in opened.messages],
            history=opened.history,
            deadline=self._clock.now() + timedelta(seconds=timeout),
            effects=effects,
            trace=trace,
            consumption=consumption,
        )
        run = asyncio.create_task(self._agents.run(opened.agent, context, timeout))
        try:
            while not run.done():
                interruption = await self._until_done_or_interrupted(job, run, opened, effects)
                if interruption is not None:
                    return interruption
            return run.result()
        finally:
            await _cancelled(run)

    async def _until_done_or_interrupted(
        self, job: Job, run: "asyncio.Task[AgentResult]", opened: _Opened, effects: StoredEffects
    ) -> _Interruption | None:
        waiters = {"lost": asyncio.create_task(job.lost.wait())}
        if _joinable(job, opened.turn) and not effects.ran:
            waiters["newcomer"] = asyncio.create_task(job.newer_message.wait())
        try:
            await asyncio.wait({run, *waiters.values()}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for waiter in waiters.values():
                waiter.cancel()
        if run.done():
            return None
        if job.lost.is_set():
            return _TurnEnded()
        return _NewMessage() if not effects.ran else None

    async def _failure(self, job: Job, error: AgentFailed) -> JobResult:
        if error.retryable:
            return RetryIn(self._backoff.after(job.attempts, self._chance), error.reason)

        def give_up(uow: UnitOfWork) -> None:
            if endings.dead_letter(uow, job, self._clock.now(), error.reason):
                self.exhausted(uow, job, error.reason)

        await self._write(job, give_up)
        return Done(recorded=True)

    # --- A newcomer ---------------------------------------------------------------------------------------------------

    async def _join_new_messages(self, job: Job, turn: Turn) -> bool:
        """Wait for the newcomer's window, then take it in. False when the lease was lost meanwhile."""
        while not job.lost.is_set():
            joined = await self._write(job, lambda uow: self._join(uow, job, turn, self._clock.now()))
            if isinstance(joined, bool):
                job.newer_message.clear()
                return joined
            await asyncio.sleep(max(0.0, (joined - self._clock.now()).total_seconds()))
        return False

    def _join(self, uow: UnitOfWork, job: Job, turn: Turn, now: datetime) -> bool | datetime:
        """True when they joined, a moment when their window is still open, False when the lease is lost."""
        if not leases.holds(uow, job):
            return False
        window = enqueue.collecting_in(uow, job.lane)
        if window is None:
            return True
        collecting, due_at = window
        if due_at > now:
            return due_at
        group = Messages(uow).unturned(job.lane)
        if group:
            Reception(uow, self._ids, now).receive(group)
            Messages(uow).join([message.id for message in group], turn_id=turn.id)
            Turns(uow).change(turn.id, version=turn.version + 1)
        enqueue.remove(uow, collecting, job.lane)
        return True

    # --- Commit -------------------------------------------------------------------------------------------------------

    def _commit(self, uow: UnitOfWork, job: Job, opened: _Opened, result: AgentResult) -> _Interruption:
        """Step 8. The order of the checks is the fence's."""
        lanes.lock_lanes(uow, [job.lane])
        now = self._clock.now()
        turn = Turns(uow).require(opened.turn.id)
        if (
            _joinable(job, turn)
            and enqueue.collecting_in(uow, job.lane)
            and leases.holds(uow, job)
            and not effects_ran(uow, turn)
        ):
            return _NewMessage()
        conversation = Conversations(uow).require(turn.conversation_id)
        if not endings.complete(uow, job, now):
            self._keep_draft(uow, turn, result, "its worker had lost the lease", now)
            return _TurnEnded()
        if turn.settled_at is not None or turn.version != opened.turn.version:
            self._keep_draft(uow, turn, result, "the turn was settled meanwhile", now)
        elif conversation.status == "closed":
            self._keep_draft(uow, turn, result, "the conversation was closed meanwhile", now)
            Outcomes(uow, self._ids, now).settle_turn(turn, TurnOutcome("suppressed", "discarded"))
        elif conversation.held_by != "agent":
            self._keep_draft(uow, turn, result, f"held by {conversation.held_by} meanwhile", now)
            self._settle_without_agent(uow, turn, ToPerson(f"held by {conversation.held_by}"), now)
        elif Settlement(uow, self._ids, now).person_answer_since(turn):  # They have given it back since then.
            self._keep_draft(uow, turn, result, A_PERSON_SPOKE, now)
            self._settle_without_agent(uow, turn, ToPerson(A_PERSON_SPOKE), now)
        elif turn.replay_of is not None and (why := self._replay_too_late(uow, job, turn, now)):
            self._keep_draft(uow, turn, result, why, now)
            Turns(uow).change(turn.id, settled_at=now)
        else:
            self._store_result(uow, job, turn, conversation, result, now)
        return _TurnEnded()

    def _replay_too_late(self, uow: UnitOfWork, job: Job, turn: Turn, now: datetime) -> str | None:
        group = Messages(uow).of_turn(turn.id)
        return self.replays(uow, now).too_late(group, force=was_forced(job))

    def _store_result(
        self,
        uow: UnitOfWork,
        job: Job,
        turn: Turn,
        conversation: Conversation,
        result: AgentResult,
        now: datetime,
    ) -> None:
        outbox = Outbox(uow, self._ids, now, self._split, job.trace)
        match result:
            case Reply(text=text, closes=closes):
                outbox.put(conversation, "agent", text, turn=turn, closes=closes)
            case HandOff(reason=reason, notice=notice):
                Lifecycle(uow, self._ids, now).hand_to(conversation, "nobody", "agent", reason)
                self._settle_without_agent(uow, turn, ToPerson(reason), now)
                outbox.put(conversation, "notice", notice or owner_in(uow, turn.owner_id).hand_off_notice)
            case NoReply():
                Outcomes(uow, self._ids, now).settle_turn(turn, TurnOutcome("suppressed", "no_reply"))

    def _keep_draft(self, uow: UnitOfWork, turn: Turn, result: AgentResult, why: str, now: datetime) -> None:
        if isinstance(result, Reply):
            Drafts(uow).add(Draft(self._ids.new(), turn.owner_id, turn.id, result.text, why, now))

    # --- When it fails for good ---------------------------------------------------------------------------------------

    def exhausted(self, uow: UnitOfWork, job: Job, error: str) -> None:  # noqa: ARG002 - the row keeps the error
        """One friendly message and, in the same transaction, the dead letter that the caller has just made."""
        lanes.lock_lanes(uow, [job.lane])
        uow = uow.for_owner(job.owner_id)
        now = self._clock.now()
        turn, group = self._turn_of(uow, job, now)
        if turn is None or turn.settled_at is not None or Answers(uow).of_turn(turn.id) is not None:
            return
        endings.set_payload(uow, job.id, {"turn": str(turn.id), "messages": [str(message.id) for message in group]})
        if turn.replay_of is not None:  # The customer was told once; the first dead letter's outcome stands.
            Turns(uow).change(turn.id, settled_at=now)
            return
        owner = owner_in(uow, job.owner_id)
        conversation = Conversations(uow).require(turn.conversation_id)
        contact = Contacts(uow).require(conversation.contact_id)
        decision = who_answers(uow, owner, contact, conversation, group)
        if isinstance(decision, ToAgent):
            outbox = Outbox(uow, self._ids, now, self._split, job.trace)
            outbox.put(conversation, "apology", owner.apology, turn=turn)
        else:
            self._settle_without_agent(uow, turn, decision, now)

    # --- For people ---------------------------------------------------------------------------------------------------

    def replay(self, uow: UnitOfWork, job: Job, *, force: bool) -> Replayed | ReplayRefused:
        """See `replays.Replays.replay`."""
        return self.replays(uow.for_owner(job.owner_id), self._clock.now()).replay(job, force=force)

    def replays(self, uow: UnitOfWork, now: datetime) -> Replays:
        """Replays and releases, with this handler's deadline."""
        return Replays(uow, self._ids, now, self._limits.answer)

    def discarded(self, uow: UnitOfWork, job: Job) -> str | None:
        """Messages of a job that a person took out of the line."""
        uow = uow.for_owner(job.owner_id)
        now = self._clock.now()
        turn, _ = self._turn_of(uow, job, now)
        if turn is not None and Answers(uow).of_turn(turn.id) is None:
            Outcomes(uow, self._ids, now).settle_turn(turn, TurnOutcome("suppressed", "discarded"))
        return None

    async def _write(self, job: Job, work: Callable[[UnitOfWork], T]) -> T:
        return await self._database.write(work, owner=job.owner_id, urgent=True)


def _joinable(job: Job, turn: Turn) -> bool:
    """Only a turn's first run takes newcomers in; in any later one the newcomer is the next turn."""
    return job.attempts == 0 and job.crashes == 0 and turn.version == 1 and turn.replay_of is None and not turn.resumes


def _ending_of(result: AgentResult | _Interruption) -> RunEnding:
    match result:
        case _NewMessage():
            return RunEnding("interrupted", "a newer message came")
        case _TurnEnded():
            return RunEnding("interrupted", "its worker lost the lease")
    return RunEnding(result_of(result))


async def _cancelled(task: "asyncio.Task[AgentResult]") -> None:
    """Cancel and let it come to its end; what it raises belongs to nobody any more."""
    if task.done():
        return
    task.cancel()
    await asyncio.wait({task})
