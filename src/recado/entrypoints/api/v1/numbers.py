"""Numbers: the addresses that customers write to."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter
from pydantic import Field

from recado.channels.reading import ChannelsReading
from recado.entrypoints.api.door.models import EXAMPLE_ID, Cursor, Limit, Output, PageOf
from recado.entrypoints.api.door.routes import Door
from recado.identity.principal import Principal


class NumberView(Output):
    """A number, and the account that it belongs to at its provider."""

    id: UUID = Field(examples=[EXAMPLE_ID])
    address: str = Field(examples=["whatsapp:+5511900000001"])
    provider: str = Field(examples=["twilio"])
    account_ref: str = Field(examples=["AC00000000000000000000000000000001"])
    created_at: datetime
    first_webhook_at: datetime | None = Field(description="When its first message or report came; null: none yet.")
    paused_until: datetime | None = Field(description="The account sends nothing before this time.")
    paused_why: str | None


def numbers_router(door: Door, reading: ChannelsReading) -> APIRouter:
    router = door.router("numbers")

    @router.get("/numbers", summary="List your numbers")
    async def list_numbers(
        principal: Annotated[Principal, door.allows("numbers.read")], limit: Limit = 50, cursor: Cursor = None
    ) -> PageOf[NumberView]:
        page = await reading.numbers(principal.owner_id, cursor, limit=limit)
        return PageOf(items=[NumberView.model_validate(each) for each in page.items], next_cursor=page.next_cursor)

    @router.get("/numbers/{number_id}", summary="Read a number")
    async def read_number(principal: Annotated[Principal, door.allows("numbers.read")], number_id: UUID) -> NumberView:
        return NumberView.model_validate(await reading.number(principal.owner_id, number_id))

    return router
