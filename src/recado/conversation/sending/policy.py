"""What may stop an answer before an attempt of it is stored. After that nothing stops the call.

until when    the channel's rules say (`ports.ChannelRules`): while its reply window is open, or for its time of retries
a nudge       only while the conversation is still silent
an agent      only while the agent holds the conversation and no person has written since
an apology    at most one in a lane within the quiet time
anybody       not when the account is closed, the contact is blocked or has opted out, or the time is over
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TypeAlias

from recado.conversation.models import Answer, Conversation, Message, Suppression
from recado.conversation.ports import ChannelRules
from recado.conversation.repository import Contacts, Conversations, Messages
from recado.conversation.sending.repository import Answers, Attempts
from recado.conversation.settlement import Settlement
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.queue.transactions import Transaction
from recado.identity.repository import owner_in

Ending: TypeAlias = Callable[[Settlement], None]
"""How an answer that is stopped is settled."""


def overtaken(tx: Transaction, answer: Answer, conversation: Conversation, apology_quiet: timedelta) -> Ending | None:
    """Return how to settle an answer that events have overtaken, or None when it may still be sent."""
    if answer.id == conversation.nudge_id and not _still_silent(tx.uow, conversation):
        return lambda settlement: settlement.taken_over(answer, "somebody has spoken since")
    if answer.author in ("agent", "apology") and conversation.held_by != "agent":
        why = f"held by {conversation.held_by} before it was sent"
        return lambda settlement: settlement.taken_over(answer, why)
    if answer.turn_id is not None and Answers(tx.uow).of_person_since(answer.lane, answer.created_at):
        return lambda settlement: settlement.taken_over(answer, "a person has spoken since")
    if answer.author == "apology":
        first = Answers(tx.uow).latest_apology(answer.lane, tx.now - apology_quiet)
        if first is not None:
            return lambda settlement: settlement.already_apologised(answer, first)
    return None


def _still_silent(uow: UnitOfWork, conversation: Conversation) -> bool:
    """Return whether a nudge still makes sense: the customer has not written, and no person has taken over."""
    silent = conversation.status == "idle" and conversation.held_by == "agent"
    return silent and not Messages(uow).unturned(conversation.lane)


def why_not(
    uow: UnitOfWork, answer: Answer, conversation: Conversation, now: datetime, rules: ChannelRules
) -> Suppression | None:
    """Return why an answer of any author must not be sent now, or None."""
    if owner_in(uow, answer.owner_id).closed_at is not None:
        return "closed_account"
    contact = Contacts(uow).require(conversation.contact_id)
    if contact.blocked_at is not None:
        return "blocked"
    if contact.opted_out_at is not None:
        return "opt_out"
    if now < sendable_until(uow, answer, rules):
        return None
    has_window, tried = rules.reply_window is not None, Attempts(uow).of_answer(answer.id)
    return "window_closed" if has_window and not tried else "unreachable"


def sendable_until(uow: UnitOfWork, answer: Answer, rules: ChannelRules) -> datetime:
    """Return until when an answer may be sent. No wait is longer."""
    newest = None if rules.reply_window is None else _newest_for(uow, answer)
    return rules.sendable_until(answer.created_at, None if newest is None else newest.received_at)


def _newest_for(uow: UnitOfWork, answer: Answer) -> Message | None:
    """Return the customer's newest message; a conversation that began with us may have none of its own."""
    return Messages(uow).newest(answer.conversation_id) or Messages(uow).newest_in_lane(answer.lane)


def why_not_replay(tx: Transaction, answer: Answer, rules: ChannelRules, *, force: bool) -> str | None:
    """Return why a dead answer must not be sent again, or None. `force` overrides that a later one was answered."""
    if answer.state not in ("unconfirmed", "refused"):
        return f"the answer is {answer.state} by now"
    conversation = Conversations(tx.uow).require(answer.conversation_id)
    if conversation.held_by == "person" and answer.author != "person":
        return "a person holds the conversation"
    if answer.turn_id is not None:
        group = Messages(tx.uow).of_turn(answer.turn_id)
        if not group:
            return "its messages belong to a newer turn"
        later = Messages(tx.uow).later_outcomes(answer.lane, group[-1].id)
        if None in later:
            return "a later message of the same customer is being answered"
        if later & {"answered", "superseded"} and not force:
            return "a later message of the same customer was answered; --force sends this one all the same"
    reason = why_not(tx.uow, answer, conversation, tx.now, rules)
    return None if reason is None else f"it cannot be sent now: {reason.replace('_', ' ')}"
