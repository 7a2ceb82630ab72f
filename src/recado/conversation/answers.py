"""Step 8: an answer, its parts and the job that sends them come into being together.

Whoever calls holds the fence already. UNIQUE(turn) is the wall behind it: a reply and an apology of one turn cannot
both exist, whatever the code above believes.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias
from uuid import UUID

from recado.conversation.lifecycle import Lifecycle
from recado.conversation.models import (
    Answer,
    AnswerState,
    Author,
    Conversation,
    InboxItem,
    Message,
    Outcome,
    Part,
    Suppression,
    Turn,
)
from recado.conversation.outcomes import Outcomes, Verdict
from recado.conversation.repository import Answers, Conversations, InboxItems, Messages, Parts, Turns
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.errors import InvalidInput
from recado.core.ids import Ids
from recado.core.queue import store
from recado.core.queue.job import NewJob

SEND = "answer.send"
SEND_PRIORITY = 1
"""Before replies: what is ready to go should not wait for what still has to be thought of."""

Split: TypeAlias = Callable[[str], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Route:
    """Between which two addresses an answer travels."""

    address_id: UUID
    from_address: str
    to_address: str


def send_lane(lane: str) -> str:
    """Sends to one pair of addresses are serial; the agent's line does not wait for them."""
    return f"send:{lane}"


class Outbox:
    """Writes answers inside a unit of work."""

    def __init__(self, uow: UnitOfWork, ids: Ids, now: datetime, split: Split, trace: str | None = None) -> None:
        self._uow = uow
        self._ids = ids
        self._now = now
        self._split = split
        self._trace = trace

    def route_of(self, conversation: Conversation) -> Route:
        """Back to the newest message's literal From, from the number it was written to."""
        newest = Messages(self._uow).newest(conversation.id)
        if newest is None:
            raise InvalidInput("nobody has written in this conversation yet, so there is no address to answer")
        return Route(newest.address_id, newest.to_address, newest.from_address)

    def put(
        self, conversation: Conversation, author: Author, text: str, *, turn: Turn | None = None, closes: bool = False
    ) -> Answer:
        """Store an answer and the job that will send it."""
        route = self.route_of(conversation)
        answer = Answer(
            id=self._ids.new(),
            owner_id=conversation.owner_id,
            lane=conversation.lane,
            conversation_id=conversation.id,
            turn_id=turn.id if turn else None,
            author=author,
            address_id=route.address_id,
            from_address=route.from_address,
            to_address=route.to_address,
            state="waiting",
            reason=None,
            error_code=None,
            created_at=self._now,
            settled_at=None,
            closes=closes,
        )
        Answers(self._uow).add(answer)
        Parts(self._uow).add_all(
            Part(self._ids.new(), answer.owner_id, answer.id, number, piece, "waiting")
            for number, piece in enumerate(self._split(text), start=1)
        )
        self.send(answer)
        return answer

    def send(self, answer: Answer) -> UUID:
        """A job that sends what of an answer has not been accepted yet."""
        job_id = self._ids.new()
        job = NewJob(
            id=job_id,
            name=SEND,
            owner_id=answer.owner_id,
            created_at=self._now,
            due_at=self._now,
            lane=send_lane(answer.lane),
            payload={"answer": str(answer.id)},
            priority=SEND_PRIORITY,
            turn_id=answer.turn_id,
            trace=self._trace,
        )
        store.add(self._uow, [job])
        return job_id


