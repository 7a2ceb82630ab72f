"""Step 10: an answer's final state and the outcomes it decides, in one transaction."""

from collections.abc import Iterable
from uuid import UUID

from recado.conversation.lifecycle import Lifecycle
from recado.conversation.models import Answer, AnswerState, Conversation, InboxItem, Message, Outcome, Suppression, Turn
from recado.conversation.outcomes import Outcomes, TurnOutcome
from recado.conversation.repository import Conversations, InboxItems, Messages, Turns
from recado.conversation.sending.repository import Answers
from recado.conversation.transactions import Transaction


class Settlement:
    """Step 10: an answer's final state and the outcomes it decides, in one transaction."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self._uow = tx.uow
        self._outcomes = Outcomes(tx)

    def accepted(self, answer: Answer) -> None:
        """Every part was taken by the provider."""
        self._end(answer, "accepted", None, None)
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
        """The agent has said its last word, unless somebody has said something since."""
        newest = Messages(self._uow).newest(conversation.id)
        over = newest is not None and newest.turn_id == turn.id and not Conversations(self._uow).is_live(conversation)
        if over and conversation.status != "closed" and conversation.held_by == "agent":
            Lifecycle(self._tx).close(conversation, "agent", "finished")

    def failed(self, answer: Answer, state: AnswerState, reason: Suppression, code: str | None = None) -> None:
        """It will not be sent (any further)."""
        self._end(answer, state, reason, code)
        if answer.turn_id is not None:
            turn = Turns(self._uow).require(answer.turn_id)
            self._outcomes.settle_turn(turn, TurnOutcome("suppressed", reason, answer.id))

    def already_apologised(self, answer: Answer, first: Answer) -> None:
        """The lane got an apology a moment ago; a second one would only annoy."""
        self._end(answer, "stopped", "already_apologised", None)
        if answer.turn_id is not None:
            turn = Turns(self._uow).require(answer.turn_id)
            self._outcomes.settle_turn(turn, TurnOutcome("suppressed", "already_apologised", first.id))

    def taken_over(self, answer: Answer, why: str) -> None:
        """A person speaks now: what was not sent yet is theirs to say."""
        self._end(answer, "stopped", None, None)
        if answer.turn_id is not None:
            self.to_person(Turns(self._uow).require(answer.turn_id), why)

    def to_person(self, turn: Turn, why: str) -> None:
        """The turn is a person's: in the inbox, unless what they have said since then has answered it."""
        spoken = self.person_answer_since(turn)
        if spoken is not None and spoken.state == "accepted":
            self._outcomes.settle_turn(turn, TurnOutcome("answered", None, spoken.id), by_person=True)
            return
        self._outcomes.settle_turn(turn, TurnOutcome("handed_off"))
        self.to_inbox(turn, why)

    def person_answer_since(self, turn: Turn) -> Answer | None:
        """What a person has written since the turn began; what came in later is not answered by it."""
        return Answers(self._uow).of_person_since(turn.lane, turn.created_at)

    def to_inbox(self, turn: Turn, why: str) -> None:
        """Put a turn where a person sees it."""
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
        """What the lane had waiting for a person before this answer was written has been dealt with by it."""
        waiting = Messages(self._uow).handed_off_in(answer.lane)
        begun = Turns(self._uow).begun_by({message.turn_id for message in waiting}, answer.created_at)
        heard = [message for message in waiting if message.turn_id in begun]
        self._outcomes.settle(heard, TurnOutcome("answered", None, answer.id), ["person"])
        InboxItems(self._uow).resolve(_turns(heard) - _turns(m for m in waiting if m not in heard), self._tx.now)


def _turns(group: Iterable[Message]) -> set[UUID]:
    return {message.turn_id for message in group if message.turn_id is not None}
