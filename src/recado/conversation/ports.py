"""What the conversation needs from outside: an agent that answers, and a channel that sends.

`agents` implements `Agent` and `channels` implements `Channel`. They never import each other.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, Protocol, TypeAlias
from uuid import UUID

from recado.conversation.values import Address
from recado.core.database.unit_of_work import UnitOfWork

# --- Agents -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Incoming:
    """One message of the turn, in the words an agent reads: `text` describes what is not text ("[image]")."""

    text: str
    kind: str
    received_at: datetime


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """An earlier message of the same lane; `author` says who spoke, a person taking over included."""

    author: Literal["customer", "agent", "person", "notice"]
    text: str
    at: datetime


class Effects(Protocol):
    """Runs a tool's side effect at most once per turn, however often the agent is run again."""

    async def once(self, tool: str, work: Callable[[], Awaitable[str]]) -> str:
        """Return the result of `work`, or the stored one when the turn's n-th call of `tool` has run before.

        The key `turn:tool:n` is stored before `work` starts; a call whose first run died half-way is not repeated and
        raises `EffectUncertain`.
        """
        ...


@dataclass(frozen=True, slots=True)
class Usage:
    """What a run consumed, as far as the agent knows."""

    model: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0


MAX_TOKENS = 2**31 - 1
_MAX_MODEL_LENGTH = 200


def _countable(usage: object) -> Usage:
    match usage:
        case Usage(model=None | str(), input_tokens=int(read), output_tokens=int(written)) if (
            0 <= read <= MAX_TOKENS and 0 <= written <= MAX_TOKENS
        ):
            model = usage.model or ""
            if len(model) <= _MAX_MODEL_LENGTH and model.isprintable():
                return usage
    raise ValueError("usage needs whole numbers of tokens, none below 0, and a short name of a model")


class Consumption:
    """What a run has consumed so far: for runs that fail or are cut off and so never come to a result with its usage.

    An agent that pays for what it uses reports the whole so far, from any thread and as often as it likes.
    """

    __slots__ = ("_so_far",)

    def __init__(self) -> None:
        self._so_far = Usage()

    def report(self, so_far: Usage) -> None:
        """Replace what was reported before; raises `ValueError` for what cannot be counted."""
        self._so_far = _countable(so_far)

    @property
    def so_far(self) -> Usage:
        return self._so_far


@dataclass(frozen=True, slots=True)
class TurnContext:
    """What an agent run is given. Owner and contact come from us, never from a model."""

    owner_id: UUID
    contact_id: UUID
    conversation_id: UUID
    turn_id: UUID
    locale: str
    contact_name: str | None
    messages: Sequence[Incoming]
    history: Sequence[HistoryEntry]
    deadline: datetime
    effects: Effects
    trace: str | None = None
    """The run's `traceparent`, for agents that call somebody who traces too; None when nobody does."""
    consumption: Consumption = field(default_factory=Consumption, compare=False, repr=False)

    @property
    def text(self) -> str:
        """The texts of the turn, oldest first, joined by line breaks."""
        return "\n".join(message.text for message in self.messages)


@dataclass(frozen=True, slots=True)
class Reply:
    """The text that answers the turn. `closes`: the conversation ends on arrival, unless somebody wrote since."""

    text: str
    usage: Usage = field(default_factory=Usage)
    closes: bool = False


@dataclass(frozen=True, slots=True)
class HandOff:
    """A person must take over. `notice` is what the customer reads meanwhile; None means the owner's standard text."""

    reason: str
    notice: str | None = None
    usage: Usage = field(default_factory=Usage)


@dataclass(frozen=True, slots=True)
class NoReply:
    """The turn needs no answer."""

    reason: str = ""
    usage: Usage = field(default_factory=Usage)


AgentResult: TypeAlias = Reply | HandOff | NoReply


class Agent(Protocol):
    """Answers a turn. It may raise, hang or return anything, so it is called in one place, with a time limit."""

    async def respond(self, turn: TurnContext) -> AgentResult: ...


class OwnersAgents(Protocol):
    """The agents of one owner, with their settings applied."""

    def for_number(self, address_id: UUID) -> Agent:
        """Return the agent that answers at a number: the number's own, or the one that the owner has switched on."""
        ...


