"""What was sent to an endpoint, and what is to be sent again."""

from datetime import datetime
from typing import Annotated, Self
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import Field, model_validator

from recado.core.event_log.models import EventType
from recado.entrypoints.api.door.models import DEFAULT_LIMIT, EXAMPLE_ID, Cursor, Input, Limit, Moment, Output, PageOf
from recado.entrypoints.api.door.openapi import problems
from recado.entrypoints.api.door.routes import Door
from recado.entrypoints.api.v1.events.endpoints import EndpointView
from recado.events.models import DeliveryState
from recado.events.reading import EndpointReading
from recado.events.service import EndpointService
from recado.identity.principal import Principal


class ReplayInput(Input):
    """What to send again: one event, or all since a time."""

    since: Moment | None = None
    event_id: UUID | None = Field(default=None, examples=[EXAMPLE_ID])

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.since is None) == (self.event_id is None):
            raise ValueError("say `since` or `event_id`")
        return self


class DeliveryView(Output):
    """An event on its way to an endpoint."""

    id: UUID = Field(examples=[EXAMPLE_ID])
    event_id: UUID = Field(examples=[EXAMPLE_ID])
    type: EventType
    state: DeliveryState
    attempts: int
    status: int | None = Field(description="The status of the last answer; null when there was none.")
    error: str | None
    created_at: datetime
    updated_at: datetime


def event_deliveries_router(door: Door, service: EndpointService, reading: EndpointReading) -> APIRouter:
    router = door.router("endpoints")

    @router.post(
        "/endpoints/{endpoint_id}/replay",
        summary="Send events again",
        description="With the ids that they had: one event, or all since a time, in order.",
        status_code=202,
        responses=problems(409),
    )
    async def replay_events(
        principal: Annotated[Principal, door.allows("endpoints.write", knows=reading.require)],
        endpoint_id: UUID,
        body: ReplayInput,
    ) -> EndpointView:
        if body.event_id is not None:
            await service.resend(principal, endpoint_id, body.event_id)
        elif body.since is not None:
            await service.replay(principal, endpoint_id, since=body.since)
        return EndpointView.of(await reading.require(principal.owner_id, endpoint_id))

    @router.get("/endpoints/{endpoint_id}/deliveries", summary="List what was sent to an endpoint, the newest first")
    async def list_deliveries(
        principal: Annotated[Principal, door.allows("endpoints.read")],
        endpoint_id: UUID,
        undelivered: Annotated[bool, Query(description="Only what was not delivered.")] = False,
        limit: Limit = DEFAULT_LIMIT,
        cursor: Cursor = None,
    ) -> PageOf[DeliveryView]:
        page = await reading.deliveries(
            principal.owner_id, endpoint_id, undelivered=undelivered, limit=limit, cursor=cursor
        )
        return PageOf(items=[DeliveryView.model_validate(each) for each in page.items], next_cursor=page.next_cursor)

    return router
