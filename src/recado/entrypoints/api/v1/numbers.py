"""Numbers: the addresses that customers write to."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter
from pydantic import Field

from recado.channels.reading import ChannelsReading
from recado.channels.twilio.accounts import NewNumber
from recado.channels.twilio.checking import Checked, Confirmed, Denied, NumberChecks, Unconfirmed
from recado.channels.twilio.removal import NumberRemoval
from recado.channels.twilio.values import AccountSid
from recado.conversation.values import Address
from recado.entrypoints.api.door.models import DEFAULT_LIMIT, EXAMPLE_ID, Cursor, Input, Limit, Output, PageOf
from recado.entrypoints.api.door.openapi import problems
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


class NumberForm(Input):
    """A number to be added."""

    account_ref: str = Field(
        max_length=100, examples=["AC00000000000000000000000000000001"], description="Twilio's SID of the account."
    )
    auth_token: str = Field(max_length=200, examples=["0123456789abcdef0123456789abcdef"], description="Kept sealed.")
    address: str = Field(max_length=256, examples=["whatsapp:+5511900000001"])

    def number(self) -> NewNumber:
        """Return what was given. Raises `InvalidInput`."""
        return NewNumber(AccountSid(self.account_ref), self.auth_token, Address.parse(self.address))


class NumberCheckView(Output):
    """What Twilio says about a number, its account and the stored token."""

    result: Literal["confirmed", "unconfirmed", "denied"]
    detail: str | None = Field(description="What is wrong, or what Twilio does not tell; null when all is confirmed.")


def _check_view(checked: Checked) -> NumberCheckView:
    match checked:
        case Confirmed():
            return NumberCheckView(result="confirmed", detail=None)
        case Unconfirmed(why):
            return NumberCheckView(result="unconfirmed", detail=why)
        case Denied(why):
            return NumberCheckView(result="denied", detail=why)


def numbers_router(door: Door, reading: ChannelsReading, checks: NumberChecks, removal: NumberRemoval) -> APIRouter:
    router = door.router("numbers")

    @router.post("/numbers", status_code=201, summary="Add a number", responses=problems(409))
    async def add_number(principal: Annotated[Principal, door.allows("numbers.write")], body: NumberForm) -> NumberView:
        """Twilio is asked first: nothing is stored unless it confirms account, token and number.

        The same request with a new token rotates the account's token.
        """
        added = await checks.add(principal, body.number())
        return NumberView.model_validate(await reading.number(principal.owner_id, added.id))

    @router.post("/numbers/{number_id}/check", summary="Ask Twilio about a number")
    async def check_number(
        principal: Annotated[Principal, door.allows("numbers.write", knows=reading.number)], number_id: UUID
    ) -> NumberCheckView:
        return _check_view((await checks.check(principal.owner_id, number_id)).result)

    @router.delete("/numbers/{number_id}", status_code=204, summary="Remove a number")
    async def remove_number(
        principal: Annotated[Principal, door.allows("numbers.write", knows=reading.number)], number_id: UUID
    ) -> None:
        """What it had received is still answered; then the auth token of its account is deleted."""
        await removal.remove(principal, number_id)

    @router.get("/numbers", summary="List your numbers")
    async def list_numbers(
        principal: Annotated[Principal, door.allows("numbers.read")],
        limit: Limit = DEFAULT_LIMIT,
        cursor: Cursor = None,
    ) -> PageOf[NumberView]:
        page = await reading.numbers(principal.owner_id, cursor, limit=limit)
        return PageOf(items=[NumberView.model_validate(each) for each in page.items], next_cursor=page.next_cursor)

    @router.get("/numbers/{number_id}", summary="Read a number")
    async def read_number(principal: Annotated[Principal, door.allows("numbers.read")], number_id: UUID) -> NumberView:
        return NumberView.model_validate(await reading.number(principal.owner_id, number_id))

    return router
