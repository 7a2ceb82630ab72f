"""Write an answer, its parts and the job that sends them in one transaction."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias
from uuid import UUID

from recado.conversation.models import Answer, Author, Conversation, Part, Turn
from recado.conversation.repository import Answers, Messages, Parts
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.errors import InvalidInput
from recado.core.ids import Ids
from recado.core.queue.job import NewJob
from recado.core.queue.storage import enqueue

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
        enqueue.add(self._uow, [job])
        return job_id
