"""The simplest agent that is useful: it proves that a message goes all the way round."""

from recado.agents.registry import AgentSetup
from recado.agents.results import MAX_ANSWER, clean_text
from recado.conversation.ports import Reply, TurnContext


class EchoAgent:
    """Says back what the turn's messages said, one line each."""

    cooperative = True

    def __init__(self, setup: AgentSetup) -> None:
        """It needs nothing of its setup."""

    async def respond(self, turn: TurnContext) -> Reply:
        # A customer may send what no answer may contain (control characters), or more than an answer may hold.
        return Reply(clean_text(f"echo: {turn.text}")[:MAX_ANSWER])
