"""Owners: the organisation that the caller belongs to."""

from datetime import datetime
from typing import Annotated, Protocol
from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import Field

from recado.core.errors import NotFound
from recado.entrypoints.api.door.etags import tagged
from recado.entrypoints.api.door.models import EXAMPLE_ID, Output, PageOf
from recado.entrypoints.api.door.routes import Door
from recado.identity.models import Owner, SendPolicy
from recado.identity.principal import Principal


class OwnerView(Output):
    """An organisation, and how it speaks to its customers when no agent speaks."""

    id: UUID = Field(examples=[EXAMPLE_ID])
    name: str = Field(examples=["Padaria Aurora"])
    email: str = Field(examples=["contato@padaria.example"])
    locale: str = Field(examples=["pt-BR"])
    apology_text: str | None = Field(description="What a customer reads when the agent failed; null: Recado's own.")
    handoff_text: str | None = Field(description="What a customer reads when a person is called; null: Recado's own.")
    nudge_text: str | None = Field(description="What a customer reads who has not written for a while; null: nothing.")
    send_policy: SendPolicy
    stop_words: list[str] | None = Field(description="Words that opt out; null: Recado's own.")
    start_words: list[str] | None = Field(description="Words that lift an opt-out; null: Recado's own.")
    created_at: datetime
    closed_at: datetime | None


class OwnerReader(Protocol):
    """What this router calls."""

    async def owner(self, owner_id: UUID) -> Owner: ...


def owners_router(door: Door, owners: OwnerReader) -> APIRouter:
    router = door.router("owners")

    async def own(owner_id: UUID, asked: UUID) -> Owner:
        if asked != owner_id:
            raise NotFound(f"there is no owner {asked}")
        return await owners.owner(owner_id)

    @router.get("/owners", summary="Your organisation, as a list of one")
    async def owner_list(principal: Annotated[Principal, door.allows("owner.read")]) -> PageOf[OwnerView]:
        found = await owners.owner(principal.owner_id)
        return PageOf(items=[OwnerView.model_validate(found)], next_cursor=None)

    @router.get("/owners/{owner_id}", summary="Your organisation")
    async def owner(
        principal: Annotated[Principal, door.allows("owner.read")], owner_id: UUID, response: Response
    ) -> OwnerView:
        return tagged(response, OwnerView.model_validate(await own(principal.owner_id, owner_id)))

    return router
