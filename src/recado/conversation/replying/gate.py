"""Decide before any agent runs whether a turn may be answered, and by whom.

The order is fixed: a closed account, a closed conversation, a blocked contact, opt-outs, then who holds the
conversation. A blocked contact's STOP counts all the same. A provider that reports an opt-out type has answered STOP,
START or HELP itself, so nothing more is said.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from recado.conversation.models import Contact, Conversation, Message, Suppression, Turn
from recado.conversation.outcomes import Outcomes, TurnOutcome
from recado.conversation.repository import Contacts
from recado.conversation.settlement import Settlement
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.queue.transactions import Transaction
from recado.identity.models import Owner


@dataclass(frozen=True, slots=True)
class ToAgent:
    """Decision: the agent answers these messages."""

    messages: list[Message]


@dataclass(frozen=True, slots=True)
class ToPerson:
    """Decision: the turn goes to the inbox."""

    why: str


@dataclass(frozen=True, slots=True)
class Suppress:
    """Decision: nobody answers, for this reason."""

    reason: Suppression


Decision: TypeAlias = ToAgent | ToPerson | Suppress

A_PERSON_SPOKE = "a person has spoken since"


def who_answers(
    uow: UnitOfWork, owner: Owner, contact: Contact, conversation: Conversation, group: Sequence[Message]
) -> Decision:
    """Return who answers these messages. An opt-out in them, or its end, is stored on the way."""
    reason = _why_nobody(uow, owner, contact, conversation, group)
    if reason is not None:
        return Suppress(reason)
    spoken = [message for message in group if not _needs_no_answer(message)]
    if not spoken:
        return Suppress("no_reply")
    if conversation.held_by != "agent":
        return ToPerson(f"held by {conversation.held_by}")
    return ToAgent(spoken)


def _why_nobody(
    uow: UnitOfWork, owner: Owner, contact: Contact, conversation: Conversation, group: Sequence[Message]
) -> Suppression | None:
    """Return why nobody may answer, or None."""
    if owner.closed_at is not None:
        return "closed_account"
    if conversation.status == "closed":
        return "discarded"
    opted_out = _opted_out(uow, owner, contact, group)
    if contact.blocked_at is not None:
        return "blocked"
    return "opt_out" if opted_out else None


def settle_without_agent(tx: Transaction, turn: Turn, decision: Suppress | ToPerson) -> None:
    """Settle a turn that no agent is to answer."""
    if isinstance(decision, Suppress):
        Outcomes(tx).settle_turn(turn, TurnOutcome("suppressed", decision.reason))
    else:
        Settlement(tx).to_person(turn, decision.why)


def _opted_out(uow: UnitOfWork, owner: Owner, contact: Contact, group: Sequence[Message]) -> bool:
    """Return whether the customer wants no messages. The last STOP or START of the turn decides.

    An old turn may be answered again after a later STOP, so a START lifts only an older opt-out. The customer may send
    the other word to another number of the owner at this moment, so the contact is locked before both are compared.
    """
    words = {message.id: word for message in group if (word := _opt_word(owner, message))}
    if not words:
        return contact.opted_out_at is not None
    before = opted_out_at = Contacts(uow).held(contact.id).opted_out_at
    for message in group:
        if words.get(message.id) == "STOP":
            opted_out_at = max(opted_out_at or message.received_at, message.received_at)
        elif words.get(message.id) == "START":
            opted_out_at = opted_out_at if opted_out_at and opted_out_at > message.received_at else None
    if opted_out_at != before:
        Contacts(uow).change(contact.id, opted_out_at=opted_out_at, opted_out_by=None)
    return opted_out_at is not None


def _opt_word(owner: Owner, message: Message) -> Literal["STOP", "START"] | None:
    if message.opt_out_type == "STOP" or owner.is_stop_word(message.text):
        return "STOP"
    if message.opt_out_type == "START" or owner.is_start_word(message.text):
        return "START"
    return None


def _needs_no_answer(message: Message) -> bool:
    """Return whether the provider has answered a message itself, or it is a reaction to one of ours."""
    return message.opt_out_type in ("START", "HELP") or message.kind == "reaction"
