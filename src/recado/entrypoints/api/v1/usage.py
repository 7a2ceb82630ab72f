"""Usage: messages, runs of agents and tokens, by day and by month."""

from datetime import date
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from recado.entrypoints.api.door.models import Output, PageOf
from recado.entrypoints.api.door.routes import Door
from recado.identity.principal import Principal
from recado.operations.usage.service import Period, UsageService

DAYS = 31
"""What is told when the request names no days."""

Since = Annotated[date | None, Query(alias="from", description="The first day. Default: a month before the last.")]
Until = Annotated[date | None, Query(alias="to", description="The last day. Default: today.")]


class UsageView(Output):
    """What was used in a day or a month of UTC."""

    id: str = Field(examples=["2026-03-14"], validation_alias="period")
    messages_received: int
    messages_sent: int = Field(description="Parts of answers that the provider accepted.")
    agent_runs: int
    input_tokens: int
    output_tokens: int


def usage_router(door: Door, usage: UsageService) -> APIRouter:
    router = door.router("usage")

    @router.get(
        "/usage",
        summary="Count what was used",
        description="Days without use are left out. The counts are made every hour.",
    )
    async def list_usage(
        principal: Annotated[Principal, door.allows("usage.read")],
        since: Since = None,
        until: Until = None,
        by: Annotated[Period, Query(description="Whether the sums are of days or of months.")] = "day",
    ) -> PageOf[UsageView]:
        last = until or usage.today()
        first = since or date.fromordinal(max(1, last.toordinal() - DAYS + 1))
        found = await usage.used(principal.owner_id, first, last, by)
        return PageOf(items=[UsageView.model_validate(each) for each in found], next_cursor=None)

    return router
