"""Write an answer, its parts and the job that sends them in one transaction."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias
from uuid import UUID

from recado.conversation.models import Answer, Author, Conversation, Part, Turn
from recado.conversation.repository import Messages, SearchDocuments
from recado.conversation.sending.repository import Answers, Parts
from recado.core.database.types import JsonValue
from recado.core.errors import InvalidInput
from recado.core.queue.job import NewJob
from recado.core.queue.lane import send_lane
from recado.core.queue.storage import enqueue
from recado.core.queue.transactions import LaneTransaction

SEND = "answer.send"
SEND_PRIORITY = 1
"""Before replies: an answer that is ready should not wait for agents."""
Split: TypeAlias = Callable[[str], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Route:
    """The two addresses that an answer travels between."""

    address_id: UUID
    from_address: str
    to_address: str


class Outbox:
    """Writes answers, with the jobs that will send them."""

    def __init__(self, tx: LaneTransaction, split: Split, trace: str | None = None) -> None:
        self._tx = tx
        self._uow = tx.uow
        self._split = split
        self._trace = trace

    def route_of(self, conversation: Conversation) -> Route:
        """Return the way back to the literal From of the newest message, from the number it was sent to.

        In a conversation that began with us it is the way of our newest message, until the customer writes.
        """
        newest = Messages(self._uow).newest(conversation.id)
        if newest is not None:
            return Route(newest.address_id, newest.to_address, newest.from_address)
        ours = Answers(self._uow).newest(conversation.id)
        if ours is None:
            raise InvalidInput(
                "the customer has not written in this conversation yet, so there is no address to answer"
            )
        return Route(ours.address_id, ours.from_address, ours.to_address)

    def put(
        self,
        conversation: Conversation,
        author: Author,
        text: str,
        *,
        turn: Turn | None = None,
        closes: bool = False,
        author_name: str | None = None,
        route: Route | None = None,
    ) -> Answer:
        """Store an answer and the job that will send it, by default to the sender of the newest message."""
        route = route or self.route_of(conversation)
        answer = self._answer(conversation, author, route, turn, closes=closes, author_name=author_name)
        Answers(self._uow).add(answer)
        Parts(self._uow).add_all(
            Part(self._tx.ids.new(), answer.owner_id, answer.id, number, piece, "waiting")
            for number, piece in enumerate(self._split(text), start=1)
        )
        SearchDocuments(self._uow).add(conversation, {answer.id: text})
        enqueue_send(self._tx, answer, self._trace)
        return answer

    def _answer(
        self,
        conversation: Conversation,
        author: Author,
        route: Route,
        turn: Turn | None,
        *,
        closes: bool,
        author_name: str | None,
    ) -> Answer:
        return Answer(
            id=self._tx.ids.new(),
            owner_id=conversation.owner_id,
            lane=conversation.lane,
            send_lane=send_lane(conversation.lane),
            conversation_id=conversation.id,
            turn_id=turn.id if turn else None,
            author=author,
            address_id=route.address_id,
            from_address=route.from_address,
            to_address=route.to_address,
            state="waiting",
            reason=None,
            error_code=None,
            created_at=self._tx.now,
            settled_at=None,
            closes=closes,
            author_name=author_name,
        )


def send_payload(answer: Answer) -> dict[str, JsonValue]:
    """Return the payload of a send job: by id what it is about."""
    payload: dict[str, JsonValue] = {
        "owner_id": str(answer.owner_id),
        "conversation_id": str(answer.conversation_id),
        "answer_id": str(answer.id),
    }
    return payload if answer.turn_id is None else payload | {"turn_id": str(answer.turn_id)}


def enqueue_send(tx: LaneTransaction, answer: Answer, trace: str | None = None) -> UUID:
    """Store a job that sends what of an answer has not been accepted yet. Return its id."""
    job = NewJob(
        id=tx.ids.new(),
        name=SEND,
        owner_id=answer.owner_id,
        created_at=tx.now,
        due_at=tx.now,
        lane=answer.send_lane,
        kind="send",
        payload=send_payload(answer),
        priority=SEND_PRIORITY,
        turn_id=answer.turn_id,
        max_attempts=None,  # The time in which it may be sent is the limit.
        trace=trace,
    )
    enqueue.add(tx.held, [job])
    return job.id
