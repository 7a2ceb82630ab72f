"""API keys: what programs prove themselves by."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter
from pydantic import Field

from recado.entrypoints.api.door.models import DEFAULT_LIMIT, EXAMPLE_ID, Cursor, Input, Limit, Moment, Output, PageOf
from recado.entrypoints.api.door.routes import Door
from recado.identity.access.api_keys import ApiKeyService, NewKey
from recado.identity.principal import Principal
from recado.identity.reading import IdentityReading


class KeyView(Output):
    """An API key. Its text is never shown again."""

    id: UUID = Field(examples=[EXAMPLE_ID])
    name: str = Field(examples=["our shop"])
    scopes: Sequence[str] | None = Field(
        examples=[["conversations.read"]], description="Null: all that a key may do, also what a later release adds."
    )
    created_at: datetime
    created_by: str = Field(examples=["Ana"])
    expires_at: datetime | None
    last_used_at: datetime | None = Field(description="At most a minute behind.")
    revoked_at: datetime | None


class CreatedKeyView(KeyView):
    """A new API key."""

    key: str = Field(examples=["rcd_…"], description="Send it as `Authorization: Bearer`. It is shown this once.")


class KeyInput(Input):
    """A key to be made."""

    name: str = Field(max_length=200, examples=["our shop"], description="It stands at what is done with the key.")
    scopes: list[str] | None = Field(
        None, examples=[["conversations.read"]], description="What the key may do. Null: all that a key may do."
    )
    expires_at: Moment | None = Field(None, description="At most ten years away. Null: it lasts until it is revoked.")


def keys_router(door: Door, keys: ApiKeyService, reading: IdentityReading) -> APIRouter:
    router = door.router("keys")

    @router.get("/keys", summary="List the API keys")
    async def list_keys(
        principal: Annotated[Principal, door.allows("keys.read")], limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
    ) -> PageOf[KeyView]:
        page = await reading.keys(principal.owner_id, cursor, limit=limit)
        return PageOf(items=[KeyView.model_validate(each) for each in page.items], next_cursor=page.next_cursor)

    @router.get("/keys/{key_id}", summary="Read an API key")
    async def read_key(principal: Annotated[Principal, door.allows("keys.read")], key_id: UUID) -> KeyView:
        return KeyView.model_validate(await reading.key(principal.owner_id, key_id))

    @router.post("/keys", summary="Make an API key", status_code=201)
    async def create_key(principal: Annotated[Principal, door.allows("keys.write")], body: KeyInput) -> CreatedKeyView:
        made = await keys.create(principal, NewKey(body.name, body.scopes, body.expires_at))
        return CreatedKeyView(**KeyView.model_validate(made.key).model_dump(), key=made.text)

    @router.delete("/keys/{key_id}", summary="Revoke an API key")
    async def revoke_key(principal: Annotated[Principal, door.allows("keys.write")], key_id: UUID) -> KeyView:
        return KeyView.model_validate(await keys.revoke(principal, key_id))

    return router
