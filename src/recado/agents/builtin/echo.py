"""The simplest useful agent: it proves that a message passes every part."""

from recado.agents.registry import AgentSetup
from recado.agents.results import MAX_ANSWER, clean_text
from recado.conversation.ports import Reply, TurnContext


class EchoAgent:
    """Repeats the texts of the turn's messages, one line each."""

    cooperative = True

    def __init__(self, setup: AgentSetup) -> None:
        """It uses nothing of its setup."""

    async def respond(self, turn: TurnContext) -> Reply:
        # A customer may send characters that no answer may contain (control characters), or more than an answer may
        # hold.
        return Reply(clean_text(f"echo: {turn.text}")[:MAX_ANSWER])
