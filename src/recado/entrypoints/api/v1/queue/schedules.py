"""Schedules: what Recado does by itself at fixed times. They are of the installation, so they are not changed here."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Protocol

from fastapi import APIRouter
from pydantic import Field

from recado.core.queue.cron import ScheduleListing
from recado.entrypoints.api.door.models import Output, PageOf
from recado.entrypoints.api.door.routes import Door
from recado.identity.principal import Principal


class ScheduleView(Output):
    """A schedule."""

    id: str = Field(examples=["idle_conversations"])
    when: str = Field(examples=["every 1 min"])
    time_zone: str = Field(examples=["UTC"])
    enabled: bool
    last_slot: datetime | None
    next_slot: datetime | None = Field(description="Null while it is off.")


class ScheduleReader(Protocol):
    """What this router calls."""

    async def list(self) -> Sequence[ScheduleListing]: ...


def schedules_router(door: Door, schedules: ScheduleReader) -> APIRouter:
    router = door.router("schedules")

    @router.get("/schedules", summary="List the schedules")
    async def list_schedules(
        principal: Annotated[Principal, door.allows("schedules.read")],  # noqa: ARG001 - it is the same for every caller
    ) -> PageOf[ScheduleView]:
        return PageOf(items=[_view(each) for each in await schedules.list()], next_cursor=None)

    return router


def _view(listing: ScheduleListing) -> ScheduleView:
    return ScheduleView(
        id=listing.schedule.name,
        when=listing.schedule.in_words(),
        time_zone=listing.schedule.time_zone,
        enabled=listing.schedule.enabled,
        last_slot=listing.last_slot,
        next_slot=listing.next_slot,
    )
