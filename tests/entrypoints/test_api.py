"""What the server tells those who run it: its metrics, and whether it can serve."""

import asyncio
import shutil
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TypedDict
from urllib.parse import urlencode

import httpx2
import pytest
from argon2 import PasswordHasher
from sqlalchemy import text

from recado.bootstrap import Container
from recado.channels.twilio.accounts import NewNumber
from recado.channels.twilio.webhook import form as forms
from recado.channels.twilio.webhook.signature import sign
from recado.conversation.values import AccountSid, Address
from recado.core.clock import FrozenClock
from recado.core.queue.delivery import BrokerState, Room, WakeUp
from recado.entrypoints.api import build_app
from recado.entrypoints.worker import close
from recado.identity.passwords import Passwords
from recado.identity.service import IdentityService, Registration
from recado.operations.exposition import CONTENT_TYPE
from recado.settings import Settings

PUBLIC = "https://recado.example"
ACCOUNT, TOKEN, OURS, ANA = "AC" + "a" * 32, "a" * 32, "whatsapp:+5511900000001", "whatsapp:+5511987654321"
MESSAGES = "/webhooks/twilio/messages"
WORDS = "o bolo de cenoura"


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


def settings_in(folder: Path, key: str | None = None) -> Settings:
    return Settings(
        database_url=f"sqlite:///{folder}/recado.db", public_url=PUBLIC, secret_key=bytes(32), internal_api_key=key
    )


@pytest.fixture
async def container(empty_database: Path, tmp_path: Path, clock: FrozenClock) -> AsyncIterator[Container]:
    shutil.copy(empty_database, tmp_path / "recado.db")
    container = Container(settings=settings_in(tmp_path))
    weak = Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    with container.clock.override(clock):
        identity = IdentityService(container.database(), clock, container.ids(), weak)
        registered = await identity.register_organization(Registration("Padaria", "a@recado.example", "pão às seis"))
        await container.numbers().add(registered.owner_id, NewNumber(AccountSid(ACCOUNT), TOKEN, Address(OURS)))
        yield container
        await close(container)


@pytest.fixture
async def client(container: Container) -> AsyncIterator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(app=build_app(container), raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url=PUBLIC) as client:
        yield client


async def posts(client: httpx2.AsyncClient, token: str = TOKEN, path: str = MESSAGES, **changed: str) -> int:
    form = {"AccountSid": ACCOUNT, "MessageSid": "SM" + "1" * 32, "From": ANA, "To": OURS, "Body": WORDS, **changed}
    raw = urlencode(form).encode()
    pairs = forms.parse(raw)
    assert isinstance(pairs, tuple)
    headers = {"X-Twilio-Signature": sign(token, PUBLIC + path, pairs)}
    return (await client.post(path, content=raw, headers=headers)).status_code


async def metrics(client: httpx2.AsyncClient) -> str:
    response = await client.get("/metrics")
    assert (response.status_code, response.headers["content-type"]) == (200, CONTENT_TYPE)
    return response.text


class TestMetrics:
    async def test_count_the_answers_given_to_twilio(self, client: httpx2.AsyncClient) -> None:
        await posts(client)
        await posts(client, Body="")
        await posts(client, MessageSid="nonsense")

        told = await metrics(client)

        assert 'recado_webhook_answers_total{endpoint="messages",status="200"} 2.0' in told
        assert 'recado_webhook_answers_total{endpoint="messages",status="400"} 1.0' in told
        assert "recado_messages_accepted_total 1.0" in told
        assert 'recado_jobs{status="collecting"} 1.0' in told

    async def test_count_what_could_not_be_stored(self, container: Container, client: httpx2.AsyncClient) -> None:
        await container.database().write(lambda uow: uow.execute(text("DROP TABLE lanes")).close(), owner=None)
        assert await posts(client) == 500

        told = await metrics(client)

        assert 'recado_webhook_answers_total{endpoint="messages",status="500"} 1.0' in told
        assert "recado_database_readable 0.0" in told

    async def test_count_refusals_of_an_account_that_is_stored(self, client: httpx2.AsyncClient) -> None:
        assert await posts(client, token="b" * 32) == 403
        assert await posts(client, token="b" * 32, To="whatsapp:+5511900000009") == 403
        assert f'recado_webhook_forbidden_total{{account="{ACCOUNT}"}} 2.0' in await metrics(client)

    async def test_count_whatever_else_is_refused_under_one_name(self, client: httpx2.AsyncClient) -> None:
        """Anybody may post forms: what they call themselves must make no series."""
        for number in range(3):
            made_up = f"AC{number:032x}"
            assert await posts(client, AccountSid=made_up, To="whatsapp:+5511900000009") == 403
        assert await posts(client, AccountSid=ACCOUNT.upper(), To="whatsapp:+5511900000009") == 403
        assert await posts(client, path="/webhooks/twilio/status/nothing") == 403

        told = await metrics(client)

        assert 'recado_webhook_forbidden_total{account="unknown"} 5.0' in told
        assert told.count("\nrecado_webhook_forbidden_total{") == 1

    async def test_hold_nothing_of_a_customer(self, client: httpx2.AsyncClient) -> None:
        await posts(client)
        await posts(client, token="b" * 32)

        told = await metrics(client)

        assert "cenoura" not in told
        assert "55119" not in told

    async def test_want_the_key_that_is_set(self, container: Container, tmp_path: Path) -> None:
        container.settings.override(settings_in(tmp_path, key="the key"))
        transport = httpx2.ASGITransport(app=build_app(container))
        async with httpx2.AsyncClient(transport=transport, base_url=PUBLIC) as client:
            refused = await client.get("/metrics", headers={"Authorization": "Bearer another"})
            shown = await client.get("/metrics", headers={"Authorization": "Bearer the key"})
        assert (refused.status_code, refused.text, shown.status_code) == (401, "", 200)


class SilentBell:
    """A delivery that brings nothing."""

    async def publish(self, wakeups: Sequence[WakeUp]) -> None:
        raise AssertionError(wakeups)

    async def receive(self, room: Room) -> AsyncGenerator[WakeUp, None]:
        nothing: list[WakeUp] = []
        for wakeup in nothing[: room()]:
            yield wakeup

    async def close(self) -> None:
        """Nothing is open."""


class ScriptedBroker(SilentBell):
    """Says of itself what it is told to; hangs when that is nothing."""

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
    async def test_without_a_broker_speaks_of_none(self, client: httpx2.AsyncClient) -> None:
        response = await client.get("/readyz")
        assert (response.status_code, response.json()) == (200, {"status": "ready", "why": None})

    @pytest.mark.parametrize("table", ["alembic_version", "twilio_accounts", "cron_slots"])
    async def test_of_a_database_that_lost_a_table_is_no_mistake_of_ours(
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

    async def test_hears_at_last_what_a_slow_broker_answers(self, container: Container) -> None:
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
