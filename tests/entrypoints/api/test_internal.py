"""`/internal/tick` on the whole application, over both databases."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

import httpx2
import pytest
import structlog.testing

from recado.bootstrap import SCHEDULES, Container
from recado.channels.twilio.webhook.routes import TwilioWebhooks
from recado.conversation.values import Address
from recado.core.clock import FrozenClock
from recado.core.database.engine import Database
from recado.core.ids import UuidV7
from recado.entrypoints.api.app import build_app
from recado.settings import Settings
from tests.world import World

ON_BOTH_DATABASES = True

KEY = "um segredo só nosso"
BEARER = {b"Authorization": f"Bearer {KEY}".encode()}


@pytest.fixture
async def world(database: Database, clock: FrozenClock, ids: UuidV7) -> World:
    return await World.open(database, clock, ids)


@asynccontextmanager
async def serving(world: World, key: str | None = KEY) -> AsyncIterator[httpx2.AsyncClient]:
    """The application over the world's database, in front of its provider and its agent."""
    settings = Settings(
        database_url=world.database.url,
        public_url="https://bot.example",
        secret_key=bytes(32),
        internal_api_key=key,
    )
    container = Container(settings=settings)
    container.clock.override(world.clock)
    container.database.override(world.database)
    container.agents.override(world.agents)
    container.channels.override(world.channels)
    app = build_app(container)
    assert isinstance(app, TwilioWebhooks)
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://recado") as client:
        yield client
    container.heartbeat().close()


async def test_ten_at_once_make_each_slot_into_exactly_one_job(world: World, clock: FrozenClock) -> None:
    people = [Address(f"whatsapp:+55119876543{n:02}") for n in range(5)]
    for who in people:
        await world.receives("oi", who)
    clock.advance(timedelta(seconds=2))
    async with serving(world) as client:
        first = await _ticks(client, 10)
        again = await _ticks(client, 10)
    jobs = await world.rows(
        "SELECT j.name, count(*) AS n FROM message_queue j JOIN lanes l ON l.lane = j.lane WHERE l.kind = 'schedule'"
        " GROUP BY j.name"
    )
    assert {(row["name"], row["n"]) for row in jobs} == {(schedule.name, 1) for schedule in SCHEDULES}
    assert sum(each["slots_made"] for each in first) == len(SCHEDULES)
    assert sum(each["jobs"] for each in first) == len(SCHEDULES) + 2 * len(people)
    assert again == [dict.fromkeys(first[0], 0)] * 10
    assert [world.sent_texts(who) for who in people] == [["echo: oi"]] * 5
    assert (await world.verify()).violations == []


async def _ticks(client: httpx2.AsyncClient, count: int) -> Sequence[Mapping[str, float]]:
    answers = await asyncio.gather(*[client.post("/internal/tick", headers=BEARER) for _ in range(count)])
    assert {answer.status_code for answer in answers} == {200}
    return [answer.json() for answer in answers]


@pytest.mark.sqlite_only
class TestWhoIsAllowed:
    @pytest.mark.parametrize("method", ["GET", "POST"])
    async def test_a_caller_with_the_key(self, world: World, method: str) -> None:
        async with serving(world) as client:
            answer = await client.request(method, "/internal/tick", headers=BEARER)
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")

    @pytest.mark.parametrize(
        "header", [None, "", "Bearer", "Bearer um", f"Basic {KEY}".encode(), KEY.encode(), f"Bearer {KEY}x".encode()]
    )
    async def test_no_other_caller(self, world: World, header: str | bytes | None) -> None:
        given = header.encode() if isinstance(header, str) else header
        headers = {} if given is None else {b"Authorization": given}
        async with serving(world) as client:
            with structlog.testing.capture_logs() as logs:
                for _ in range(3):
                    answer = await client.get("/internal/tick?seconds=nonsense", headers=headers)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert answer.json()["error"]["code"] == "internal.unauthorized"
        [line] = logs  # One for all three: anyone can send these without end.
        assert line == {"event": "internal.refused", "path": "/internal/tick", "times": 1, "log_level": "warning"}

    @pytest.mark.parametrize("header", ["Bearer ", "Bearer None", "Bearer x"])
    async def test_no_caller_while_no_key_is_set(self, world: World, header: str) -> None:
        async with serving(world, key=None) as client:
            answer = await client.get("/internal/tick", headers={"Authorization": header})
        assert answer.status_code == 403
        assert answer.json()["error"] == {
            "code": "internal.closed",
            "message": "/internal/ refuses every caller until RECADO_INTERNAL_API_KEY is set",
        }


@pytest.mark.sqlite_only
class TestParameters:
    @pytest.mark.parametrize("query", ["seconds=0", "seconds=301", "seconds=nan", "seconds=", "seconds=x", "linger=2"])
    async def test_that_makes_no_sense_gets_a_sentence(self, world: World, query: str) -> None:
        async with serving(world) as client:
            answer = await client.post(f"/internal/tick?{query}", headers=BEARER)
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "core.invalid_input")

    async def test_by_other_methods_is_refused(self, world: World) -> None:
        async with serving(world) as client:
            assert (await client.put("/internal/tick", headers=BEARER)).status_code == 405

    async def test_while_the_database_is_gone_gets_503(self, world: World) -> None:
        async with serving(world) as client:
            await world.database.close()
            answer = await client.post("/internal/tick", headers=BEARER)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "core.storage")
