"""Step 8: store an agent's result behind the fence.

The fence: the lease is ours AND the turn is as it was read AND the agent holds the conversation. The job is ended in
the same transaction, and ending it (`endings.complete`) checks the lease. A result that is fenced off is kept as a
draft and never sent; unless the lease was lost, the turn is settled here all the same.
"""

from recado.conversation.lifecycle import Lifecycle
from recado.conversation.models import Conversation, Draft, Turn
from recado.conversation.outcomes import Outcomes, TurnOutcome
from recado.conversation.ports import AgentResult, Channels, HandOff, NoReply, Reply
from recado.conversation.replying.gate import A_PERSON_SPOKE
from recado.conversation.replying.jobs import was_forced
from recado.conversation.replying.open import OpenedTurn, may_join
from recado.conversation.replying.replays import why_too_late
from recado.conversation.replying.repository import effects_ran
from recado.conversation.repository import Conversations, Drafts, Messages, Turns
from recado.conversation.sending.outbox import Outbox, Split
from recado.conversation.settlement import Settlement
from recado.core.queue.job import Claim, StoredJob
from recado.core.queue.storage import endings, enqueue, leases
from recado.core.queue.transactions import LaneTransaction, Transaction
from recado.identity.repository import owner_in


def commit(
    tx: LaneTransaction, claim: Claim, opened: OpenedTurn, result: AgentResult, split: Split, channels: Channels
) -> bool:
    """End the job with the agent's result. Return False when a newer message is to join the turn first."""
    turn = Turns(tx.uow).require(opened.turn.id)
    if _newer_message_joins(tx, claim, turn):
        return False
    if not endings.complete(tx.held, claim, tx.now):
        _keep_draft(tx, turn, result, "its worker had lost the lease")
    else:
        _settle(tx, claim.job, opened, turn, result, split, channels)
    return True


def _settle(
    tx: LaneTransaction,
    job: StoredJob,
    opened: OpenedTurn,
    turn: Turn,
    result: AgentResult,
    split: Split,
    channels: Channels,
) -> None:
    """Settle the turn: with the result, unless something that happened since the turn was opened forbids that."""
    conversation = Conversations(tx.uow).require(turn.conversation_id)
    settlement = Settlement(tx)
    if turn.settled_at is not None or turn.version != opened.turn.version:
        _keep_draft(tx, turn, result, "the turn was settled meanwhile")
    elif conversation.status == "closed":
        _keep_draft(tx, turn, result, "the conversation was closed meanwhile")
        Outcomes(tx).settle_turn(turn, TurnOutcome("suppressed", "discarded"))
    elif conversation.held_by != "agent":
        _keep_draft(tx, turn, result, f"held by {conversation.held_by} meanwhile")
        settlement.to_person(turn, f"held by {conversation.held_by}")
    elif settlement.person_answer_since(turn):  # The person took the conversation, answered and gave it back.
        _keep_draft(tx, turn, result, A_PERSON_SPOKE)
        settlement.to_person(turn, A_PERSON_SPOKE)
    elif turn.replay_of is not None and (why := _replay_too_late(tx, job, turn, channels)):
        _keep_draft(tx, turn, result, why)
        Turns(tx.uow).change(turn.id, settled_at=tx.now)
    else:
        _store(tx, job, turn, conversation, result, split)


def _newer_message_joins(tx: LaneTransaction, claim: Claim, turn: Turn) -> bool:
    return (
        may_join(claim.job, turn)
        and enqueue.collecting_in(tx.uow, claim.job.lane) is not None
        and leases.holds(tx.held, claim)
        and not effects_ran(tx.uow, turn)
    )


def _replay_too_late(tx: Transaction, job: StoredJob, turn: Turn, channels: Channels) -> str | None:
    return why_too_late(tx, Messages(tx.uow).of_turn(turn.id), channels, force=was_forced(job))


def _store(
    tx: LaneTransaction, job: StoredJob, turn: Turn, conversation: Conversation, result: AgentResult, split: Split
) -> None:
    outbox = Outbox(tx, split, job.trace)
    match result:
        case Reply(text=text, closes=closes):
            outbox.put(conversation, "agent", text, turn=turn, closes=closes)
        case HandOff(reason=reason, notice=notice):
            Lifecycle(tx).hand_to(conversation, "nobody", "agent", reason)
            Settlement(tx).to_person(turn, reason)
            outbox.put(conversation, "notice", notice or owner_in(tx.uow, turn.owner_id).hand_off_notice)
        case NoReply():
            Outcomes(tx).settle_turn(turn, TurnOutcome("suppressed", "no_reply"))


def _keep_draft(tx: Transaction, turn: Turn, result: AgentResult, why: str) -> None:
    if isinstance(result, Reply):
        Drafts(tx.uow).add(Draft(tx.ids.new(), turn.owner_id, turn.id, result.text, why, tx.now))
