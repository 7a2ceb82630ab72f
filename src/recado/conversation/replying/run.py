"""Step 7: run the agent, outside any transaction, with a deadline.

The row of the run is made when the turn is opened and ended here in a transaction of its own, so what it cost is known
whatever becomes of the result: step 8 may lose its fence, be rolled back or never come.
"""

import asyncio
from collections.abc import Awaitable
from datetime import timedelta
from functools import partial
from typing import Literal, TypeAlias

import structlog

from recado.conversation.errors import AgentFailed
from recado.conversation.ports import (
    AgentResult,
    Agents,
    Consumption,
    HandOff,
    Incoming,
    NoReply,
    Reply,
    TurnContext,
    Usage,
)
from recado.conversation.replying.effects import StoredEffects
from recado.conversation.replying.open import OpenedTurn, may_join
from recado.conversation.replying.repository import RunEnding, RunResult, end_run
from recado.core.clock import Clock
from recado.core.errors import Busy, StorageUnavailable
from recado.core.metrics import AGENT_RUN, AGENT_RUNS, Meters
from recado.core.queue.job import Claim
from recado.core.queue.running.retrying import retry_while_leased
from recado.core.queue.transactions import Transaction, Transactions
from recado.core.tracing import AGENT, Span, Traces

log = structlog.get_logger(__name__)

Interruption: TypeAlias = Literal["newer_message", "lease_lost"]
"""What made a run pointless: a message that belongs to its turn came, or another worker holds its job."""

STOOD_STILL = RunEnding("interrupted", "its worker stood still")
_TOLD_TO_STOP = RunEnding("interrupted", "its worker was told to stop")
_INTERRUPTED: dict[Interruption, RunEnding] = {
    "newer_message": RunEnding("interrupted", "a newer message came"),
    "lease_lost": RunEnding("interrupted", "its worker lost the lease"),
}
_ENDINGS = {
    Reply: RunEnding("reply"),
    HandOff: RunEnding("hand_off"),
    NoReply: RunEnding("no_reply"),
}
_STOPPING_SECONDS = 2.0
"""How long storing the end of a run may take when the worker is stopping."""


class AgentRuns:
    """Runs agents, bounded in time, and stores how each run ended."""

    def __init__(
        self,
        transactions: Transactions,
        clock: Clock,
        agents: Agents,
        limit: timedelta,
        meters: Meters,
        traces: Traces,
    ) -> None:
        self._transactions = transactions
        self._clock = clock
        self._agents = agents
        self._limit = limit
        self._meters = meters
        self._traces = traces

    async def run(self, claim: Claim, opened: OpenedTurn) -> AgentResult | Interruption:
        """Return the agent's result, or what interrupted it. Raises `AgentFailed`."""
        consumption = Consumption()
        try:
            result = await self._traced(claim, opened, consumption)
        except asyncio.CancelledError:
            await self.end(claim, opened, _TOLD_TO_STOP, consumption.so_far, within=_STOPPING_SECONDS)
            raise
        except Exception as error:
            why = error.reason if isinstance(error, AgentFailed) else type(error).__name__
            await self.end(claim, opened, RunEnding("failed", why), consumption.so_far)
            raise
        usage = consumption.so_far
        if isinstance(result, Reply | HandOff | NoReply) and result.usage != Usage():
            usage = result.usage
        await self.end(claim, opened, _ending_of(result), usage)
        return result

    async def end(
        self, claim: Claim, opened: OpenedTurn, ending: RunEnding, usage: Usage, *, within: float | None = None
    ) -> None:
        """Store how a run ended. A row that cannot be stored does not stop the job."""

        def store(tx: Transaction) -> None:
            end_run(tx.uow, opened.run_id, ending, usage, tx.now)

        write = partial(self._transactions.write, store, owner=claim.job.owner_id, urgent=True)
        try:
            async with asyncio.timeout(within):
                await retry_while_leased(claim, write)
        except (TimeoutError, Busy, StorageUnavailable) as error:
            log.warning("agent.run_not_recorded", run=str(opened.run_id), error=str(error))

    async def _traced(self, claim: Claim, opened: OpenedTurn, consumption: Consumption) -> AgentResult | Interruption:
        turn, messages = str(opened.turn.id), len(opened.messages)
        with self._traces.within(AGENT, "internal", turn=turn, messages=messages) as span:
            result = await self._measured(self._until_interrupted(claim, opened, consumption, span.traceparent), span)
            if isinstance(result, Reply | HandOff | NoReply):
                usage = result.usage
                span.note(model=usage.model or "", input_tokens=usage.input_tokens, output_tokens=usage.output_tokens)
            return result

    async def _measured(self, run: Awaitable[AgentResult | Interruption], span: Span) -> AgentResult | Interruption:
        """Count and time the run, by how it ended."""
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

    async def _until_interrupted(
        self, claim: Claim, opened: OpenedTurn, consumption: Consumption, trace: str | None
    ) -> AgentResult | Interruption:
        effects = StoredEffects(self._transactions, opened.turn)
        timeout = min(self._limit, opened.turn.deadline_at - self._clock.now()).total_seconds()
        context = self._context(opened, effects, consumption, timeout, trace)
        run = asyncio.create_task(self._agents.run(opened.agent, context, timeout))
        try:
            while not run.done():
                interruption = await _interruption(claim, run, opened, effects)
                if interruption is not None:
                    return interruption
            return run.result()
        finally:
            await _cancelled(run)

    def _context(
        self, opened: OpenedTurn, effects: StoredEffects, consumption: Consumption, timeout: float, trace: str | None
    ) -> TurnContext:
        return TurnContext(
            owner_id=opened.turn.owner_id,
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


async def _interruption(
    claim: Claim, run: "asyncio.Task[AgentResult]", opened: OpenedTurn, effects: StoredEffects
) -> Interruption | None:
    """Wait until the run is done or interrupted. A message does not interrupt a run that has started a side effect."""
    waiters = [asyncio.create_task(claim.until_lost())]
    if may_join(claim.job, opened.turn) and not effects.ran:
        waiters.append(asyncio.create_task(claim.until_newer_message()))
    try:
        await asyncio.wait({run, *waiters}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for waiter in waiters:
            waiter.cancel()
    if run.done():
        return None
    if claim.is_lost:
        return "lease_lost"
    return None if effects.ran else "newer_message"


def _ending_of(result: AgentResult | Interruption) -> RunEnding:
    if isinstance(result, str):
        return _INTERRUPTED[result]
    return _ENDINGS[type(result)]


async def _cancelled(task: "asyncio.Task[AgentResult]") -> None:
    """Cancel a task and wait for its end. What it raises concerns nobody any more."""
    if task.done():
        return
    task.cancel()
    await asyncio.wait({task})
