"""New turns over messages that an earlier turn could not answer.

A dead letter that an operator starts again (`replay`), and what a person gives back to the agent (`resume`). Either
makes a turn and a job that carries it, behind the older jobs of the lane. A replay must not come too late, nor while
a person speaks; the fence of its commit asks the same again (`why_too_late`).
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

from recado.conversation.models import OUTCOME_CHANGES, Conversation, Message, Turn
from recado.conversation.ports import Channels
from recado.conversation.replying.jobs import reply_job, reply_payload
from recado.conversation.replying.reception import receive
from recado.conversation.repository import Conversations, InboxItems, Messages, SearchDocuments, Turns
from recado.conversation.settlement import Settlement
from recado.conversation.values import Address
from recado.core.queue.job import Replayed, ReplayRefused, StoredJob
from recado.core.queue.storage import enqueue
from recado.core.queue.transactions import LaneTransaction, Transaction


def replay(
    tx: LaneTransaction, job: StoredJob, answer_within: timedelta, channels: Channels, *, force: bool
) -> Replayed | ReplayRefused:
    """Make a new turn over a dead letter's messages. `force` overrides only that a later message was answered."""
    group = Messages(tx.uow).of_turn(job.turn_id) if job.turn_id else []
    if not group or job.turn_id is None:
        return ReplayRefused(job.id, "its messages belong to a newer turn")
    refusal = _why_not_changeable(group) or why_too_late(tx, group, channels, force=force)
    if refusal is not None:
        return ReplayRefused(job.id, refusal)
    old = Turns(tx.uow).require(job.turn_id)
    conversation = Conversations(tx.uow).require(old.conversation_id)
    turn_id = tx.ids.new()
    if conversation.status == "closed":
        _, conversation = receive(tx, group, turn_id)
    turn = Turn.begin(turn_id, conversation, tx.now, answer_within, replay_of=old)
    return Replayed(job.id, _enqueue(tx, turn, group, job.max_attempts, forced=force, trace=job.trace))


def resume(tx: LaneTransaction, conversation: Conversation, answer_within: timedelta, max_attempts: int) -> UUID | None:
    """Make a new turn over what still waits for a person. Return its job, or None when nothing waits."""
    group = Settlement(tx).waiting_for_person(conversation.lane)
    if not group:
        return None
    InboxItems(tx.uow).resolve({message.turn_id for message in group if message.turn_id is not None}, tx.now)
    Messages(tx.uow).join([message.id for message in group], conversation_id=conversation.id)
    for message in group:
        SearchDocuments(tx.uow).move(message, conversation)
    turn = Turn.begin(tx.ids.new(), conversation, tx.now, answer_within, resumes=True)
    return _enqueue(tx, turn, group, max_attempts)


def why_too_late(tx: Transaction, group: Sequence[Message], channels: Channels, *, force: bool) -> str | None:
    """Return why these messages should not be answered any more, or None."""
    newest = group[-1]
    later = Messages(tx.uow).later_outcomes(newest.lane, newest.id)
    current = Conversations(tx.uow).current(newest.lane)
    if None in later:
        return "a later message of the same customer is being answered"
    if later & {"answered", "superseded"} and not force:
        return "a later message of the same customer was answered; --force answers this one all the same"
    if current is not None and current.held_by == "person":
        return "a person holds the conversation"
    rules = channels.rules_for(newest.provider, Address(newest.from_address))
    if rules.is_too_old(newest.received_at, tx.now):
        return "the time to answer it is over"
    return None


def _why_not_changeable(group: Sequence[Message]) -> str | None:
    """Return why a replay could not change how these messages ended, or None."""
    newest = group[-1]
    if any(message.outcome is None for message in group):
        # A replay would take away the messages that the apology has yet to settle.
        return "its apology is still on the way"
    if newest.outcome == "handed_off":
        return "it is in a person's inbox; release the conversation, and the agent answers"
    if newest.outcome_and_reason not in OUTCOME_CHANGES["replay"]:
        return f"it ended as {newest.outcome_and_reason}, which an answer would not change"
    return None


def _enqueue(
    tx: LaneTransaction,
    turn: Turn,
    group: Sequence[Message],
    max_attempts: int | None,
    *,
    forced: bool = False,
    trace: str | None = None,
) -> UUID:
    """Store a turn over these messages and the job that carries it. Return the job's id."""
    Turns(tx.uow).add(turn)
    Messages(tx.uow).join([message.id for message in group], turn_id=turn.id)
    job = replace(
        reply_job(tx, turn.owner_id, turn.lane, max_attempts, turn_id=turn.id),
        message_sid=group[-1].provider_message_id,
        payload=reply_payload(turn.owner_id, group[-1].id, turn, forced=forced),
        trace=trace,
    )
    enqueue.add(tx.held, [job])
    return job.id
