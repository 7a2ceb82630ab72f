"""Errors of the conversation.

DomainError
├── AgentFailed           conversation.agent_failed       an agent raised, timed out or gave no valid result
├── EffectUncertain       conversation.effect_uncertain   a side effect may or may not have happened
├── ConversationClosed    conversation.closed             409
└── IllegalTransition     conversation.illegal_transition 409
"""

from uuid import UUID

from recado.core.errors import Conflict, DomainError


class AgentFailed(DomainError):
    """The agent gave no usable answer. `reason` is short, for operators, and never contains the customer's words."""

    code = "conversation.agent_failed"

    def __init__(self, reason: str, *, retryable: bool = True, abandoned: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retryable = retryable
        self.abandoned = abandoned
        """The run ignored its cancellation and still occupies a thread. The process should be recycled."""


class EffectUncertain(DomainError):
    """A tool's side effect was started in an earlier run of this turn and nobody knows whether it happened."""

    code = "conversation.effect_uncertain"


class ConversationClosed(Conflict):
    """A closed conversation was to be changed."""

    code = "conversation.closed"

    def __init__(self, conversation_id: UUID) -> None:
        super().__init__(f"conversation {conversation_id} is closed; the customer's next message opens a new one")


class IllegalTransition(Conflict):
    """The conversation's state does not allow what was asked."""

    code = "conversation.illegal_transition"
