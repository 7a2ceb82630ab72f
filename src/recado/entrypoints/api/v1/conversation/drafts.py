"""Drafts: what agents wrote that came too late."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter
from pydantic import Field

from recado.conversation.reading.drafts import DraftReading
from recado.entrypoints.api.door.models import DEFAULT_LIMIT, EXAMPLE_ID, Cursor, Limit, Output, PageOf
from recado.entrypoints.api.door.routes import Door
from recado.identity.principal import Principal


class DraftView(Output):
    """What an agent wrote, and why it was not sent."""

    id: UUID = Field(examples=[EXAMPLE_ID])
    conversation_id: UUID
    text: str
    why: str = Field(examples=["held by person meanwhile"])
    created_at: datetime


def drafts_router(door: Door, reading: DraftReading) -> APIRouter:
    router = door.router("drafts")

    @router.get("/drafts", summary="List drafts")
    async def list_drafts(
        principal: Annotated[Principal, door.allows("drafts.read")], limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
    ) -> PageOf[DraftView]:
        """The newest first. A draft is never sent."""
        page = await reading.page(principal.owner_id, cursor, limit=limit)
        return PageOf(items=[DraftView.model_validate(each) for each in page.items], next_cursor=page.next_cursor)

    return router
