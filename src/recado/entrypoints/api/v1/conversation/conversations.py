"""Conversations: which there are, who holds them, and what customers and we say to each other."""

from datetime import datetime
from typing import Annotated, ClassVar, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Response
from pydantic import Field

from recado.conversation.models import Actor, Author, ConversationStatus, Holder
from recado.conversation.reading.conversations import ConversationReading
from recado.conversation.reading.filters import ConversationFilters, StatusFilter
from recado.conversation.reading.messages import Order, Transcripts
from recado.entrypoints.api.door.etags import tagged
from recado.entrypoints.api.door.models import DEFAULT_LIMIT, EXAMPLE_ID, Cursor, Limit, Output, PageOf
from recado.entrypoints.api.door.routes import Door
from recado.identity.principal import Principal


class ConversationView(Output):
    """A conversation, and who holds it."""

    NOT_IN_ETAG: ClassVar = frozenset(
        {"contact_name", "address", "status", "assignee_name", "waiting_since", "last_activity_at"}
    )

    id: UUID = Field(examples=[EXAMPLE_ID])
    contact_id: UUID
    contact_name: str | None
    address: str | None = Field(description="The address that the contact wrote from first.")
    number_id: UUID
    status: ConversationStatus
    held_by: Holder = Field(
        description="Who may speak: the agent, a person, or no one (`nobody`) until a person comes."
    )
    holder_name: str | None
    held_since: datetime
    assignee_id: UUID | None
    assignee_name: str | None
    waiting_since: datetime | None = Field(description="Since when a message waits for a person; null: none does.")
    opened_at: datetime
    last_activity_at: datetime
    closed_at: datetime | None
    closed_by: Actor | None
    closed_reason: str | None
    previous_id: UUID | None


class ErrorView(Output):
    """Why a message was not sent or not delivered."""

    code: str | None = Field(examples=["30005"])
    text: str


class MessageView(Output):
    """A message of either side."""

    id: UUID = Field(
        examples=[EXAMPLE_ID], description="In events `message_id` of the customer's, `answer_id` of ours."
    )
    author: Literal["customer"] | Author
    author_name: str | None
    kind: str
    text: str
    at: datetime
    state: str = Field(description="Its outcome, or how far it was delivered.", examples=["answered", "delivered"])
    reason: str | None
    error: ErrorView | None
    answer_id: UUID | None = Field(validation_alias="answered_by", description="The message of ours that answered it.")
    attachments: list[str] = Field(description="Always empty: attachments are described in the text.")


Text = Annotated[
    str | None,
    Query(
        max_length=200, description="Those with a message of either side that has all these words.", examples=["bolo"]
    ),
]


def conversations_router(door: Door, reading: ConversationReading, transcripts: Transcripts) -> APIRouter:
    router = door.router("conversations")
    reads = door.allows("conversations.read", knows=reading.one)

    @router.get("/conversations", summary="List conversations")
    async def list_conversations(
        principal: Annotated[Principal, door.allows("conversations.read")],
        limit: Limit = DEFAULT_LIMIT,
        cursor: Cursor = None,
        status: StatusFilter | None = None,
        held_by: Holder | None = None,
        assignee_id: UUID | None = None,
        contact_id: UUID | None = None,
        number_id: UUID | None = None,
        waiting: bool = False,
        text: Text = None,
    ) -> PageOf[ConversationView]:
        """Those that are not closed, latest activity first. A page may be short, or empty, and have a next one."""
        filters = ConversationFilters(
            status=status,
            held_by=held_by,
            assignee_id=assignee_id,
            contact_id=contact_id,
            number_id=number_id,
            waiting=waiting,
            text=text,
        )
        page = await reading.page(principal.owner_id, cursor, limit=limit, filters=filters)
        if text is not None:
            await transcripts.record_search(principal, [each.id for each in page.items])
        return PageOf(
            items=[ConversationView.model_validate(each) for each in page.items], next_cursor=page.next_cursor
        )

    @router.get("/conversations/{conversation_id}", summary="Read a conversation")
    async def read_conversation(
        principal: Annotated[Principal, reads], conversation_id: UUID, response: Response
    ) -> ConversationView:
        await transcripts.record_reading(principal, conversation_id)
        return tagged(response, ConversationView.model_validate(await reading.one(principal.owner_id, conversation_id)))

    @router.get("/conversations/{conversation_id}/messages", summary="Read what was said")
    async def list_messages(
        principal: Annotated[Principal, reads],
        conversation_id: UUID,
        limit: Limit = DEFAULT_LIMIT,
        cursor: Cursor = None,
        order: Order = "oldest",
    ) -> PageOf[MessageView]:
        """The messages of both sides, with what became of each. That they were read is written into the audit."""
        page = await transcripts.page(principal, conversation_id, cursor, limit=limit, order=order)
        return PageOf(items=[MessageView.model_validate(each) for each in page.items], next_cursor=page.next_cursor)

    return router
