"""What becomes of a turn that no agent will answer any more: the job is given up, or a person discards it."""

from recado.conversation.models import Turn
from recado.conversation.outcomes import Outcomes, TurnOutcome
from recado.conversation.replying.gate import ToAgent, settle_without_agent, who_answers
from recado.conversation.replying.jobs import reply_payload
from recado.conversation.replying.reception import CarriedTurn
from recado.conversation.repository import Turns
from recado.conversation.sending.outbox import Outbox, Split
from recado.core.queue.job import StoredJob
from recado.core.queue.storage import endings
from recado.core.queue.transactions import LaneTransaction, Transaction
from recado.identity.repository import owner_in


def apologise(tx: LaneTransaction, job: StoredJob, carried: CarriedTurn, split: Split) -> None:
    """Store one friendly message, in the transaction that made the job a dead letter.

    The dead letter lists the turn's messages. A replay gets no second apology: its first dead letter's outcome stands.
    """
    turn, group = carried.turn, carried.messages
    payload = reply_payload(job.owner_id, group[-1].id if group else None, turn)
    endings.set_payload(tx.held, job, payload | {"message_ids": [str(message.id) for message in group]})
    if turn.replay_of is not None:
        Turns(tx.uow).change(turn.id, settled_at=tx.now)
        return
    owner = owner_in(tx.uow, job.owner_id)
    decision = who_answers(tx.uow, owner, carried.contact, carried.conversation, group)
    if isinstance(decision, ToAgent):
        Outbox(tx, split, job.trace).put(carried.conversation, "apology", owner.apology, turn=turn)
    else:
        settle_without_agent(tx, turn, decision)


def discard(tx: Transaction, turn: Turn) -> None:
    """Settle the messages of a turn whose job a person discards."""
    Outcomes(tx).settle_turn(turn, TurnOutcome("suppressed", "discarded"))
