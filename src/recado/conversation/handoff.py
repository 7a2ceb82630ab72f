"""What people do in a conversation: take it, speak in it, give it back.

Holding is a fence, not a status: from the commit of `take` on, no agent's result and no part of an agent's answer
without an attempt row gets out. Giving back hands what nobody answered to the agent, as one new turn.
"""

from dataclasses import dataclass
from uuid import UUID

from recado.conversation.lifecycle import Lifecycle
from recado.conversation.models import Answer, Conversation
from recado.conversation.replying.handler import ReplyHandler
from recado.conversation.repository import Conversations
from recado.conversation.sending.outbox import Outbox, Split
from recado.core.clock import Clock
from recado.core.database.engine import Database
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.errors import InvalidInput
from recado.core.ids import Ids
from recado.core.queue.storage import lanes

MAX_REPLY_LENGTH = 20_000
"""Characters of one reply of a person, which is as much as an agent may say."""


@dataclass(frozen=True, slots=True)
class Released:
    """Back to the agent; `job_id` carries what was waiting, None when nothing was."""

    conversation: Conversation
    job_id: UUID | None


class HandOffService:
    """One method per thing a person can do."""

    def __init__(
        self, database: Database, clock: Clock, ids: Ids, split: Split, replies: ReplyHandler, max_attempts: int
    ) -> None:
        self._database = database
        self._clock = clock
        self._ids = ids
        self._split = split
        self._replies = replies
        self._max_attempts = max_attempts

    async def take(self, owner_id: UUID, conversation_id: UUID) -> Conversation:
        """A person speaks from now on. Raises `IllegalTransition` when one does already."""

        def work(uow: UnitOfWork) -> Conversation:
            conversation = _held(uow, conversation_id)
            return Lifecycle(uow, self._ids, self._clock.now()).hand_to(conversation, "person", "person", None)

        return await self._database.write(work, owner=owner_id)

    async def reply(self, owner_id: UUID, conversation_id: UUID, text: str) -> Answer:
        """Say something as a person; that takes the conversation, if nobody has taken it yet."""
        if not text.strip():
            raise InvalidInput("there is nothing to say: give the text with --text")
        if len(text) > MAX_REPLY_LENGTH:
            raise InvalidInput(f"the text has {len(text):,} characters; {MAX_REPLY_LENGTH:,} at most")

        def work(uow: UnitOfWork) -> Answer:
            now = self._clock.now()
            conversation = _held(uow, conversation_id)
            if conversation.held_by != "person":
                conversation = Lifecycle(uow, self._ids, now).hand_to(conversation, "person", "person", "replied")
            conversation = Lifecycle(uow, self._ids, now).revive(conversation, "person")
            return Outbox(uow, self._ids, now, self._split).put(conversation, "person", text)

        return await self._database.write(work, owner=owner_id)

    async def release(self, owner_id: UUID, conversation_id: UUID) -> Released:
        """Give the word back to the agent, with what is still waiting for a person as one new turn."""

        def work(uow: UnitOfWork) -> Released:
            now = self._clock.now()
            conversation = _held(uow, conversation_id)
            released = Lifecycle(uow, self._ids, now).hand_to(conversation, "agent", "person", None)
            job_id = self._replies.replays(uow, now).resume(released, self._max_attempts)
            return Released(released, job_id)

        return await self._database.write(work, owner=owner_id)


def _held(uow: UnitOfWork, conversation_id: UUID) -> Conversation:
    """The conversation as it is once nobody else can change its lane."""
    lanes.lock_lanes(uow, [Conversations(uow).require(conversation_id).lane])
    return Conversations(uow).require(conversation_id)
