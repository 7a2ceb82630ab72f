"""Readiness of the server, and the state of its broker."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TypedDict

import httpx2
import pytest
from sqlalchemy import text

from recado.bootstrap import Container
from recado.core.clock import FrozenClock
from recado.core.queue.wakeups.contract import BrokerState, Room, WakeUp
from recado.entrypoints.api.app import build_app
from tests.entrypoints.api.conftest import PUBLIC, posts, settings_in


class ToldOfBroker(TypedDict):
    name: str
    reachable: bool | None
    warnings: list[str]
    detail: dict[str, str]


class Told(TypedDict):
    """What `/readyz` answers."""

    status: str
    why: str | None
    broker: ToldOfBroker


class SilentDelivery:
    """A delivery without wake-ups."""

    async def publish(self, wakeups: Sequence[WakeUp]) -> None:
        raise AssertionError(wakeups)

    async def receive(self, room: Room) -> AsyncGenerator[WakeUp, None]:
        nothing: list[WakeUp] = []
        for wakeup in nothing[: room()]:
            yield wakeup

    async def close(self) -> None:
        """Nothing is open."""


class ScriptedBroker(SilentDelivery):
    """A broker with a given state; without one it does not answer."""

    def __init__(self, state: BrokerState | None) -> None:
        self.told = state
        self.asked = 0
        self._answering = asyncio.Event()
        if state is not None:
            self._answering.set()

    def answers(self, state: BrokerState) -> None:
        self.told = state
        self._answering.set()

    async def state(self) -> BrokerState:
        self.asked += 1
        await self._answering.wait()
        assert self.told is not None
        return self.told


WELL = BrokerState("bullmq", True, (), (("maxmemory_policy", "noeviction"), ("persistence", "aof")))


ILL = BrokerState("bullmq", False, ("Redis cannot be reached: see RECADO_REDIS_URL.",))


class TestReadiness:
    async def test_without_a_broker_mentions_none(self, client: httpx2.AsyncClient) -> None:
        response = await client.get("/readyz")
        assert (response.status_code, response.json()) == (200, {"status": "ready", "why": None})

    @pytest.mark.parametrize("table", ["alembic_version", "owners", "cron_slots"])
    async def test_of_a_database_without_a_table_is_unready_and_no_error(
        self, container: Container, client: httpx2.AsyncClient, clock: FrozenClock, table: str
    ) -> None:
        await container.database().write(
            lambda uow: uow.execute(text(f"ALTER TABLE {table} RENAME TO elsewhere")).close(), owner=None
        )
        clock.advance(timedelta(minutes=1))
        response = await client.get("/readyz")
        assert (response.status_code, response.json()["status"]) == (503, "unready")
        assert table in response.json()["why"]

    async def test_under_another_key_is_refused_as_the_webhooks_are(
        self, client: httpx2.AsyncClient, tmp_path: Path
    ) -> None:
        assert (await client.get("/readyz")).status_code == 200
        other = Container(settings=replace(settings_in(tmp_path), secret_key=b"\x01" * 32))
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(build_app(other)), base_url=PUBLIC) as behind:
            assert await posts(behind) == 503
            response = await behind.get("/readyz")
        await other.database().close()
        assert (response.status_code, response.json()["status"]) == (503, "unready")
        assert "RECADO_SECRET_KEY" in response.json()["why"]

    async def test_tells_how_the_broker_is(self, container: Container) -> None:
        status, told = await readiness(container, ScriptedBroker(WELL))
        assert (status, told["status"]) == (200, "ready")
        assert told["broker"] == {
            "name": "bullmq",
            "reachable": True,
            "warnings": [],
            "detail": {"maxmemory_policy": "noeviction", "persistence": "aof"},
        }

    async def test_is_not_lost_with_the_broker(self, container: Container) -> None:
        status, told = await readiness(container, ScriptedBroker(ILL))
        assert (status, told["status"]) == (200, "ready")
        assert told["broker"] == {"name": "bullmq", "reachable": False, "warnings": list(ILL.warnings), "detail": {}}

    async def test_does_not_call_a_broker_lost_that_has_not_answered_yet(self, container: Container) -> None:
        """The first use imports its client and connects, which may take seconds on a small machine."""
        container.settings.override(replace(container.settings(), queue_backend="bullmq"))
        status, told = await readiness(container, ScriptedBroker(None))
        assert (status, told["status"]) == (200, "ready")
        assert told["broker"] == {
            "name": "bullmq",
            "reachable": None,
            "warnings": ["It has not answered yet."],
            "detail": {},
        }

    async def test_calls_a_broker_lost_that_is_silent_for_long(self, container: Container, clock: FrozenClock) -> None:
        container.settings.override(replace(container.settings(), queue_backend="bullmq"))
        broker = ScriptedBroker(None)
        async with probing(container, broker) as client:
            await client.get("/readyz")
            clock.advance(timedelta(seconds=6))
            told = (await client.get("/readyz")).json()["broker"]
        assert (told["reachable"], told["warnings"]) == (False, ["It did not answer within 6 s."])
        assert broker.asked == 1

    async def test_shows_the_answer_of_a_slow_broker_when_it_arrives(self, container: Container) -> None:
        broker = ScriptedBroker(None)
        async with probing(container, broker) as client:
            assert (await client.get("/readyz")).json()["broker"]["reachable"] is None
            broker.answers(WELL)
            assert (await client.get("/readyz")).json()["broker"]["reachable"] is True
        assert broker.asked == 1

    async def test_asks_the_broker_every_few_seconds_only(self, container: Container, clock: FrozenClock) -> None:
        broker = ScriptedBroker(ILL)
        await readiness(container, broker, probes=10)
        assert broker.asked == 1

        broker.told = WELL
        clock.advance(timedelta(seconds=5))
        _, told = await readiness(container, broker, probes=10)

        assert broker.asked == 2
        assert told["broker"]["reachable"] is True


@asynccontextmanager
async def probing(container: Container, broker: ScriptedBroker) -> AsyncIterator[httpx2.AsyncClient]:
    container.broker.override(broker)
    transport = httpx2.ASGITransport(app=build_app(container))
    async with httpx2.AsyncClient(transport=transport, base_url=PUBLIC) as client:
        yield client


async def readiness(container: Container, broker: ScriptedBroker, probes: int = 1) -> tuple[int, Told]:
    async with probing(container, broker) as client:
        answers = await asyncio.gather(*(client.get("/readyz") for _ in range(probes)))
    return answers[-1].status_code, answers[-1].json()
