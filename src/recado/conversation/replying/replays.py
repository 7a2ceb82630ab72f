"""Second chances: a dead letter that an operator starts again, and what a person gives back to the agent.

Both make a new turn over messages that an earlier one could not answer, and a job that carries it at the end of the
lane's line. A replay must not come too late or beside a person; the fence of its commit asks the same once more.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from recado.conversation.models import OUTCOME_CHANGES, Conversation, Message, Turn
from recado.conversation.replying.jobs import REPLY
from recado.conversation.replying.reception import Reception
from recado.conversation.repository import Answers, Conversations, InboxItems, Messages, Turns
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.ids import Ids
from recado.core.queue.job import Job, NewJob, Replayed, ReplayRefused
from recado.core.queue.storage import enqueue

WINDOW: Final = timedelta(hours=24)

_FORCED: Final = {"force": True}


class Replays:
    """Makes turns over what was not answered; inside a unit of work of the owner."""

    def __init__(self, uow: UnitOfWork, ids: Ids, now: datetime, answer_within: timedelta) -> None:
        self._uow = uow
        self._ids = ids
        self._now = now
        self._answer_within = answer_within

    def replay(self, job: Job, *, force: bool) -> Replayed | ReplayRefused:
        """A new turn over a dead letter's messages; `force` overrides only that a later message was answered."""
        group = Messages(self._uow).of_turn(job.turn_id) if job.turn_id else []
        if not group or job.turn_id is None:
            return ReplayRefused(job.id, "its messages belong to a newer turn")
        refusal = self._unfit(group) or self.too_late(group, force=force)
        if refusal is not None:
            return ReplayRefused(job.id, refusal)
        old = Turns(self._uow).require(job.turn_id)
        conversation = Conversations(self._uow).require(old.conversation_id)
        if conversation.status == "closed":
            _, conversation = Reception(self._uow, self._ids, self._now).receive(group)
        turn = Turn.begin(self._ids.new(), conversation, self._now, self._answer_within, replay_of=old)
        return Replayed(job.id, self._enqueue(turn, group, job.max_attempts, forced=force, trace=job.trace))

    def resume(self, conversation: Conversation, max_attempts: int) -> UUID | None:
        """Released to the agent: what still waits for a person gets a new turn; None when nothing does."""
        waiting = Messages(self._uow).handed_off_in(conversation.lane)
        spoken = Answers(self._uow).of_person_since(conversation.lane, waiting[0].received_at) if waiting else None
        # What a person has answered is not answered again, though that answer is still on its way.
        answered = Turns(self._uow).begun_by({m.turn_id for m in waiting}, spoken.created_at) if spoken else set[UUID]()
        # Nor is what an earlier release has given to the agent, whose answer may be on its way.
        answered |= Turns(self._uow).unsettled({message.turn_id for message in waiting})
        group = [message for message in waiting if message.turn_id not in answered]
        if not group:
            return None
        turns = {message.turn_id for message in group if message.turn_id is not None}
        InboxItems(self._uow).resolve(turns, self._now)
        Messages(self._uow).join([message.id for message in group], conversation_id=conversation.id)
        turn = Turn.begin(self._ids.new(), conversation, self._now, self._answer_within, resumes=True)
        return self._enqueue(turn, group, max_attempts)

    def too_late(self, group: Sequence[Message], *, force: bool) -> str | None:
        """Why an answer to these messages should not come any more, or None."""
        newest = group[-1]
        later = Messages(self._uow).later_outcomes(newest.lane, newest.id)
        current = Conversations(self._uow).current(newest.lane)
        if None in later:
            return "a later message of the same customer is being answered"
        if later & {"answered", "superseded"} and not force:
            return "a later message of the same customer was answered; --force answers this one all the same"
        if current is not None and current.held_by == "person":
            return "a person holds the conversation"
        if self._now - newest.received_at >= WINDOW:
            return "the 24-hour window closed"
        return None

    def _unfit(self, group: Sequence[Message]) -> str | None:
        """Why a replay could change nothing of how these messages ended, or None."""
        newest = group[-1]
        if any(message.outcome is None for message in group):
            # A replay would take away the messages that the apology is still to settle.
            return "its apology is still on the way"
        if newest.outcome == "handed_off":
            return "it is in a person's inbox; release the conversation, and the agent answers"
        if newest.outcome_and_reason not in OUTCOME_CHANGES["replay"]:
            return f"it ended as {newest.outcome_and_reason}, which an answer would not change"
        return None

    def _enqueue(
        self,
        turn: Turn,
        group: Sequence[Message],
        max_attempts: int,
        *,
        forced: bool = False,
        trace: str | None = None,
    ) -> UUID:
        """Point messages to a new turn, and put a job that carries it at the end of the lane's line."""
        Turns(self._uow).add(turn)
        Messages(self._uow).join([message.id for message in group], turn_id=turn.id)
        job_id = self._ids.new()
        carrier = NewJob(
            id=job_id,
            name=REPLY,
            owner_id=turn.owner_id,
            created_at=self._now,
            due_at=self._now,
            lane=turn.lane,
            message_sid=group[-1].message_sid,
            payload=_FORCED if forced else {},
            turn_id=turn.id,
            max_attempts=max_attempts,
            trace=trace,
        )
        enqueue.add(self._uow, [carrier])
        return job_id


def was_forced(job: Job) -> bool:
    """Whether an operator asked for this replay although a later message was answered."""
    return isinstance(job.payload, dict) and job.payload.get("force") is True
