"""The end of an organisation: close it, open it again, export it, have it deleted."""

import json
from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from recado.core.database.types import JsonValue
from recado.entrypoints.api.door.openapi import problems
from recado.entrypoints.api.door.routes import Door
from recado.entrypoints.api.v1.owners import OwnerView, own
from recado.identity.owners import OwnerService
from recado.identity.principal import Principal
from recado.operations.organizations.export import OwnerExport
from recado.operations.organizations.purge import OwnerPurge

LINES: Final = "application/x-ndjson"


def organization_router(door: Door, owners: OwnerService, exporting: OwnerExport, purge: OwnerPurge) -> APIRouter:
    router = door.router("owners")

    @router.post("/owners/{owner_id}/close", summary="Close your organisation")
    async def close_owner(
        principal: Annotated[Principal, door.allows("owner.close", knows=own)],
        owner_id: UUID,  # noqa: ARG001 - the guard has looked at it
    ) -> OwnerView:
        """Customers get no answers any more. Nothing is deleted."""
        return OwnerView.model_validate(await owners.close_account(principal))

    @router.post("/owners/{owner_id}/reopen", summary="Open your organisation again", responses=problems(409))
    async def reopen_owner(
        principal: Annotated[Principal, door.allows("owner.close", knows=own)],
        owner_id: UUID,  # noqa: ARG001
    ) -> OwnerView:
        """Messages that came meanwhile stay unanswered."""
        return OwnerView.model_validate(await owners.reopen_account(principal))

    @router.get(
        "/owners/{owner_id}/export",
        summary="Export everything",
        response_class=StreamingResponse,
        responses={200: {"content": {LINES: {"schema": {"type": "string"}}}}},
    )
    async def export_owner(
        principal: Annotated[Principal, door.allows("owner.close", knows=own)],
        owner_id: UUID,  # noqa: ARG001
    ) -> StreamingResponse:
        """One JSON document a line: what this is, one for each row, and an end, without which it was cut off.

        Secrets and the queue are left out.
        """
        return StreamingResponse(_as_text(await exporting.begin(principal)), media_type=LINES)

    @router.post(
        "/owners/{owner_id}/purge",
        status_code=202,
        summary="Have everything of your organisation deleted",
        responses=problems(409),
    )
    async def purge_owner(
        principal: Annotated[Principal, door.allows("owner.close", knows=own)],
        owner_id: UUID,  # noqa: ARG001
    ) -> OwnerView:
        """It must have been closed for 30 days. A worker does it; nothing brings it back, and your keys end now."""
        return OwnerView.model_validate((await purge.order(principal)).owner)

    return router


async def _as_text(lines: AsyncIterator[Mapping[str, JsonValue]]) -> AsyncIterator[str]:
    async for line in lines:
        yield json.dumps(line, ensure_ascii=False) + "\n"
