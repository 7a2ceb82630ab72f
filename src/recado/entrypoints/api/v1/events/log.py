"""Events: what happened, to be asked for or listened to."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, suppress
from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Header, Query
from fastapi.responses import StreamingResponse
from pydantic import Field

from recado.core.event_log.following import EventFollowing, TooSlow
from recado.core.event_log.models import Event, EventType
from recado.core.event_log.reading import EventReading
from recado.entrypoints.api.door.models import EXAMPLE_ID, Limit, Output, PageOf
from recado.entrypoints.api.door.openapi import problems
from recado.entrypoints.api.door.routes import Door
from recado.events.rendering import rendered
from recado.identity.principal import Principal

_MOST_KNOWN: Final = 1_000
STREAM_SECONDS: Final = 900.0
"""A stream ends after this time; its reader comes again, and shows again that it may."""

After = Annotated[
    str | None, Query(max_length=200, description="The id of the last event that you have. Without it the log begins.")
]
LastEventId = Annotated[
    str | None,
    Header(
        alias="Last-Event-ID",
        max_length=200,
        description="Go on after this event; clients send it by themselves. Without it the stream begins now.",
    ),
]
_STREAM: Final[Mapping[int | str, dict[str, Any]]] = {
    200: {
        "description": "Server-sent events: `id` is the event's id, `event` its type, `data` the event as JSON.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}


class EventView(Output):
    """Something that happened. It names what it is about by ids."""

    id: UUID = Field(examples=[EXAMPLE_ID])
    type: EventType = Field(examples=["outcome.decided"])
    timestamp: datetime
    owner_id: UUID = Field(examples=[EXAMPLE_ID])
    data: dict[str, str | None] = Field(examples=[{"conversation_id": EXAMPLE_ID, "outcome": "answered"}])


def events_router(door: Door, reading: EventReading, following: EventFollowing) -> APIRouter:
    router, sent = door.router("events"), ServerSentEvents()

    @router.get(
        "/events",
        summary="Read what happened",
        description="The oldest first, for 30 days. When `next_cursor` is null, ask again later after the last event.",
        responses=problems(410),
    )
    async def list_events(
        principal: Annotated[Principal, door.allows("events.read")], limit: Limit = 100, after: After = None
    ) -> PageOf[EventView]:
        page = await reading.page(principal.owner_id, after=after, limit=limit)
        items = [EventView.model_validate(rendered(event)) for event in page.items]
        return PageOf(items=items, next_cursor=page.next_cursor)

    @router.get(
        "/events/stream",
        summary="Listen to what happens",
        description="Nothing is missed after a reconnection with `Last-Event-ID`. A stream ends after a quarter of an "
        "hour, or when its reader is too slow; connect again.",
        response_class=StreamingResponse,
        responses={**problems(410), **_STREAM},
    )
    async def stream(
        principal: Annotated[Principal, door.allows("events.read")], last_event_id: LastEventId = None
    ) -> StreamingResponse:
        followed = following.follow(principal.owner_id, last_event_id)
        await anext(followed)  # What is wrong with the cursor is said before the stream begins.
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(_streamed(followed, sent), media_type="text/event-stream", headers=headers)

    return router


async def _streamed(followed: AsyncGenerator[Sequence[Event], None], sent: "ServerSentEvents") -> AsyncIterator[bytes]:
    """Yield events as they come, and comments in quiet times, until the stream has lasted long enough."""
    ends = asyncio.get_running_loop().time() + STREAM_SECONDS
    async with aclosing(followed):
        yield b"retry: 1000\n\n"
        with suppress(TooSlow):
            async for events in followed:
                yield b"".join(map(sent.of, events)) or b": nothing new\n\n"
                if asyncio.get_running_loop().time() >= ends:
                    return


class ServerSentEvents:
    """Events as they are sent to listeners. Each is written once, for all who listen."""

    def __init__(self) -> None:
        self._known: dict[UUID, bytes] = {}

    def of(self, event: Event) -> bytes:
        """Return an event as it is sent."""
        found = self._known.get(event.id)
        if found is None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            body = json.dumps(rendered(event), ensure_ascii=False, separators=(",", ":"))
            found = self._known[event.id] = f"id: {event.id}\nevent: {event.type}\ndata: {body}\n\n".encode()
        return found
