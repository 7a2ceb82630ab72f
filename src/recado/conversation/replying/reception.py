"""Receive the messages of a lane: find or make their contact, their conversation and their turn."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from recado.conversation.contacts import contact_of
from recado.conversation.lifecycle import conversation_in
from recado.conversation.models import Contact, Conversation, Message, Turn
from recado.conversation.replying.jobs import reply_payload
from recado.conversation.repository import Contacts, Conversations, Messages, SearchDocuments, Turns
from recado.conversation.sending.repository import Answers
from recado.core.queue.job import StoredJob
from recado.core.queue.storage import endings
from recado.core.queue.transactions import LaneTransaction, Transaction


@dataclass(frozen=True, slots=True)
class CarriedTurn:
    """The turn that a job carries, with its messages and whose they are."""

    turn: Turn
    messages: list[Message]
    conversation: Conversation
    contact: Contact
    answered: bool = False
    """Nothing is left to be decided about it."""


def turn_of(tx: LaneTransaction, job: StoredJob, turn_id: UUID | None, answer_within: timedelta) -> CarriedTurn | None:
    """Return the turn that the job carries, or a new one over the lane's unturned messages, or None without any."""
    if turn_id is not None:
        turn = Turns(tx.uow).require(turn_id)
        deadline_at = _deadline_of(turn, job, tx.now, answer_within)
        if deadline_at != turn.deadline_at:
            turn = replace(turn, deadline_at=deadline_at)
            Turns(tx.uow).change(turn.id, deadline_at=deadline_at)
        return read_turn(tx, turn)
    group = Messages(tx.uow).unturned(job.lane)
    if not group:
        return None
    turn_id = tx.ids.new()
    contact, conversation = receive(tx, group, turn_id)
    turn = Turns(tx.uow).add(Turn.begin(turn_id, conversation, tx.now, answer_within))
    endings.set_turn(tx.held, job, turn.id, reply_payload(job.owner_id, group[-1].id, turn))
    return CarriedTurn(turn, group, conversation, contact)


def read_turn(tx: Transaction, turn: Turn) -> CarriedTurn:
    """Return a turn with its messages and whose they are."""
    conversation = Conversations(tx.uow).require(turn.conversation_id)
    return CarriedTurn(
        turn,
        Messages(tx.uow).of_turn(turn.id),
        conversation,
        Contacts(tx.uow).require(conversation.contact_id),
        answered=turn.settled_at is not None or Answers(tx.uow).of_turn(turn.id) is not None,
    )


def _deadline_of(turn: Turn, job: StoredJob, now: datetime, answer_within: timedelta) -> datetime:
    """Return until when the turn must be answered.

    Waiting to be isolated does not count, and the time of a replay or a release begins at its first claim. No deadline
    is later than that of a turn which begins now, unless a clock was set back meanwhile.
    """
    latest = now + answer_within
    if job.isolated:
        return min(turn.deadline_at + max(now - job.due_at, timedelta()), latest)
    if job.attempts == 0 and (turn.replay_of is not None or turn.resumes):
        return latest
    return min(turn.deadline_at, latest)


def receive(tx: Transaction, group: Sequence[Message], turn_id: UUID) -> tuple[Contact, Conversation]:
    """Put messages of one lane into a turn and into their conversation. Return that and its contact."""
    newest = group[-1]
    contact = contact_of(tx, newest)
    conversation = conversation_in(tx, newest.lane, newest.address_id, contact, "customer", newest.received_at)
    Messages(tx.uow).join(
        [message.id for message in group],
        contact_id=contact.id,
        conversation_id=conversation.id,
        turn_id=turn_id,
    )
    documents = SearchDocuments(tx.uow)
    documents.add(conversation, {message.id: message.text for message in group if message.conversation_id is None})
    for message in group:
        documents.move(message, conversation)
    # A message that the gap sweep found was received last, and may be the first that was written.
    Conversations(tx.uow).touch(conversation.id, max(message.received_at for message in group))
    return contact, conversation
