"""What people do in a conversation: take it, speak in it, give it back.

Holding is a fence, not a status: from the commit of `take` on, no agent's result and no part of an agent's answer
without an attempt row gets out. Giving back hands what nobody answered to the agent, as one new turn.
"""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from recado.conversation.lifecycle import Lifecycle
from recado.conversation.models import Answer, Conversation
from recado.conversation.replying.replays import resume
from recado.conversation.repository import Conversations
from recado.conversation.sending.outbox import Outbox, Split
from recado.core.clock import Clock
from recado.core.database.engine import Database
from recado.core.errors import InvalidInput
from recado.core.ids import Ids
from recado.core.queue.transactions import LaneTransaction, Transactions, UnlockedTransaction

MAX_REPLY_LENGTH = 20_000
"""Characters of one reply of a person, which is as much as an agent may say."""


@dataclass(frozen=True, slots=True)
class Released:
    """Back to the agent; `job_id` carries what was waiting, None when nothing was."""

    conversation: Conversation
    job_id: UUID | None


class HandOffService:
    """One method for each thing that a person can do."""

    def __init__(
        self, database: Database, clock: Clock, ids: Ids, split: Split, answer_within: timedelta, max_attempts: int
    ) -> None:
        self._transactions = Transactions(database, clock, ids)
        self._split = split
        self._answer_within = answer_within
        self._max_attempts = max_attempts

    async def take(self, owner_id: UUID, conversation_id: UUID) -> Conversation:
        """Let a person speak from now on. Raises `IllegalTransition` when a person holds it already."""

        def work(tx: UnlockedTransaction) -> Conversation:
            held, conversation = _hold(tx, conversation_id)
            return Lifecycle(held).hand_to(conversation, "person", "person", None)

        return await self._transactions.write(work, owner=owner_id)

    async def reply(self, owner_id: UUID, conversation_id: UUID, text: str) -> Answer:
        """Send a person's message. It takes the conversation, unless a person holds it already."""
        if not text.strip():
            raise InvalidInput("there is nothing to say: give the text with --text")
        if len(text) > MAX_REPLY_LENGTH:
            raise InvalidInput(f"the text has {len(text):,} characters; {MAX_REPLY_LENGTH:,} at most")

        def work(tx: UnlockedTransaction) -> Answer:
            held, conversation = _hold(tx, conversation_id)
            if conversation.held_by != "person":
                conversation = Lifecycle(held).hand_to(conversation, "person", "person", "replied")
            conversation = Lifecycle(held).revive(conversation, "person")
            return Outbox(held, self._split).put(conversation, "person", text)

        return await self._transactions.write(work, owner=owner_id)

    async def release(self, owner_id: UUID, conversation_id: UUID) -> Released:
        """Give the conversation back to the agent, and what still waits for a person with it, as one new turn."""

        def work(tx: UnlockedTransaction) -> Released:
            held, conversation = _hold(tx, conversation_id)
            released = Lifecycle(held).hand_to(conversation, "agent", "person", None)
            return Released(released, resume(held, released, self._answer_within, self._max_attempts))

        return await self._transactions.write(work, owner=owner_id)


def _hold(tx: UnlockedTransaction, conversation_id: UUID) -> tuple[LaneTransaction, Conversation]:
    """Hold the lane of a conversation, then return the conversation as it is now."""
    held = tx.hold(Conversations(tx.uow).require(conversation_id).lane)
    return held, Conversations(tx.uow).require(conversation_id)