class Agents(Protocol):
    """Finds the agents that an owner has switched on."""

    async def agents_of(self, owner_id: UUID) -> OwnersAgents: ...

    def history_limit(self, agent: Agent) -> int:
        """Return how many earlier messages the owner lets the agent read."""
        ...

    async def run(self, agent: Agent, turn: TurnContext, timeout: float) -> AgentResult:
        """Run it where a blocking agent stops nobody else; at `timeout` seconds it is cancelled from outside.

        Raises `AgentFailed` (conversation/errors.py) for whatever went wrong, rubbish answers included.
        """
        ...


# --- Channels ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SendingAccount:
    """The account behind an address of ours, and its provider: what an attempt is made with."""

    account_id: UUID
    provider: str


@dataclass(frozen=True, slots=True)
class OutboundText:
    """One create call for one part. The provider's callbacks bring `attempt_id` back."""

    owner_id: UUID
    address_id: UUID
    account_id: UUID
    provider: str
    from_address: Address
    to_address: Address
    text: str
    attempt_id: UUID
    trace: str | None = None
    """The call's `traceparent`, which the provider's callbacks bring back too; None when nobody traces."""


@dataclass(frozen=True, slots=True)
class Sent:
    """The provider accepted the message and named it."""

    provider_message_id: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The provider did not send the message and will not: final. `reason` is one of the suppression reasons."""

    code: str
    detail: str
    reason: Literal["opt_out", "window_closed", "unreachable"]


@dataclass(frozen=True, slots=True)
class NotProcessed:
    """The provider surely did not process the call (429, refused connection, DNS, TLS): a retry cannot send twice."""

    code: str
    detail: str
    retry_after: float | None = None
    pause_account: bool = False
    """The fault is the account's: nothing is sent with it until `retry_after` has passed."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """The message may or may not have been accepted (5xx, read timeout, reset, 2xx without an id)."""

    code: str
    detail: str


SendResult: TypeAlias = Sent | Refused | NotProcessed | Unknown


@dataclass(frozen=True, slots=True)
class ListedMessage:
    """A message the provider lists as sent by us."""

    provider_message_id: str
    to_address: str
    from_address: str
    body: str
    created_at: datetime
    status: str
    error_code: str | None


@dataclass(frozen=True, slots=True)
class Pull:
    """The entries of the provider's list. `complete` only when every spelling was read to the end."""

    messages: Sequence[ListedMessage]
    complete: bool
    detail: str = ""


class Channel(Protocol):
    """Sends one text once, without retries of its own."""

    async def send(self, message: OutboundText) -> SendResult: ...


class Finder(Protocol):
    """A capability that a channel may lack: the provider's list of what was sent can be read."""

    async def find(self, message: OutboundText, *, created_after: datetime, created_before: datetime) -> Pull:
        """Return all API-made messages from `from_address` to any spelling of `to_address` created in the span."""
        ...


@dataclass(frozen=True, slots=True)
class ChannelRules:
    """Until when a channel takes what we send to a customer."""

    reply_window: timedelta | None
    """How long after the customer's newest message an answer is delivered. None: it does not depend on that."""
    retry_for: timedelta
    """How long after it was written an answer is tried that the provider has not processed."""
    answer_within: timedelta | None
    """A message of the customer that is older gets no agent and no replay. None: none is too old."""

    def sendable_until(self, written_at: datetime, newest_inbound_at: datetime | None) -> datetime:
        """Return until when an answer may be sent."""
        if self.reply_window is None:
            return written_at + self.retry_for
        return written_at if newest_inbound_at is None else newest_inbound_at + self.reply_window

    def is_too_old(self, received_at: datetime, now: datetime) -> bool:
        """Return whether a message of the customer is too old to be answered."""
        return self.answer_within is not None and now - received_at >= self.answer_within


@dataclass(frozen=True, slots=True)
class NumberOfOurs:
    """A number of an owner's, as it is stored."""

    id: UUID
    address: str


class Numbers(Protocol):
    """Finds numbers, inside a transaction of their owner."""

    def in_use(self, uow: UnitOfWork, address: Address) -> NumberOfOurs | None:
        """Return the owner's number of this address, or None for one that is not the owner's or was removed."""
        ...

    def with_id(self, uow: UnitOfWork, number_id: UUID) -> NumberOfOurs | None:
        """Return the owner's number with this id, or None for one that is not the owner's or was removed."""
        ...


class Channels(Protocol):
    """Finds what a provider's name stands for."""

    def channel_for(self, provider: str) -> Channel: ...

    def finder_for(self, provider: str) -> Finder | None:
        """Return how to look up what was sent, or None where the channel cannot."""
        ...

    def rules_for(self, provider: str, customer: Address) -> ChannelRules: ...
