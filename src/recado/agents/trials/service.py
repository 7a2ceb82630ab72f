"""Try an owner's agent on one text: nothing is stored, nothing is sent, and no tool's side effect runs."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, TypeAlias
from uuid import UUID

from recado.agents.results import clean_text
from recado.agents.runner import AgentRunner
from recado.conversation.errors import AgentFailed
from recado.conversation.ports import HandOff, Incoming, NoReply, Reply, TurnContext, Usage
from recado.core.clock import Clock
from recado.core.errors import InvalidInput
from recado.core.ids import Ids
from recado.identity.models import Owner

MAX_TEXT = 10_000
NOT_DONE = "(not done: this is a trial)"
TrialEnding: TypeAlias = Literal["reply", "hand_off", "no_reply", "failed"]


@dataclass(frozen=True, slots=True)
class TrialResult:
    """What the agent did with the text. `text` is what the customer would read, None for nothing."""

    ending: TrialEnding
    text: str | None
    reason: str | None
    closes: bool
    usage: Usage
    seconds: float
    retried: bool = False
    """Whether a failed run would be tried again before the customer got the apology."""


class NoEffects:
    """Stands in for the side effects of tools."""

    async def once(self, tool: str, work: Callable[[], Awaitable[str]]) -> str:  # noqa: ARG002 - the port's names
        return NOT_DONE


class AgentTrials:
    """Runs owners' agents once, apart from their conversations."""

    def __init__(self, agents: AgentRunner, clock: Clock, ids: Ids, timeout_seconds: float) -> None:
        self._agents = agents
        self._clock = clock
        self._ids = ids
        self._timeout = timeout_seconds

    async def problem(self, owner_id: UUID, number_id: UUID | None = None) -> str | None:
        """Return what would make every run fail on this machine; None when nothing is known to."""
        return await self._agents.problem(owner_id, number_id)

    async def run(self, owner: Owner, text: str, number_id: UUID | None = None) -> TrialResult:
        """Run the agent of a number, or the owner's, on one message of a made-up customer."""
        text = clean_text(text).strip()
        if not 1 <= len(text) <= MAX_TEXT:
            raise InvalidInput(f"the text must have 1 to {MAX_TEXT:,} characters")
        turn, began = self._turn(owner, text), self._clock.monotonic()
        agent = await self._agents.agent_for(owner.id, number_id)
        try:
            result = await self._agents.run(agent, turn, self._timeout)
        except AgentFailed as failure:
            return self._failed(owner, turn, failure, began)
        seconds = self._clock.monotonic() - began
        match result:
            case Reply():
                return TrialResult("reply", result.text, None, result.closes, result.usage, seconds)
            case HandOff():
                notice = result.notice or owner.hand_off_notice
                return TrialResult("hand_off", notice, result.reason, False, result.usage, seconds)
            case NoReply():
                return TrialResult("no_reply", None, result.reason or None, False, result.usage, seconds)

    def _failed(self, owner: Owner, turn: TurnContext, failure: AgentFailed, began: float) -> TrialResult:
        seconds, used = self._clock.monotonic() - began, turn.consumption.so_far
        return TrialResult("failed", owner.apology, failure.reason, False, used, seconds, failure.retryable)

    def _turn(self, owner: Owner, text: str) -> TurnContext:
        now = self._clock.now()
        return TurnContext(
            owner_id=owner.id,
            contact_id=self._ids.new(),
            conversation_id=self._ids.new(),
            turn_id=self._ids.new(),
            locale=owner.locale,
            contact_name=None,
            messages=(Incoming(text, "text", now),),
            history=(),
            deadline=now + timedelta(seconds=self._timeout),
            effects=NoEffects(),
        )
