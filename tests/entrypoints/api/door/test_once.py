"""A request with an `Idempotency-Key` that is sent again."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from typing import Annotated, Final
from uuid import UUID

import httpx2
import pytest

from recado.core.clock import FrozenClock
from recado.core.database.engine import Database
from recado.core.errors import Conflict
from recado.core.ids import UuidV7
from recado.core.queue.transactions import Transactions, UnlockedTransaction
from recado.entrypoints.api.door.authentication import Callers
from recado.entrypoints.api.door.models import Input, Output
from recado.entrypoints.api.door.once import Once, Then
from recado.entrypoints.api.door.openapi import Api
from recado.entrypoints.api.door.problems import add_problems
from recado.entrypoints.api.door.rates import Policy, Rates
from recado.entrypoints.api.door.routes import Door
from recado.identity.idempotency.service import IdempotencyService
from recado.identity.principal import Principal
from tests.support.callers import KnownCallers

ON_BOTH_DATABASES = True

MINE, THEIRS = UUID(int=1), UUID(int=2)
URL: Final = "https://recado.example"
KEY: Final = {"Idempotency-Key": "pedido-1"}


class Order(Input):
    text: str


class OrderView(Output):
    text: str
    number: int


class Kitchen:
    """Does orders, and counts them; `fails` is what it raises in its transaction, after the answer was stored."""

    def __init__(self, database: Database, clock: FrozenClock, ids: UuidV7) -> None:
        self._transactions = Transactions(database, clock, ids)
        self.done = 0
        self.fails: Exception | None = None
        self.open = asyncio.Event()
        self.open.set()
        self.began = asyncio.Event()

    async def order(self, principal: Principal, text: str, then: Then[OrderView]) -> OrderView:
        self.began.set()
        await self.open.wait()

        def order(tx: UnlockedTransaction) -> OrderView:
            made = OrderView(text=text, number=self.done + 1)
            then(tx, made)
            if self.fails is not None:
                raise self.fails
            return made

        made = await self._transactions.write(order, owner=principal.owner_id)
        self.done += 1
        return made


@pytest.fixture
def kitchen(database: Database, clock: FrozenClock, ids: UuidV7) -> Kitchen:
    return Kitchen(database, clock, ids)


@pytest.fixture
def callers() -> KnownCallers:
    return KnownCallers()


@pytest.fixture
def mine(callers: KnownCallers) -> Mapping[str, str]:
    return callers.role(MINE, "operator")


@pytest.fixture
async def client(
    database: Database, clock: FrozenClock, ids: UuidV7, kitchen: Kitchen, callers: KnownCallers
) -> AsyncIterator[httpx2.AsyncClient]:
    rates = Rates(clock, Policy(requests=20, seconds=10))
    door = Door(Callers(callers, URL), rates, IdempotencyService(database, clock, ids))
    router = door.router("orders")

    @router.post("/orders", status_code=201)
    async def order(
        principal: Annotated[Principal, door.allows("messages.write")], body: Order, once: Once
    ) -> OrderView:
        return await kitchen.order(principal, body.text, once.then(lambda made: made))

    app = Api()
    add_problems(app)
    app.include_router(router, prefix="/api/v1")
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url=f"{URL}/api/v1") as client:
        yield client


async def orders(client: httpx2.AsyncClient, text: str = "pão", **headers: str) -> httpx2.Response:
    return await client.post("/orders", json={"text": text}, headers=headers)


def told(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


class TestSentAgain:
    async def test_gets_the_first_answer_and_does_nothing(
        self, client: httpx2.AsyncClient, kitchen: Kitchen, mine: Mapping[str, str]
    ) -> None:
        first = await orders(client, **mine, **KEY)
        again = await orders(client, **mine, **KEY)
        assert (first.status_code, first.json(), first.headers.get("idempotency-replayed")) == (
            201,
            {"text": "pão", "number": 1},
            None,
        )
        assert (again.status_code, again.json(), again.headers["idempotency-replayed"]) == (201, first.json(), "true")
        assert again.headers["content-type"] == first.headers["content-type"]
        assert kitchen.done == 1

    async def test_without_a_key_is_another_request(
        self, client: httpx2.AsyncClient, kitchen: Kitchen, mine: Mapping[str, str]
    ) -> None:
        assert [(await orders(client, **mine)).status_code for _ in range(2)] == [201, 201]
        assert kitchen.done == 2

    async def test_by_another_owner_is_another_request(
        self, client: httpx2.AsyncClient, kitchen: Kitchen, mine: Mapping[str, str], callers: KnownCallers
    ) -> None:
        await orders(client, **mine, **KEY)
        assert (await orders(client, **callers.role(THEIRS, "operator"), **KEY)).status_code == 201
        assert kitchen.done == 2

    async def test_with_another_body_is_refused(
        self, client: httpx2.AsyncClient, kitchen: Kitchen, mine: Mapping[str, str]
    ) -> None:
        await orders(client, **mine, **KEY)
        assert told(await orders(client, "bolo", **mine, **KEY)) == (422, "identity.idempotency_key_reused")
        assert kitchen.done == 1

    async def test_while_the_first_is_at_work_is_refused(
        self, client: httpx2.AsyncClient, kitchen: Kitchen, mine: Mapping[str, str]
    ) -> None:
        kitchen.open.clear()
        first = asyncio.create_task(orders(client, **mine, **KEY))
        await kitchen.began.wait()
        second = await orders(client, **mine, **KEY)
        kitchen.open.set()
        assert told(second) == (409, "identity.idempotency_at_work")
        assert ((await first).status_code, kitchen.done) == (201, 1)

    async def test_ten_times_at_once_is_done_once(
        self, client: httpx2.AsyncClient, kitchen: Kitchen, mine: Mapping[str, str]
    ) -> None:
        answers = await asyncio.gather(*(orders(client, **mine, **KEY) for _ in range(10)))
        assert {each.status_code for each in answers} <= {201, 409}
        assert kitchen.done == 1

    async def test_after_a_day_is_a_new_request(
        self, client: httpx2.AsyncClient, kitchen: Kitchen, mine: Mapping[str, str], clock: FrozenClock
    ) -> None:
        await orders(client, **mine, **KEY)
        clock.advance(timedelta(hours=23))
        await orders(client, **mine, **KEY)
        assert kitchen.done == 1
        clock.advance(timedelta(hours=1))
        await orders(client, **mine, **KEY)
        assert kitchen.done == 2


class TestAfterAFailure:
    async def test_the_next_does_the_work(
        self, client: httpx2.AsyncClient, kitchen: Kitchen, mine: Mapping[str, str]
    ) -> None:
        kitchen.fails = Conflict("closed")
        assert told(await orders(client, **mine, **KEY)) == (409, "core.conflict")
        kitchen.fails = None
        assert (await orders(client, **mine, **KEY)).json() == {"text": "pão", "number": 1}

    async def test_an_invalid_request_keeps_no_key(self, client: httpx2.AsyncClient, mine: Mapping[str, str]) -> None:
        invalid = await client.post("/orders", json={}, headers={**mine, **KEY})
        assert (invalid.status_code, (await orders(client, **mine, **KEY)).status_code) == (422, 201)

    async def test_a_server_that_was_killed_has_done_nothing(
        self, client: httpx2.AsyncClient, kitchen: Kitchen, mine: Mapping[str, str], clock: FrozenClock
    ) -> None:
        """Its request comes back from the dead a minute later, and finds that another one has the right."""
        kitchen.open.clear()
        dead = asyncio.create_task(orders(client, **mine, **KEY))
        await kitchen.began.wait()
        clock.advance(timedelta(minutes=1))
        kitchen.began.clear()
        second = asyncio.create_task(orders(client, **mine, **KEY))
        await kitchen.began.wait()
        kitchen.open.set()
        statuses = sorted([(await dead).status_code, (await second).status_code])
        assert (statuses, kitchen.done) == ([201, 409], 1)


@pytest.mark.sqlite_only
class TestKeys:
    @pytest.mark.parametrize("key", ["", "a" * 256, "com espaço", "á"])
    async def test_that_no_header_should_have(
        self, client: httpx2.AsyncClient, mine: Mapping[str, str], key: str
    ) -> None:
        headers = {name.encode(): value.encode() for name, value in {**mine, "Idempotency-Key": key}.items()}
        answer = await client.post("/orders", json={"text": "a"}, headers=headers)
        assert told(answer) == (422, "core.invalid_input")


@pytest.mark.sqlite_only
class TestRates:
    async def test_every_answer_tells_what_is_left(self, client: httpx2.AsyncClient, mine: Mapping[str, str]) -> None:
        fine = await orders(client, **mine)
        invalid = await client.post("/orders", json={}, headers=mine)
        assert fine.headers["ratelimit"] == '"caller";r=19;t=1'
        assert fine.headers["cache-control"] == "no-store"
        assert invalid.headers["ratelimit"] == '"caller";r=18;t=1'
        assert fine.headers["ratelimit-policy"] == '"caller";q=20;w=10'

    async def test_too_many_are_refused(self, client: httpx2.AsyncClient, mine: Mapping[str, str]) -> None:
        for _ in range(20):
            await client.post("/orders", json={}, headers=mine)
        answer = await orders(client, **mine)
        assert told(answer) == (429, "api.too_many_requests")
        assert answer.headers["retry-after"] == "1"
        assert answer.headers["ratelimit"] == '"caller";r=0;t=10'
