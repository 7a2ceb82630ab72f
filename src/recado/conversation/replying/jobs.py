"""The job that answers a turn: its name, and what its payload says."""

from uuid import UUID

from recado.conversation.models import Turn
from recado.core.database.types import JsonValue
from recado.core.queue.job import NewJob, StoredJob
from recado.core.queue.lane import Lane
from recado.core.queue.transactions import Transaction

REPLY = "conversation.reply"


def reply_payload(
    owner_id: UUID, message_id: UUID | None, turn: Turn | None = None, *, forced: bool = False
) -> dict[str, JsonValue]:
    """Return the payload of a reply job. It names by id the owner, the newest message, and what is known of the turn.

    `forced` is stored when an operator asked for a replay although a later message was answered.
    """
    payload: dict[str, JsonValue] = {"owner_id": str(owner_id)}
    if message_id is not None:
        payload["message_id"] = str(message_id)
    if turn is not None:
        payload |= {"conversation_id": str(turn.conversation_id), "turn_id": str(turn.id)}
    return payload | {"force": True} if forced else payload


def reply_job(
    tx: Transaction, owner_id: UUID, lane: Lane, max_attempts: int | None, *, turn_id: UUID | None = None
) -> NewJob:
    """Return a job that is due now: it carries a turn, or makes one over what waits in the lane."""
    return NewJob(
        id=tx.ids.new(),
        name=REPLY,
        owner_id=owner_id,
        created_at=tx.now,
        due_at=tx.now,
        lane=lane,
        kind="reply",
        payload=reply_payload(owner_id, None),
        turn_id=turn_id,
        max_attempts=max_attempts,
    )


def was_forced(job: StoredJob) -> bool:
    """Return whether an operator asked for this replay although a later message was answered."""
    return job.payload.get("force") is True
