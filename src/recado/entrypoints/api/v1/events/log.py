"""Events: what happened, to be asked for or listened to."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, suppress
from datetime import datetime
from functools import partial
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import Field
from starlette.types import Receive, Scope, Send

from recado.core.event_log.following import EventFollowing, TooSlow
from recado.core.event_log.models import Event, EventType
from recado.core.event_log.reading import EventReading
from recado.entrypoints.api.door.models import DEFAULT_LIMIT, EXAMPLE_ID, Limit, Output, PageOf
from recado.entrypoints.api.door.openapi import problems
from recado.entrypoints.api.door.routes import Door
from recado.events.wire.rendering import rendered
from recado.identity.principal import Principal

_MOST_KNOWN: Final = 1_000
STREAM_SECONDS: Final = 900.0
"""A stream ends after this time; its reader comes again, and shows again that it may."""
CHECK_SECONDS: Final = 15.0
"""How often a stream asks whether its reader may still listen: a key may be revoked and a user disabled."""

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
        principal: Annotated[Principal, door.allows("events.read")], limit: Limit = DEFAULT_LIMIT, after: After = None
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
        request: Request,
        principal: Annotated[Principal, door.allows("events.read")],
        last_event_id: LastEventId = None,
    ) -> EventStream:
        async with AsyncExitStack() as until_sent:
            followed = following.follow(principal.owner_id, last_event_id)
            await until_sent.enter_async_context(aclosing(followed))
            await anext(followed)  # What is wrong is said before the stream begins.
            still_allowed = partial(door.still_allows, request, "events.read")
            return EventStream(_streamed(followed, sent, still_allowed), until_sent.pop_all())

    return router


class EventStream(StreamingResponse):
    """A stream that leaves nothing open, even if its reader is gone before it begins."""

    media_type = "text/event-stream"

    def __init__(self, content: AsyncIterator[bytes], until_sent: AsyncExitStack) -> None:
        super().__init__(content, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        self._until_sent = until_sent

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._until_sent:
            await super().__call__(scope, receive, send)


async def _streamed(
    followed: AsyncIterator[Sequence[Event]],
    sent: "ServerSentEvents",
    still_allowed: Callable[[], Awaitable[bool]],
) -> AsyncIterator[bytes]:
    """Yield events as they come, and comments in quiet times, until its time is over or its reader may not listen."""
    clock = asyncio.get_running_loop().time
    ends, checked = clock() + STREAM_SECONDS, clock()
    yield b"retry: 1000\n\n"
    with suppress(TooSlow):
        async for events in followed:
            if not events or clock() >= checked + CHECK_SECONDS:
                checked = clock()
                if not await still_allowed():
                    return
            yield b"".join(map(sent.of, events)) or b": nothing new\n\n"
            if clock() >= ends:
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
