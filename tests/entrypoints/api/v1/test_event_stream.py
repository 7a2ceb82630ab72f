"""`GET /api/v1/events` and its stream, as a program sees them."""

import asyncio
import json
from collections.abc import Mapping

import httpx2
from starlette.types import Message, Scope

from recado.bootstrap import Container
from recado.bootstrap.databases import event_signals_of
from recado.core.database.changes import Changes
from recado.core.event_log.following import EventFollowing, FollowLimits
from recado.entrypoints.api.app import build_app
from tests.support.callers import KnownCallers
from tests.support.patience import PATIENCE
from tests.world import World

EVENTS = "/api/v1/events"


class Stream:
    """One request whose answer is read while it comes."""

    def __init__(self, container: Container, headers: Mapping[str, str]) -> None:
        self.status = 0
        self._read: asyncio.Queue[bytes] = asyncio.Queue()
        self._left = asyncio.Event()
        self._asked = False
        scope: Scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "https",
            "path": f"{EVENTS}/stream",
            "raw_path": f"{EVENTS}/stream".encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
            "client": ("127.0.0.1", 5),
            "server": ("recado.example", 443),
        }
        self.task = asyncio.create_task(self._run(container, scope))

    async def _run(self, container: Container, scope: Scope) -> None:
        await build_app(container)(scope, self._receive, self._send)

    async def _receive(self) -> dict[str, object]:
        if self._asked:
            await self._left.wait()
            return {"type": "http.disconnect"}
        self._asked = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        else:
            self._read.put_nowait(message["body"])

    async def next(self) -> str:
        """Return the next piece of the answer."""
        async with asyncio.timeout(PATIENCE):
            return (await self._read.get()).decode()

    async def leave(self) -> None:
        self._left.set()
        async with asyncio.timeout(PATIENCE):
            await self.task


async def test_events_are_read_page_by_page(api: httpx2.AsyncClient, callers: KnownCallers, world: World) -> None:
    await world.says("oi")
    headers = callers.role(world.owner_id, "viewer")
    first = (await api.get(EVENTS, headers=headers, params={"limit": 3})).json()
    assert [each["type"] for each in first["items"]] == ["message.received", "conversation.opened", "message.sent"]
    rest = (await api.get(EVENTS, headers=headers, params={"after": first["next_cursor"]})).json()
    assert ([each["type"] for each in rest["items"]], rest["next_cursor"]) == (["outcome.decided"], None)


async def test_a_cursor_that_is_not_in_the_log_is_410(
    api: httpx2.AsyncClient, callers: KnownCallers, world: World
) -> None:
    headers = callers.role(world.owner_id, "viewer")
    answer = await api.get(EVENTS, headers=headers, params={"after": str(world.ids.new())})
    assert (answer.status_code, answer.json()["code"]) == (410, "events.cursor_unknown")


async def test_the_stream_goes_on_after_the_last_event(
    container: Container, callers: KnownCallers, world: World
) -> None:
    headers = callers.role(world.owner_id, "viewer")
    stream = Stream(container, headers)
    assert await stream.next() == "retry: 1000\n\n"
    await world.says("oi")
    told = await stream.next()
    await stream.leave()
    lines = dict(line.split(": ", 1) for line in told.split("\n\n")[0].split("\n"))
    assert (stream.status, lines["event"], json.loads(lines["data"])["id"]) == (200, "message.received", lines["id"])

    again = Stream(container, {**headers, "Last-Event-ID": lines["id"]})
    await again.next()
    assert "event: conversation.opened" in await again.next()
    await again.leave()


async def test_the_stream_needs_to_know_who_listens_and_from_where(
    container: Container, callers: KnownCallers, world: World
) -> None:
    nobody = Stream(container, {})
    await nobody.task
    lost = Stream(container, {**callers.role(world.owner_id, "viewer"), "Last-Event-ID": str(world.ids.new())})
    await lost.task
    assert (nobody.status, lost.status) == (401, 410)


async def test_a_stream_ends_soon_after_its_reader_may_not_listen(
    container: Container, callers: KnownCallers, world: World
) -> None:
    limits = FollowLimits(quiet_seconds=0.01)
    following = EventFollowing(container.event_reading(), event_signals_of(world.database, Changes()), limits)
    headers = callers.role(world.owner_id, "viewer")
    with container.event_following.override(following):
        stream = Stream(container, headers)
        assert [await stream.next() for _ in range(2)] == ["retry: 1000\n\n", ": nothing new\n\n"]
        callers.forget()
        async with asyncio.timeout(PATIENCE):
            await stream.task
    assert not following.is_at_work


async def test_more_streams_than_an_owner_may_have_are_429(
    container: Container, callers: KnownCallers, world: World
) -> None:
    limits = FollowLimits(of_one_owner=1)
    following = EventFollowing(container.event_reading(), event_signals_of(world.database, Changes()), limits)
    headers = callers.role(world.owner_id, "viewer")
    with container.event_following.override(following):
        one = Stream(container, headers)
        await one.next()
        other = Stream(container, headers)
        await other.task
        await one.leave()
    assert (one.status, other.status) == (200, 429)
