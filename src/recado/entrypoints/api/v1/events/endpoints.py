"""Event endpoints: your servers to which events are sent."""

from datetime import datetime
from typing import Annotated, ClassVar
from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import Field

from recado.core.event_log.models import EventType
from recado.entrypoints.api.door.etags import IfMatch, tagged
from recado.entrypoints.api.door.models import EXAMPLE_ID, Input, Output, PageOf
from recado.entrypoints.api.door.openapi import problems
from recado.entrypoints.api.door.routes import Door
from recado.events.models import DisabledReason, Endpoint, EndpointState
from recado.events.reading import EndpointReading
from recado.events.service import EndpointService, EndpointWithSecret, NewEndpoint
from recado.identity.models import UNSET
from recado.identity.principal import Principal

_URL = "https://crm.example/recado"
_WHICH = "Only these types; null: all, also those of later releases."


class EndpointView(Output):
    """A server of yours to which events are sent."""

    id: UUID = Field(examples=[EXAMPLE_ID])
    url: str = Field(examples=[_URL])
    types: list[EventType] | None = Field(description=_WHICH)
    state: EndpointState = Field(description="`failing`: only a trial is sent from time to time.")
    failing_since: datetime | None
    disabled_at: datetime | None
    disabled_reason: DisabledReason | None = Field(description="`failing` for three days, `gone` (410) or `by_person`.")
    created_at: datetime
    created_by: str

    NOT_IN_ETAG: ClassVar = frozenset({"state", "failing_since"})

    @classmethod
    def of(cls, endpoint: Endpoint) -> "EndpointView":
        """Return an endpoint without its secrets."""
        return cls(
            id=endpoint.id,
            url=endpoint.url,
            types=None if endpoint.types is None else list(endpoint.types),
            state=endpoint.state,
            failing_since=endpoint.failing_since,
            disabled_at=endpoint.disabled_at,
            disabled_reason=endpoint.disabled_reason,
            created_at=endpoint.created_at,
            created_by=endpoint.created_by,
        )


class EndpointSecretView(Output):
    """An endpoint with its secret, which is shown only now."""

    endpoint: EndpointView
    secret: str = Field(examples=["whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="])

    @classmethod
    def shown(cls, made: EndpointWithSecret) -> "EndpointSecretView":
        """Return what was made."""
        return cls(endpoint=EndpointView.of(made.endpoint), secret=made.secret)


class EndpointInput(Input):
    """A server to which events are to be sent."""

    url: str = Field(max_length=2000, examples=[_URL])
    types: list[EventType] | None = Field(default=None, description=_WHICH)


class EndpointChange(Input):
    """What to change. What is not named stays."""

    url: str | None = Field(default=None, max_length=2000, examples=[_URL])
    types: list[EventType] | None = Field(default=None, description=_WHICH)


def event_endpoints_router(door: Door, service: EndpointService, reading: EndpointReading) -> APIRouter:
    router = door.router("endpoints")

    @router.get("/endpoints", summary="List where your events are sent")
    async def list_endpoints(principal: Annotated[Principal, door.allows("endpoints.read")]) -> PageOf[EndpointView]:
        found = await reading.endpoints(principal.owner_id)
        return PageOf(items=[EndpointView.of(each) for each in found], next_cursor=None)

    @router.post("/endpoints", summary="Add an endpoint", status_code=201, responses=problems(409))
    async def add_endpoint(
        principal: Annotated[Principal, door.allows("endpoints.write")], body: EndpointInput
    ) -> EndpointSecretView:
        return EndpointSecretView.shown(await service.add(principal, NewEndpoint(body.url, body.types)))

    @router.get("/endpoints/{endpoint_id}", summary="Read an endpoint")
    async def read_endpoint(
        principal: Annotated[Principal, door.allows("endpoints.read")], endpoint_id: UUID, response: Response
    ) -> EndpointView:
        return tagged(response, EndpointView.of(await reading.require(principal.owner_id, endpoint_id)))

    @router.patch("/endpoints/{endpoint_id}", summary="Change an endpoint", responses=problems(412, 428))
    async def change_endpoint(
        principal: Annotated[Principal, door.allows("endpoints.write", knows=reading.require)],
        endpoint_id: UUID,
        if_match: IfMatch,
        body: EndpointChange,
        response: Response,
    ) -> EndpointView:
        changed = await service.change(
            principal,
            endpoint_id,
            url=UNSET if body.url is None else body.url,
            types=body.types if "types" in body.model_fields_set else UNSET,
            check=lambda stored: if_match.check(EndpointView.of(stored)),
        )
        return tagged(response, EndpointView.of(changed))

    @router.delete("/endpoints/{endpoint_id}", summary="Remove an endpoint", status_code=204)
    async def remove_endpoint(
        principal: Annotated[Principal, door.allows("endpoints.write")], endpoint_id: UUID
    ) -> None:
        await service.remove(principal, endpoint_id)

    @router.post("/endpoints/{endpoint_id}/disable", summary="Switch an endpoint off")
    async def disable_endpoint(
        principal: Annotated[Principal, door.allows("endpoints.write")], endpoint_id: UUID
    ) -> EndpointView:
        return EndpointView.of(await service.disable(principal, endpoint_id))

    @router.post("/endpoints/{endpoint_id}/enable", summary="Switch an endpoint on")
    async def enable_endpoint(
        principal: Annotated[Principal, door.allows("endpoints.write")], endpoint_id: UUID
    ) -> EndpointView:
        return EndpointView.of(await service.enable(principal, endpoint_id))

    @router.post(
        "/endpoints/{endpoint_id}/rotate",
        summary="Make a new secret",
        description="The one before signs beside it for 24 hours.",
    )
    async def rotate_secret(
        principal: Annotated[Principal, door.allows("endpoints.write")], endpoint_id: UUID
    ) -> EndpointSecretView:
        return EndpointSecretView.shown(await service.rotate(principal, endpoint_id))

    return router
