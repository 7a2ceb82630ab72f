"""Answers with a language model.

The import of the library for models takes seconds and tens of megabytes. The first turn that needs it imports it
(`llm_engine.py`), in a thread; a worker without such an owner never does.
"""

import asyncio
from typing import TYPE_CHECKING

from recado.agents.registry import AgentSetup
from recado.conversation.errors import AgentFailed
from recado.conversation.ports import AgentResult, TurnContext

if TYPE_CHECKING:
    from recado.agents.builtin.llm_engine import Engine


class LlmAgent:
    """A model that the owner chose, with access to the owner's documents."""

    cooperative = True

    def __init__(self, setup: AgentSetup) -> None:
        if not setup.settings.model:
            raise AgentFailed("the llm agent has no model; set it again", retryable=False)
        self._setup = setup
        self._engine: Engine | None = None

    async def respond(self, turn: TurnContext) -> AgentResult:
        left = (turn.deadline - self._setup.clock.now()).total_seconds()
        try:
            async with asyncio.timeout(max(0.0, left)):
                if self._engine is None:
                    self._engine = await asyncio.to_thread(_engine_of, self._setup)
                return await self._engine.respond(turn)
        except TimeoutError:
            raise AgentFailed("the model took too long") from None

    async def problem(self) -> str | None:
        """Return which extra, provider or key is missing on this machine."""
        try:
            engine = await asyncio.to_thread(_engine_of, self._setup)
        except AgentFailed as failure:
            return failure.reason
        return engine.problem()


def _engine_of(setup: AgentSetup) -> "Engine":
    try:
        from recado.agents.builtin.llm_engine import Engine
    except ImportError:
        how = "the llm agent needs the extra llm (in the checkout: pip install '.[llm]')"
        raise AgentFailed(how, retryable=False) from None
    return Engine(setup)
