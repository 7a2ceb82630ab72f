"""Errors of the conversation.

DomainError
├── AgentFailed           conversation.agent_failed       an agent raised, timed out or gave no valid result
├── EffectUncertain       conversation.effect_uncertain   a side effect may or may not have happened
├── ConversationClosed    conversation.closed             409
├── IllegalTransition     conversation.illegal_transition 409
│   └── HeldByAgent       conversation.held_by_agent      409
├── UnknownNumber         conversation.unknown_number     422
└── CannotSend            conversation.cannot_send        409
    ├── OwnerClosed       conversation.closed_account     409
    ├── OptedOut          conversation.opted_out          409
    ├── ContactBlocked    conversation.blocked            409
    └── WindowClosed      conversation.window_closed      409
"""

from uuid import UUID

from recado.core.errors import Conflict, DomainError, InvalidInput


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


class HeldByAgent(IllegalTransition):
    """A person was to speak while the agent holds the conversation."""

    code = "conversation.held_by_agent"

    def __init__(self, conversation_id: UUID) -> None:
        super().__init__(f"the agent holds conversation {conversation_id}; take it first")


class UnknownNumber(InvalidInput):
    """A message was to be sent from a number that is not the owner's."""

    code = "conversation.unknown_number"

    def __init__(self, address: str) -> None:
        super().__init__(f"{address} is not a number of this organisation")


class CannotSend(Conflict):
    """A message could not be sent now, so it was not stored."""

    code = "conversation.cannot_send"
    sentence = "this cannot be sent now"

    def __init__(self) -> None:
        super().__init__(self.sentence)


class OwnerClosed(CannotSend):
    """The organisation is closed."""

    code = "conversation.closed_account"
    sentence = "the organisation is closed; nothing is sent for it"


class OptedOut(CannotSend):
    """The customer wants no messages."""

    code = "conversation.opted_out"
    sentence = "the customer has opted out of messages"


class ContactBlocked(CannotSend):
    """A person has blocked the contact."""

    code = "conversation.blocked"
    sentence = "the contact is blocked; unblock it first"


class WindowClosed(CannotSend):
    """The channel delivers nothing now, because the customer has not written for too long."""

    code = "conversation.window_closed"
    sentence = "the customer has not written within 24 hours, so WhatsApp delivers no message that is not a template"