class Settlement:
    """Step 10: an answer's final state and the outcomes it decides, in one transaction."""

    def __init__(self, uow: UnitOfWork, ids: Ids, now: datetime) -> None:
        self._uow = uow
        self._now = now
        self._ids = ids
        self._outcomes = Outcomes(uow, ids, now)

    def accepted(self, answer: Answer) -> None:
        """Every part was taken by the provider."""
        self._end(answer, "accepted", None, None)
        conversation = Conversations(self._uow).require(answer.conversation_id)
        if answer.id != conversation.nudge_id:
            Conversations(self._uow).touch(conversation.id, self._now)
        if answer.turn_id is None:
            if answer.author == "person":
                self._person_answered(answer)
            return
        turn = Turns(self._uow).require(answer.turn_id)
        outcome: Outcome = "apologised" if answer.author == "apology" else "answered"
        self._outcomes.settle_turn(turn, Verdict(outcome, None, answer.id))
        if answer.closes:
            self._close(conversation, turn)

    def _close(self, conversation: Conversation, turn: Turn) -> None:
        """The agent has said its last word, unless somebody has said something since."""
        newest = Messages(self._uow).newest(conversation.id)
        over = newest is not None and newest.turn_id == turn.id and not Conversations(self._uow).is_live(conversation)
        if over and conversation.status != "closed" and conversation.held_by == "agent":
            Lifecycle(self._uow, self._ids, self._now).close(conversation, "agent", "finished")

    def failed(self, answer: Answer, state: AnswerState, reason: Suppression, code: str | None = None) -> None:
        """It will not be sent (any further)."""
        self._end(answer, state, reason, code)
        if answer.turn_id is not None:
            turn = Turns(self._uow).require(answer.turn_id)
            self._outcomes.settle_turn(turn, Verdict("suppressed", reason, answer.id))

    def already_apologised(self, answer: Answer, first: Answer) -> None:
        """The lane got an apology a moment ago; a second one would only annoy."""
        self._end(answer, "stopped", "already_apologised", None)
        if answer.turn_id is not None:
            turn = Turns(self._uow).require(answer.turn_id)
            self._outcomes.settle_turn(turn, Verdict("suppressed", "already_apologised", first.id))

    def taken_over(self, answer: Answer, why: str) -> None:
        """A person speaks now: what was not sent yet is theirs to say."""
        self._end(answer, "stopped", None, None)
        if answer.turn_id is not None:
            self.to_person(Turns(self._uow).require(answer.turn_id), why)

    def to_person(self, turn: Turn, why: str) -> None:
        """The turn is a person's: in the inbox, unless what they have said since then has answered it."""
        spoken = self.spoken_since(turn)
        if spoken is not None and spoken.state == "accepted":
            self._outcomes.settle_turn(turn, Verdict("answered", None, spoken.id), by_person=True)
            return
        self._outcomes.settle_turn(turn, Verdict("handed_off"))
        self.to_inbox(turn, why)

    def spoken_since(self, turn: Turn) -> Answer | None:
        """What a person has written since the turn began; what came in later is not answered by it."""
        return Answers(self._uow).of_person_since(turn.lane, turn.created_at)

    def to_inbox(self, turn: Turn, why: str) -> None:
        """Put a turn where a person sees it."""
        InboxItems(self._uow).add(
            InboxItem(
                id=self._ids.new(),
                owner_id=turn.owner_id,
                conversation_id=turn.conversation_id,
                turn_id=turn.id,
                reason=why,
                created_at=self._now,
                read_at=None,
                resolved_at=None,
            )
        )

    def _end(self, answer: Answer, state: AnswerState, reason: Suppression | None, code: str | None) -> None:
        Answers(self._uow).change(answer.id, state=state, reason=reason, error_code=code, settled_at=self._now)

    def _person_answered(self, answer: Answer) -> None:
        """What the lane had waiting for a person before this answer was written has been dealt with by it."""
        waiting = Messages(self._uow).handed_off_in(answer.lane)
        begun = Turns(self._uow).begun_by({message.turn_id for message in waiting}, answer.created_at)
        heard = [message for message in waiting if message.turn_id in begun]
        self._outcomes.settle(heard, Verdict("answered", None, answer.id), ["person"])
        InboxItems(self._uow).resolve(_turns(heard) - _turns(m for m in waiting if m not in heard), self._now)


def _turns(group: Iterable[Message]) -> set[UUID]:
    return {message.turn_id for message in group if message.turn_id is not None}
