"""Step 10: store the final state of an answer and the outcomes that it decides, in one transaction."""

from collections.abc import Iterable
from uuid import UUID

from recado.conversation.lifecycle import Lifecycle
from recado.conversation.models import Answer, AnswerState, Conversation, InboxItem, Message, Outcome, Suppression, Turn
from recado.conversation.outcomes import Outcomes, TurnOutcome
from recado.conversation.repository import Conversations, InboxItems, Messages, Turns
from recado.conversation.sending.repository import Answers
from recado.conversation.sending.telling import tell_not_sent, tell_sent
from recado.core.queue.lane import Lane
from recado.core.queue.transactions import Transaction


class Settlement:
    """Settles answers, and with them turns, inside a transaction."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self._uow = tx.uow
        self._outcomes = Outcomes(tx)

    def accepted(self, answer: Answer) -> None:
        """Settle an answer of which the provider accepted every part."""
        self._end(answer, "accepted", None, None)
        tell_sent(self._tx, answer)
        conversation = Conversations(self._uow).require(answer.conversation_id)
        if answer.id != conversation.nudge_id:
            Conversations(self._uow).touch(conversation.id, self._tx.now)
        if answer.turn_id is None:
            if answer.author == "person":
                self._person_answered(answer)
            return
        turn = Turns(self._uow).require(answer.turn_id)
        outcome: Outcome = "apologised" if answer.author == "apology" else "answered"
        self._outcomes.settle_turn(turn, TurnOutcome(outcome, None, answer.id))
        if answer.closes:
            self._close(conversation, turn)

    def _close(self, conversation: Conversation, turn: Turn) -> None:
        """Close the conversation after the agent's last word, unless something was said since."""
        newest = Messages(self._uow).newest(conversation.id)
        over = newest is not None and newest.turn_id == turn.id and not Conversations(self._uow).is_live(conversation)
        if over and conversation.status != "closed" and conversation.held_by == "agent":
            Lifecycle(self._tx).close(conversation, "agent", "finished")

    def failed(self, answer: Answer, state: AnswerState, reason: Suppression, code: str | None = None) -> None:
        """Settle an answer that will not be sent, or not to its end."""
        self._end(answer, state, reason, code)
        tell_not_sent(self._tx, answer, reason, code)
        if answer.turn_id is not None:
            turn = Turns(self._uow).require(answer.turn_id)
            self._outcomes.settle_turn(turn, TurnOutcome("suppressed", reason, answer.id))
        elif answer.author == "person":
            conversation = Conversations(self._uow).require(answer.conversation_id)
            if conversation.status == "closed":
                self.discard_waiting(conversation)

    def already_apologised(self, answer: Answer, first: Answer) -> None:
        """Settle an apology that is not sent because the lane got one (`first`) a moment ago."""
        self._end(answer, "stopped", "already_apologised", None)
        if answer.turn_id is not None:
            turn = Turns(self._uow).require(answer.turn_id)
            self._outcomes.settle_turn(turn, TurnOutcome("suppressed", "already_apologised", first.id))

    def taken_over(self, answer: Answer, why: str) -> None:
        """Settle an answer whose rest is not sent because a person speaks now."""
        self._end(answer, "stopped", None, None)
        if answer.turn_id is not None:
            self.to_person(Turns(self._uow).require(answer.turn_id), why)

    def to_person(self, turn: Turn, why: str) -> None:
        """Put a turn into the inbox, unless a person's message since then has answered it.

        Nobody looks into a closed conversation any more, so there it is discarded.
        """
        spoken = self.person_answer_since(turn)
        if spoken is not None and spoken.state == "accepted":
            self._outcomes.settle_turn(turn, TurnOutcome("answered", None, spoken.id), by_person=True)
            return
        if spoken is None and Conversations(self._uow).require(turn.conversation_id).status == "closed":
            self._outcomes.settle_turn(turn, TurnOutcome("suppressed", "discarded"))
            return
        self._outcomes.settle_turn(turn, TurnOutcome("handed_off"))
        self.to_inbox(turn, why)

    def waiting_for_person(self, lane: Lane) -> list[Message]:
        """Return the messages of a lane that wait for a person and for nothing else.

        Left out are messages that a person has answered, though that answer is still on its way, and messages of a turn
        that an earlier release gave to the agent and that is not settled yet.
        """
        waiting = Messages(self._uow).handed_off_in(lane)
        spoken = Answers(self._uow).of_person_since(lane, waiting[0].received_at) if waiting else None
        turns = {message.turn_id for message in waiting}
        answered = Turns(self._uow).begun_by(turns, spoken.created_at) if spoken else set[UUID]()
        answered |= Turns(self._uow).unsettled(turns)
        return [message for message in waiting if message.turn_id not in answered]

    def discard_waiting(self, conversation: Conversation) -> None:
        """Settle what waits for a person in a conversation that is closed: nobody will answer it."""
        group = [
            message
            for message in self.waiting_for_person(conversation.lane)
            if message.conversation_id == conversation.id
        ]
        self._outcomes.settle(group, TurnOutcome("suppressed", "discarded"), ["close"])
        InboxItems(self._uow).resolve(_turns(group), self._tx.now)

    def person_answer_since(self, turn: Turn) -> Answer | None:
        """Return the newest message that a person has written in the lane since the turn began."""
        return Answers(self._uow).of_person_since(turn.lane, turn.created_at)

    def to_inbox(self, turn: Turn, why: str) -> None:
        """Make an inbox item for a turn."""
        InboxItems(self._uow).add(
            InboxItem(
                id=self._tx.ids.new(),
                owner_id=turn.owner_id,
                conversation_id=turn.conversation_id,
                turn_id=turn.id,
                reason=why,
                created_at=self._tx.now,
                read_at=None,
                resolved_at=None,
            )
        )

    def _end(self, answer: Answer, state: AnswerState, reason: Suppression | None, code: str | None) -> None:
        Answers(self._uow).change(answer.id, state=state, reason=reason, error_code=code, settled_at=self._tx.now)

    def _person_answered(self, answer: Answer) -> None:
        """Settle what waited for a person in the lane before this answer of a person was written."""
        waiting = Messages(self._uow).handed_off_in(answer.lane)
        begun = Turns(self._uow).begun_by({message.turn_id for message in waiting}, answer.created_at)
        heard = [message for message in waiting if message.turn_id in begun]
        self._outcomes.settle(heard, TurnOutcome("answered", None, answer.id), ["person"])
        InboxItems(self._uow).resolve(_turns(heard) - _turns(m for m in waiting if m not in heard), self._tx.now)


def _turns(group: Iterable[Message]) -> set[UUID]:
    return {message.turn_id for message in group if message.turn_id is not None}
