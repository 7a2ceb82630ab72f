"""What people do in a conversation: take it, reply, give it back, close it, say who looks after it."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import Field

from recado.conversation.models import Answer, AnswerState
from recado.conversation.people.handoff import MAX_REASON_LENGTH, Check, HandOffService
from recado.conversation.people.sendable import MAX_TEXT_LENGTH
from recado.conversation.reading.conversations import ConversationReading
from recado.entrypoints.api.door.etags import IfMatchIfSent, Precondition, tagged
from recado.entrypoints.api.door.models import EXAMPLE_ID, Input, Output
from recado.entrypoints.api.door.once import Once
from recado.entrypoints.api.door.openapi import problems
from recado.entrypoints.api.door.routes import Door
from recado.entrypoints.api.v1.conversation.conversations import ConversationView
from recado.identity.principal import Principal


class ReplyView(Output):
    """A message that is on its way."""

    id: UUID = Field(examples=[EXAMPLE_ID], description="In events `answer_id`.")
    conversation_id: UUID
    state: AnswerState
    created_at: datetime

    @classmethod
    def of(cls, answer: Answer) -> "ReplyView":
        return cls.model_validate(answer)


class NewReply(Input):
    """A message to the customer."""

    text: str = Field(min_length=1, max_length=MAX_TEXT_LENGTH, examples=["Oi Ana, aqui é o Zé."])
    take: bool = Field(False, description="Also take the conversation from the agent.")


class Assignment(Input):
    """Who is to look after a conversation."""

    user_id: UUID | None = Field(description="A user of the organisation; null: no one.", examples=[EXAMPLE_ID])


class Closing(Input):
    """The end of a conversation."""

    reason: str | None = Field(None, max_length=MAX_REASON_LENGTH, examples=["resolvido"])


def handoff_router(door: Door, service: HandOffService, reading: ConversationReading) -> APIRouter:
    router = door.router("conversations")
    acts = door.allows("conversations.write", knows=reading.one)

    async def shown(principal: Principal, conversation_id: UUID, response: Response) -> ConversationView:
        return tagged(response, ConversationView.model_validate(await reading.one(principal.owner_id, conversation_id)))

    def check(if_match: Precondition) -> Check:
        return lambda stored: if_match.check(ConversationView.model_validate(stored))

    @router.post("/conversations/{conversation_id}/take", summary="Take a conversation", responses=problems(409, 412))
    async def take(
        principal: Annotated[Principal, acts], conversation_id: UUID, if_match: IfMatchIfSent, response: Response
    ) -> ConversationView:
        """From now on a person speaks, and no answer of the agent is sent. 409 while a person holds it."""
        await service.take(principal, conversation_id, check=check(if_match))
        return await shown(principal, conversation_id, response)

    @router.post("/conversations/{conversation_id}/release", summary="Give it back", responses=problems(409, 412))
    async def release(
        principal: Annotated[Principal, acts], conversation_id: UUID, if_match: IfMatchIfSent, response: Response
    ) -> ConversationView:
        """The agent speaks again, and answers what still waits."""
        await service.release(principal, conversation_id, check=check(if_match))
        return await shown(principal, conversation_id, response)

    @router.post("/conversations/{conversation_id}/close", summary="Close it", responses=problems(409, 412))
    async def close(
        principal: Annotated[Principal, acts],
        conversation_id: UUID,
        if_match: IfMatchIfSent,
        response: Response,
        body: Closing | None = None,
    ) -> ConversationView:
        """What waits for a person is not answered. The customer's next message opens a new conversation."""
        reason = None if body is None else body.reason
        await service.close(principal, conversation_id, reason, check=check(if_match))
        return await shown(principal, conversation_id, response)

    @router.post("/conversations/{conversation_id}/assign", summary="Assign it", responses=problems(409, 412))
    async def assign(
        principal: Annotated[Principal, acts],
        conversation_id: UUID,
        if_match: IfMatchIfSent,
        body: Assignment,
        response: Response,
    ) -> ConversationView:
        """Say who is to look after it. Who may speak stays the same."""
        await service.assign(principal, conversation_id, body.user_id, check=check(if_match))
        return await shown(principal, conversation_id, response)

    @router.post(
        "/conversations/{conversation_id}/replies",
        summary="Reply as a person",
        status_code=202,
        responses=problems(409),
    )
    async def reply(
        principal: Annotated[Principal, acts], conversation_id: UUID, body: NewReply, once: Once
    ) -> ReplyView:
        """A worker sends it. 409 while the agent holds the conversation (unless `take`), and when it cannot be sent."""
        answer = await service.reply(
            principal, conversation_id, body.text, take=body.take, then=once.then(ReplyView.of)
        )
        return ReplyView.of(answer)

    return router
