"""The audit: who did or read what in your organisation."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, TypeAlias
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import Field, JsonValue

from recado.entrypoints.api.door.models import DEFAULT_LIMIT, EXAMPLE_ID, Cursor, Limit, Output, PageOf
from recado.entrypoints.api.door.routes import Door
from recado.identity.principal import Principal, PrincipalKind
from recado.identity.reading import AuditFilters, IdentityReading


class AuditView(Output):
    """One deed, or one reading of a conversation."""

    id: UUID = Field(examples=[EXAMPLE_ID])
    at: datetime
    actor_kind: PrincipalKind = Field(description="`operator` is a person at the command line of the installation.")
    actor_id: UUID | None
    actor_name: str = Field(examples=["Ana"])
    source: str | None = Field(examples=["203.0.113.7"], description="The network address that the request came from.")
    action: str = Field(examples=["conversation.taken"])
    object_kind: str = Field(examples=["conversation"])
    object_id: str = Field(examples=[EXAMPLE_ID])
    detail: Mapping[str, JsonValue] | None = Field(description="What changed, by ids and names of fields.")


ObjectKind: TypeAlias = Annotated[
    str | None,
    Query(max_length=32, description="Only what was done to things of this kind.", examples=["conversation"]),
]
ObjectId: TypeAlias = Annotated[
    str | None,
    Query(max_length=64, description="With `object_kind`: only what was done to this thing.", examples=[EXAMPLE_ID]),
]


def audit_router(door: Door, reading: IdentityReading) -> APIRouter:
    router = door.router("audit")

    @router.get("/audit", summary="List who did what, the newest first")
    async def list_audit(
        principal: Annotated[Principal, door.allows("audit.read")],
        object_kind: ObjectKind = None,
        object_id: ObjectId = None,
        limit: Limit = DEFAULT_LIMIT,
        cursor: Cursor = None,
    ) -> PageOf[AuditView]:
        filters = AuditFilters(object_kind, object_id)
        page = await reading.audit(principal.owner_id, cursor, limit=limit, filters=filters)
        return PageOf(items=[AuditView.model_validate(each) for each in page.items], next_cursor=page.next_cursor)

    return router
