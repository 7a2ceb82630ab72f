"""Orphans: messages to numbers without an owner, signed by an account of the owner."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter
from pydantic import Field

from recado.channels.orphans import OrphanService
from recado.channels.reading import ChannelsReading
from recado.conversation.replying.accept import Accepted
from recado.entrypoints.api.door.models import DEFAULT_LIMIT, EXAMPLE_ID, Cursor, Limit, Output, PageOf
from recado.entrypoints.api.door.openapi import problems
from recado.entrypoints.api.door.routes import Door
from recado.identity.principal import Principal


class OrphanView(Output):
    """A message to a number without an owner. No agent gets it before it is assigned."""

    id: UUID = Field(examples=[EXAMPLE_ID])
    provider: str = Field(examples=["twilio"])
    account_ref: str = Field(
        examples=["AC00000000000000000000000000000001"], description="The provider's name of the account."
    )
    provider_message_id: str = Field(
        examples=["SM00000000000000000000000000000001"], description="The provider's name of the message."
    )
    to: str = Field(examples=["whatsapp:+5511900000001"])
    received_at: datetime


class AssignedView(Output):
    """What became of the message."""

    message_id: UUID | None = Field(description="Null when the message had come by another way before.")


def orphans_router(door: Door, orphans: OrphanService, reading: ChannelsReading) -> APIRouter:
    router = door.router("orphans")

    @router.get("/orphans", summary="List the messages that wait for their number to be added")
    async def list_orphans(
        principal: Annotated[Principal, door.allows("orphans.read")],
        limit: Limit = DEFAULT_LIMIT,
        cursor: Cursor = None,
    ) -> PageOf[OrphanView]:
        page = await reading.orphans(principal.owner_id, cursor, limit=limit)
        return PageOf(items=[OrphanView.model_validate(each) for each in page.items], next_cursor=page.next_cursor)

    @router.post(
        "/orphans/{orphan_id}/assign",
        summary="Accept a message",
        description="The number that it was sent to must be yours by now. It is then handled like any other message; "
        "if it is older than a day, no agent answers it.",
        responses=problems(409),
    )
    async def assign_orphan(
        principal: Annotated[Principal, door.allows("orphans.write")], orphan_id: UUID
    ) -> AssignedView:
        accepted = await orphans.assign_by_id(principal, orphan_id)
        return AssignedView(message_id=accepted.message_id if isinstance(accepted, Accepted) else None)

    return router
