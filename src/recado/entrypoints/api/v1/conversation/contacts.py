"""Contacts: the customers, and whether they want messages."""

from datetime import datetime
from typing import Annotated, ClassVar
from uuid import UUID

from fastapi import APIRouter, Query, Response
from pydantic import Field

from recado.conversation.people.contacts import Check, ContactService
from recado.conversation.reading.contacts import ContactFilters, ContactReading
from recado.conversation.values import Address
from recado.entrypoints.api.door.etags import IfMatch, IfMatchIfSent, Precondition, tagged
from recado.entrypoints.api.door.models import DEFAULT_LIMIT, EXAMPLE_ID, Cursor, Input, Limit, Output, PageOf
from recado.entrypoints.api.door.openapi import problems
from recado.entrypoints.api.door.routes import Door
from recado.identity.models import MAX_NAME_LENGTH
from recado.identity.principal import Principal


class ContactView(Output):
    """A customer, with every spelling of the addresses."""

    NOT_IN_ETAG: ClassVar = frozenset({"addresses"})

    id: UUID = Field(examples=[EXAMPLE_ID])
    name: str | None
    named_by: str | None = Field(description="The person who gave the name; null: it is the customer's profile.")
    addresses: list[str] = Field(examples=[["whatsapp:+5511987654321"]])
    opted_out_at: datetime | None
    opted_out_by: str | None = Field(description="The person who stored it; null: the customer did.")
    blocked_at: datetime | None
    blocked_by: str | None
    created_at: datetime


class ContactName(Input):
    """A name for a contact."""

    name: str | None = Field(
        max_length=MAX_NAME_LENGTH,
        examples=["Ana Souza"],
        description="null: the customer's profile counts again.",
    )


def contacts_router(door: Door, service: ContactService, reading: ContactReading) -> APIRouter:
    router = door.router("contacts")
    writes = door.allows("contacts.write", knows=reading.one)

    async def shown(principal: Principal, contact_id: UUID, response: Response) -> ContactView:
        return tagged(response, ContactView.model_validate(await reading.one(principal.owner_id, contact_id)))

    def check(if_match: Precondition) -> Check:
        return lambda stored: if_match.check(ContactView.model_validate(stored))

    @router.get("/contacts", summary="List contacts")
    async def list_contacts(
        principal: Annotated[Principal, door.allows("contacts.read")],
        limit: Limit = DEFAULT_LIMIT,
        cursor: Cursor = None,
        address: Annotated[str | None, Query(max_length=256, examples=["whatsapp:+5511987654321"])] = None,
        blocked: bool = False,
        opted_out: bool = False,
    ) -> PageOf[ContactView]:
        """The newest first; `address` finds a contact by any spelling."""
        parsed = None if address is None else Address.parse(address)
        filters = ContactFilters(address=parsed, blocked=blocked, opted_out=opted_out)
        page = await reading.page(principal.owner_id, cursor, limit=limit, filters=filters)
        return PageOf(items=[ContactView.model_validate(each) for each in page.items], next_cursor=page.next_cursor)

    @router.get("/contacts/{contact_id}", summary="Read a contact")
    async def read_contact(
        principal: Annotated[Principal, door.allows("contacts.read")], contact_id: UUID, response: Response
    ) -> ContactView:
        return await shown(principal, contact_id, response)

    @router.patch("/contacts/{contact_id}", summary="Name a contact", responses=problems(412, 428))
    async def rename_contact(
        principal: Annotated[Principal, writes],
        contact_id: UUID,
        if_match: IfMatch,
        body: ContactName,
        response: Response,
    ) -> ContactView:
        await service.rename(principal, contact_id, body.name, check=check(if_match))
        return await shown(principal, contact_id, response)

    @router.post("/contacts/{contact_id}/block", summary="Block a contact", responses=problems(412))
    async def block_contact(
        principal: Annotated[Principal, writes], contact_id: UUID, if_match: IfMatchIfSent, response: Response
    ) -> ContactView:
        """No one answers its messages, and nothing is sent to it."""
        await service.block(principal, contact_id, check=check(if_match))
        return await shown(principal, contact_id, response)

    @router.post("/contacts/{contact_id}/unblock", summary="Unblock a contact", responses=problems(412))
    async def unblock_contact(
        principal: Annotated[Principal, writes], contact_id: UUID, if_match: IfMatchIfSent, response: Response
    ) -> ContactView:
        await service.unblock(principal, contact_id, check=check(if_match))
        return await shown(principal, contact_id, response)

    @router.post("/contacts/{contact_id}/opt-out", summary="Opt a contact out", responses=problems(412))
    async def opt_out_contact(
        principal: Annotated[Principal, writes], contact_id: UUID, if_match: IfMatchIfSent, response: Response
    ) -> ContactView:
        await service.opt_out(principal, contact_id, check=check(if_match))
        return await shown(principal, contact_id, response)

    @router.post("/contacts/{contact_id}/opt-in", summary="Opt a contact in", responses=problems(412))
    async def opt_in_contact(
        principal: Annotated[Principal, writes], contact_id: UUID, if_match: IfMatchIfSent, response: Response
    ) -> ContactView:
        """Only if the customer has asked for it."""
        await service.opt_in(principal, contact_id, check=check(if_match))
        return await shown(principal, contact_id, response)

    return router
