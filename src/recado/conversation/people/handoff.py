"""What people do in a conversation: take it, speak in it, give it back, end it, say who looks after it.

Holding is a fence, not a status: from the commit of `take` on, no agent's result and no part of an agent's answer
without an attempt row gets out. Giving back hands what nobody answered to the agent, as one new turn. Closing ends it:
what still waits for a person then is answered by nobody, and the customer's next message opens a new conversation.

Each of them leaves the person's name and a line in the audit, in the transaction of the deed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias, TypeVar
from uuid import UUID

from recado.conversation.errors import HeldByAgent
from recado.conversation.lifecycle import Lifecycle
from recado.conversation.models import Answer, Conversation
from recado.conversation.people.sendable import checked_text, nothing_more, require_sendable
from recado.conversation.reading.conversations import ConversationItem, conversation_in
from recado.conversation.replying.replays import resume
from recado.conversation.repository import Conversations
from recado.conversation.sending.outbox import Outbox, Split
from recado.conversation.sending.results import SendRules
from recado.conversation.settlement import Settlement
from recado.core.clock import Clock
from recado.core.database.engine import Database
from recado.core.errors import InvalidInput
from recado.core.ids import Ids
from recado.core.queue.transactions import LaneTransaction, Transaction, Transactions, UnlockedTransaction
from recado.identity import audit
from recado.identity.principal import Principal
from recado.identity.repository import Users

T = TypeVar("T")

MAX_REASON_LENGTH = 200

Check: TypeAlias = Callable[[ConversationItem], None]
"""Raises when a conversation is not as its caller has read it."""


def any_conversation(_stored: ConversationItem) -> None:
    """Accept a conversation as it is."""


@dataclass(frozen=True, slots=True)
class Released:
    """Back to the agent; `job_id` carries what was waiting, None when nothing was."""

    conversation: Conversation
    job_id: UUID | None


class HandOffService:
    """One method for each thing that a person can do.

    `check` gets the conversation as it is before the deed, which no other can change any more.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        ids: Ids,
        split: Split,
        rules: SendRules,
        answer_within: timedelta,
        max_attempts: int,
    ) -> None:
        self._transactions = Transactions(database, clock, ids)
        self._split = split
        self._rules = rules
        self._answer_within = answer_within
        self._max_attempts = max_attempts

    async def take(
        self, principal: Principal, conversation_id: UUID, *, check: Check = any_conversation
    ) -> Conversation:
        """Let a person speak from now on. Raises `IllegalTransition` when a person holds it already."""

        def work(tx: LaneTransaction, conversation: Conversation) -> Conversation:
            audit.record(tx, principal, "conversation.taken", "conversation", conversation.id)
            return Lifecycle(tx).hand_to(conversation, "person", principal, None)

        return await self._write(principal, conversation_id, work, check)

    async def reply(
        self,
        principal: Principal,
        conversation_id: UUID,
        text: str,
        *,
        take: bool = False,
        then: Callable[[Transaction, Answer], None] = nothing_more,
    ) -> Answer:
        """Send a person's message. Raises `HeldByAgent` while the agent holds the conversation, unless `take`.

        Raises `CannotSend` when it could not be sent now. `then` is called at the end of its transaction.
        """
        text = checked_text(text)

        def work(tx: LaneTransaction, conversation: Conversation) -> Answer:
            conversation.check_open()
            if conversation.held_by == "agent" and not take:
                raise HeldByAgent(conversation.id)
            if conversation.held_by != "person":
                conversation = Lifecycle(tx).hand_to(conversation, "person", principal, "replied")
            conversation = Lifecycle(tx).revive(conversation, principal)
            answer = Outbox(tx, self._split).put(conversation, "person", text, author_name=principal.name)
            require_sendable(tx, answer, conversation, self._rules)
            audit.record(
                tx, principal, "conversation.replied", "conversation", conversation.id, {"answer_id": str(answer.id)}
            )
            then(tx, answer)
            return answer

        return await self._write(principal, conversation_id, work)

    async def release(
        self, principal: Principal, conversation_id: UUID, *, check: Check = any_conversation
    ) -> Released:
        """Give the conversation back to the agent, and what still waits for a person with it, as one new turn."""

        def work(tx: LaneTransaction, conversation: Conversation) -> Released:
            released = Lifecycle(tx).hand_to(conversation, "agent", principal, None)
            audit.record(tx, principal, "conversation.released", "conversation", conversation.id)
            return Released(released, resume(tx, released, self._answer_within, self._max_attempts))

        return await self._write(principal, conversation_id, work, check)

    async def close(
        self, principal: Principal, conversation_id: UUID, reason: str | None = None, *, check: Check = any_conversation
    ) -> Conversation:
        """End the conversation. What still waits for a person is answered by nobody; what is being sent goes on."""
        why = _checked_reason(reason)

        def work(tx: LaneTransaction, conversation: Conversation) -> Conversation:
            closed = Lifecycle(tx).close(conversation, principal, why)
            Settlement(tx).discard_waiting(closed)
            audit.record(tx, principal, "conversation.closed", "conversation", conversation.id)
            return closed

        return await self._write(principal, conversation_id, work, check)

    async def assign(
        self, principal: Principal, conversation_id: UUID, user_id: UUID | None, *, check: Check = any_conversation
    ) -> Conversation:
        """Say which user of the owner is to look after the conversation, or that nobody is.

        Raises `NotFound` for a user of another owner.
        """

        def work(tx: LaneTransaction, conversation: Conversation) -> Conversation:
            if user_id is not None and not Users(tx.uow).require(user_id).active:
                raise InvalidInput(f"user {user_id} may not sign in any more; assign it to another user")
            detail = {"user_id": None if user_id is None else str(user_id)}
            audit.record(tx, principal, "conversation.assigned", "conversation", conversation.id, detail)
            return Lifecycle(tx).assign(conversation, user_id, principal)

        return await self._write(principal, conversation_id, work, check)

    async def _write(
        self,
        principal: Principal,
        conversation_id: UUID,
        work: Callable[[LaneTransaction, Conversation], T],
        check: Check = any_conversation,
    ) -> T:
        """Run `work` with the conversation as it is once its lane is held."""

        def held(tx: UnlockedTransaction) -> T:
            conversations = Conversations(tx.uow)
            lane = tx.hold(conversations.require(conversation_id).lane)
            if check is not any_conversation:
                check(conversation_in(tx.uow, conversation_id))
            return work(lane, conversations.require(conversation_id))

        return await self._transactions.write(held, owner=principal.owner_id)


def _checked_reason(reason: str | None) -> str:
    text = " ".join((reason or "").split()) or "closed"
    if len(text) > MAX_REASON_LENGTH or not text.isprintable():
        raise InvalidInput(f"the reason may have at most {MAX_REASON_LENGTH} characters that can be seen")
    return text
