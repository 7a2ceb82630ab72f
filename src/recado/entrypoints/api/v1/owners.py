"""Owners: the organisation that the caller belongs to."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import Field

from recado.core.errors import NotFound
from recado.core.i18n import Locale
from recado.entrypoints.api.door.etags import IfMatch, tagged
from recado.entrypoints.api.door.models import EXAMPLE_ID, Input, Output, PageOf
from recado.entrypoints.api.door.openapi import problems
from recado.entrypoints.api.door.routes import Door
from recado.identity.models import Owner, SendPolicy
from recado.identity.owners import OwnerChanges, OwnerService
from recado.identity.principal import Principal


class OwnerView(Output):
    """An organisation, and how it speaks to its customers when no agent speaks."""

    id: UUID = Field(examples=[EXAMPLE_ID])
    name: str = Field(examples=["Padaria Aurora"])
    email: str = Field(examples=["contato@padaria.example"])
    locale: Locale
    apology_text: str | None = Field(description="What a customer reads when the agent failed; null: Recado's own.")
    handoff_text: str | None = Field(description="What a customer reads when a person is called; null: Recado's own.")
    nudge_text: str | None = Field(description="What a customer reads who has not written for a while; null: nothing.")
    send_policy: SendPolicy
    stop_words: list[str] | None = Field(description="Words that opt out; null: Recado's own.")
    start_words: list[str] | None = Field(description="Words that lift an opt-out; null: Recado's own.")
    created_at: datetime
    closed_at: datetime | None = Field(description="Since then its customers get no answers; null: it is open.")
    purge_started_at: datetime | None = Field(description="Since then everything of it is being deleted.")
    purged_rows: int | None = Field(description="How many rows of it are deleted; null before the first.")


class OwnerChange(Input):
    """The values to change; what is left out stays. null restores Recado's own text or words."""

    name: str = Field("", examples=["Padaria Aurora"])
    email: str = Field("", examples=["contato@padaria.example"])
    locale: str = Field("", examples=["pt-BR"])
    apology_text: str | None = None
    handoff_text: str | None = None
    nudge_text: str | None = None
    send_policy: SendPolicy = "prefer_silence"
    stop_words: list[str] | None = Field(None, description="At least one: customers must have a way out.")
    start_words: list[str] | None = None

    def changes(self) -> OwnerChanges:
        """Return what was given."""
        return OwnerChanges(**self.model_dump(exclude_unset=True))


async def own(owner_id: UUID, asked: UUID) -> None:
    """Raise `NotFound` for another organisation than the caller's."""
    if asked != owner_id:
        raise NotFound(f"there is no owner {asked}")


def owners_router(door: Door, owners: OwnerService) -> APIRouter:
    router = door.router("owners")

    @router.get("/owners", summary="List your organisation")
    async def list_owners(principal: Annotated[Principal, door.allows("owner.read")]) -> PageOf[OwnerView]:
        found = await owners.owner(principal.owner_id)
        return PageOf(items=[OwnerView.model_validate(found)], next_cursor=None)

    @router.get("/owners/{owner_id}", summary="Read your organisation")
    async def read_owner(
        principal: Annotated[Principal, door.allows("owner.read")], owner_id: UUID, response: Response
    ) -> OwnerView:
        await own(principal.owner_id, owner_id)
        return tagged(response, OwnerView.model_validate(await owners.owner(owner_id)))

    @router.patch("/owners/{owner_id}", summary="Change your organisation", responses=problems(409, 412, 428))
    async def change_owner(
        principal: Annotated[Principal, door.allows("owner.write", knows=own)],
        owner_id: UUID,  # noqa: ARG001 - the guard has looked at it
        if_match: IfMatch,
        body: OwnerChange,
        response: Response,
    ) -> OwnerView:
        def check(stored: Owner) -> None:
            if_match.check(OwnerView.model_validate(stored))

        changed = await owners.set_owner(principal, body.changes(), check=check)
        return tagged(response, OwnerView.model_validate(changed))

    return router
