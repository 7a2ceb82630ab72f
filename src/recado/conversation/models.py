"""The entities of the conversation, and which changes of them are legal.

Each legal change is a row of a table here, so that nobody has to search the code for an `if`.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, TypeAlias
from uuid import UUID

from recado.conversation.errors import ConversationClosed, IllegalTransition
from recado.conversation.values import Address
from recado.core.queue.lane import Lane
from recado.identity.principal import Principal

ConversationStatus: TypeAlias = Literal["open", "idle", "closed"]
Holder: TypeAlias = Literal["agent", "person", "nobody"]
Actor: TypeAlias = Literal["customer", "agent", "person", "system"]
Outcome: TypeAlias = Literal["answered", "superseded", "handed_off", "suppressed", "apologised"]
Suppression: TypeAlias = Literal[
    "opt_out",
    "window_closed",
    "unreachable",
    "unconfirmed",
    "no_reply",
    "discarded",
    "quota",
    "loop",
    "closed_account",
    "already_apologised",
    "stale",
    "blocked",
]
By: TypeAlias = Actor | Principal
"""Who did something: `person` and a name, or only what kind of actor."""
Author: TypeAlias = Literal["agent", "apology", "person", "notice"]
AnswerState: TypeAlias = Literal["waiting", "accepted", "refused", "stopped", "unconfirmed"]
AttemptState: TypeAlias = Literal["sending", "accepted", "refused", "retry", "unknown", "absent", "unconfirmed"]
OutcomeCause: TypeAlias = Literal["replay", "late_sid", "person", "release", "close"]

OUTCOMES: tuple[Outcome, ...] = ("answered", "superseded", "handed_off", "suppressed", "apologised")

CONVERSATION_CHANGES: dict[ConversationStatus, frozenset[ConversationStatus]] = {
    "open": frozenset({"idle", "closed"}),
    "idle": frozenset({"open", "closed"}),
    "closed": frozenset(),
}
"""A message to a closed conversation opens a new one, linked to the old."""

HOLDER_CHANGES: dict[Holder, frozenset[Holder]] = {
    "agent": frozenset({"person", "nobody"}),
    "nobody": frozenset({"person", "agent"}),
    "person": frozenset({"agent", "nobody"}),
}

_SETTLED_BY_AGENT = frozenset({"answered", "superseded", "handed_off"})
OUTCOME_CHANGES: dict[OutcomeCause, dict[str, frozenset[str]]] = {
    "replay": {
        "apologised": _SETTLED_BY_AGENT,
        "suppressed:already_apologised": _SETTLED_BY_AGENT,
        "suppressed:unconfirmed": _SETTLED_BY_AGENT,
    },
    "late_sid": {
        "suppressed:unconfirmed": frozenset({"answered", "superseded", "apologised"}),
        "suppressed:unreachable": frozenset({"answered", "superseded", "apologised"}),
    },
    "person": {"handed_off": frozenset({"answered", "superseded"})},
    "release": {"handed_off": frozenset({"answered", "superseded", "apologised", "suppressed"})},
    "close": {"handed_off": frozenset({"suppressed"})},
}
"""What an outcome may become after it was written: why it changes → what it was → what it may be."""


@dataclass(frozen=True, slots=True)
class Contact:
    """The customer."""

    id: UUID
    owner_id: UUID
    name: str | None
    opted_out_at: datetime | None
    created_at: datetime
    named_by: str | None = None
    """The person who gave the name. Without one it is the name of the newest profile."""
    opted_out_by: str | None = None
    """The person who stored the opt-out; None when the customer or the provider did."""
    blocked_at: datetime | None = None
    blocked_by: str | None = None

    @property
    def may_be_written_to(self) -> bool:
        return self.opted_out_at is None and self.blocked_at is None


@dataclass(frozen=True, slots=True)
class Conversation:
    """A stretch of a lane, from open to closed. `held_by` says who may speak in it."""

    id: UUID
    owner_id: UUID
    lane: Lane
    contact_id: UUID
    address_id: UUID
    status: ConversationStatus
    held_by: Holder
    version: int
    previous_id: UUID | None
    opened_at: datetime
    held_since: datetime
    last_activity_at: datetime
    closed_at: datetime | None = None
    closed_by: Actor | None = None
    closed_reason: str | None = None
    nudge_id: UUID | None = None
    """The nudge of the latest stretch of silence."""
    holder_id: UUID | None = None
    """The user or key that holds it for a person; None for the command line, and while no person holds it."""
    holder_name: str | None = None
    assignee_id: UUID | None = None
    """The user who is to look after it. That does not stop anybody else."""

    def check_open(self) -> None:
        """Raise `ConversationClosed` unless it goes on."""
        if self.status == "closed":
            raise ConversationClosed(self.id)

    def check_status(self, to: ConversationStatus) -> None:
        """Raise `ConversationClosed` or `IllegalTransition` unless the change is legal."""
        self.check_open()
        if to not in CONVERSATION_CHANGES[self.status]:
            raise IllegalTransition(f"a conversation that is {self.status} cannot become {to}")

    def check_holder(self, to: Holder) -> None:
        """Raise `ConversationClosed` or `IllegalTransition` unless the change is legal."""
        self.check_open()
        if to not in HOLDER_CHANGES[self.held_by]:
            holder = self.held_by if self.holder_name is None else f"{self.held_by} {self.holder_name}"
            raise IllegalTransition(f"conversation {self.id} is held by {holder} already")


@dataclass(frozen=True, slots=True)
class Message:
    """An accepted inbound message."""

    id: UUID
    owner_id: UUID
    lane: Lane
    address_id: UUID
    provider: str
    account_ref: str
    provider_message_id: str
    from_address: str
    to_address: str
    text: str
    kind: str
    opt_out_type: str | None
    profile_name: str | None
    source: str
    received_at: datetime
    contact_id: UUID | None
    conversation_id: UUID | None
    turn_id: UUID | None
    outcome: Outcome | None
    outcome_reason: Suppression | None
    answered_by: UUID | None

    @property
    def sender(self) -> Address:
        return Address(self.from_address)

    @property
    def outcome_and_reason(self) -> str | None:
        """The outcome and, for a suppression, its reason, such as `suppressed:opt_out`."""
        return outcome_and_reason(self.outcome, self.outcome_reason) if self.outcome else None


def outcome_and_reason(outcome: Outcome, reason: Suppression | None) -> str:
    """Return an outcome with its reason in one word, as people and the history read it."""
    return f"{outcome}:{reason}" if reason else outcome


@dataclass(frozen=True, slots=True)
class Turn:
    """The inbound messages that one agent run answers."""

    id: UUID
    owner_id: UUID
    lane: Lane
    conversation_id: UUID
    generation: int
    replay_of: UUID | None
    resumes: bool
    version: int
    created_at: datetime
    deadline_at: datetime
    settled_at: datetime | None

    @classmethod
    def begin(
        cls,
        id_: UUID,
        conversation: Conversation,
        now: datetime,
        answer_within: timedelta,
        *,
        replay_of: "Turn | None" = None,
        resumes: bool = False,
    ) -> "Turn":
        """Return a new turn of a conversation that begins now."""
        return cls(
            id=id_,
            owner_id=conversation.owner_id,
            lane=conversation.lane,
            conversation_id=conversation.id,
            generation=replay_of.generation + 1 if replay_of else 1,
            replay_of=replay_of.id if replay_of else None,
            resumes=resumes,
            version=1,
            created_at=now,
            deadline_at=now + answer_within,
            settled_at=None,
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """One outbound thing: the one reply or apology of a turn, or a person's message or notice that answers no turn."""

    id: UUID
    owner_id: UUID
    lane: Lane
    send_lane: Lane
    conversation_id: UUID
    turn_id: UUID | None
    author: Author
    address_id: UUID
    from_address: str
    to_address: str
    state: AnswerState
    reason: Suppression | None
    error_code: str | None
    created_at: datetime
    settled_at: datetime | None
    closes: bool = False
    """The agent said that the conversation is over once this has arrived."""
    author_name: str | None = None
    """The person or key that wrote it; None for the agent."""


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of an answer that fits one provider message."""

    id: UUID
    owner_id: UUID
    answer_id: UUID
    part_no: int
    text: str
    state: Literal["waiting", "accepted", "refused", "unconfirmed"]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One create call for one part, stored before the call is made."""

    id: UUID
    owner_id: UUID
    answer_id: UUID
    part_id: UUID
    account_id: UUID
    """The account it was made with. Only the list of this account is read for it, and only its callbacks count."""
    lane: Lane
    number: int
    resend_of: UUID | None
    """The attempt left `unconfirmed` whose part is sent again, although the customer may have it."""
    state: AttemptState
    worker: UUID
    started_at: datetime
    deadline_at: datetime
    pulls: int
    last_pull_at: datetime | None
    code: str | None
    detail: str | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class InboxItem:
    """A turn that waits for a person."""

    id: UUID
    owner_id: UUID
    conversation_id: UUID
    turn_id: UUID | None
    reason: str
    created_at: datetime
    read_at: datetime | None
    resolved_at: datetime | None


@dataclass(frozen=True, slots=True)
class Draft:
    """An agent's result that lost its fence: kept for operators, never sent."""

    id: UUID
    owner_id: UUID
    turn_id: UUID
    text: str
    why: str
    created_at: datetime
