"""An event as it goes over the wire: signed by the Standard Webhooks rules, and only to where it may go."""

import base64
import hashlib
import hmac
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from recado.core.clock import FrozenClock
from recado.core.event_log.models import Event
from recado.core.outbound.http_clients import HttpClients
from recado.core.queue.lane import Lane
from recado.events.models import Endpoint, PostResult
from recado.events.wire.posting import ANSWER_SECONDS, Poster, answer_limit
from recado.events.wire.signing import new_secret
from tests.agents.loopback import Loopback, dripping, listening
from tests.contracts.queue import NoChance

AT = datetime(2026, 3, 14, 12, 0, 0, 250_000, tzinfo=UTC)
EVENT = Event(
    7, UUID(int=1), UUID(int=2), "outcome.decided", Lane(UUID(int=3)), UUID(int=4), {"outcome": "answered"}, AT
)
OLD, NEW = new_secret(bytes), new_secret(lambda count: b"\x01" * count)


@pytest.fixture(scope="module")
def server() -> Iterator[Loopback]:
    with listening() as loopback:
        yield loopback


@pytest.fixture
def endpoint(server: Loopback) -> Endpoint:
    server.forget()
    return Endpoint(
        id=UUID(int=5),
        owner_id=EVENT.owner_id,
        url=f"{server.url}/events",
        types=None,
        allow_private=True,
        secret_sealed=b"",
        position=0,
        created_at=AT,
        created_by="rita",
    )


@pytest.fixture
async def poster(clock: FrozenClock) -> AsyncIterator[Poster]:
    poster = Poster(HttpClients(), clock, NoChance(), answer_seconds=0.5)
    yield poster
    await poster.aclose()


async def test_a_receiver_can_verify_who_sent_it_and_when(
    poster: Poster, endpoint: Endpoint, server: Loopback, clock: FrozenClock
) -> None:
    server.says(Response(status_code=204))
    assert await poster.post(endpoint, EVENT, [NEW, OLD]) == PostResult(204)
    [asked] = server.asked
    seconds = str(int(clock.now().timestamp()))
    assert (asked.headers["webhook-id"], asked.headers["webhook-timestamp"]) == (str(EVENT.id), seconds)
    content = f"{EVENT.id}.{seconds}.".encode() + asked.body
    expected = []
    for secret in (NEW, OLD):
        key = base64.b64decode(secret.removeprefix("whsec_"))
        expected.append("v1," + base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode())
    assert asked.headers["webhook-signature"].split(" ") == expected


async def test_the_body_names_what_happened(poster: Poster, endpoint: Endpoint, server: Loopback) -> None:
    server.says(Response(status_code=204))
    await poster.post(endpoint, EVENT, [NEW])
    assert json.loads(server.asked[0].body) == {
        "id": str(EVENT.id),
        "type": "outcome.decided",
        "timestamp": "2026-03-14T12:00:00.250Z",
        "owner_id": str(EVENT.owner_id),
        "data": {"conversation_id": str(UUID(int=4)), "outcome": "answered"},
    }


@pytest.mark.parametrize("status", [199 + 1, 201, 204, 299])
async def test_any_2xx_takes_it(poster: Poster, endpoint: Endpoint, server: Loopback, status: int) -> None:
    server.says(Response(status_code=status))
    assert (await poster.post(endpoint, EVENT, [NEW])).is_taken


@pytest.mark.parametrize("status", [301, 400, 404, 500, 503])
async def test_nothing_else_takes_it(poster: Poster, endpoint: Endpoint, server: Loopback, status: int) -> None:
    server.says(Response(status_code=status))
    answered = await poster.post(endpoint, EVENT, [NEW])
    assert (answered.is_taken, answered.status) == (False, status)


async def test_a_redirect_is_not_followed(poster: Poster, endpoint: Endpoint, server: Loopback) -> None:
    server.says(RedirectResponse("/elsewhere", status_code=307))
    assert not (await poster.post(endpoint, EVENT, [NEW])).is_taken
    assert [asked.path for asked in server.asked] == ["/events"]


def test_attempts_that_begin_together_do_not_end_together() -> None:
    chance = random.Random(7)  # noqa: S311 - no secret
    limits = [answer_limit(ANSWER_SECONDS, chance) for _ in range(32)]
    assert min(limits) >= 15
    assert max(limits) <= 20
    seconds = Counter(int(limit * 2) for limit in limits)
    assert max(seconds.values()) <= 8, "half a second in which many end together"


async def test_one_that_hangs_is_given_up(poster: Poster, endpoint: Endpoint, server: Loopback) -> None:
    async def hang(request: Request) -> Response:
        while (await request.receive())["type"] != "http.disconnect":
            """It answers only when nobody listens any more."""
        return Response()

    server.says(hang)
    assert await poster.post(endpoint, EVENT, [NEW]) == PostResult(None, "no answer in time")


async def test_an_answer_without_end_is_cut_off(poster: Poster, endpoint: Endpoint, server: Loopback) -> None:
    server.says(dripping(10_000, 1_000))
    assert (await poster.post(endpoint, EVENT, [NEW])).is_taken


@pytest.mark.parametrize("url", ["https://300.1.1.1/", "https://[v1.a]/"])
async def test_a_url_that_cannot_be_called_is_one_that_is_not_reached(
    poster: Poster, endpoint: Endpoint, url: str
) -> None:
    """Older releases took such URLs; their events wait for another one as they do for a server that is away."""
    assert await poster.post(replace(endpoint, url=url), EVENT, [NEW]) == PostResult(None, "its URL cannot be called")


async def test_retry_after_is_heard(poster: Poster, endpoint: Endpoint, server: Loopback) -> None:
    server.says(Response(status_code=429, headers={"Retry-After": "120"}))
    assert (await poster.post(endpoint, EVENT, [NEW])).retry_after.total_seconds() == 120


@pytest.mark.parametrize("after", ["", "soon", "-1", "1" * 30, "Wed, 21 Oct 2026 07:28:00 GMT", "²"])
async def test_retry_after_that_is_no_number_is_ignored(
    poster: Poster, endpoint: Endpoint, server: Loopback, after: str
) -> None:
    server.says(Response(status_code=503, headers={"Retry-After": after.encode("latin-1", "ignore").decode("latin-1")}))
    assert (await poster.post(endpoint, EVENT, [NEW])).retry_after.total_seconds() == 0


async def test_a_private_address_is_not_called(poster: Poster, endpoint: Endpoint, server: Loopback) -> None:
    guarded = replace(endpoint, allow_private=False)
    answered = await poster.post(guarded, EVENT, [NEW])
    assert (answered.status, server.asked) == (None, [])
    assert "not public" in str(answered.error)


async def test_nobody_there_is_a_value(poster: Poster, endpoint: Endpoint) -> None:
    nobody = replace(endpoint, url="http://127.0.0.1:9/")
    assert (await poster.post(nobody, EVENT, [NEW])).status is None


async def test_a_url_that_cannot_be_called_is_a_value(poster: Poster, endpoint: Endpoint) -> None:
    assert (await poster.post(replace(endpoint, url="https://300.1.1.1/"), EVENT, [NEW])).status is None


async def test_a_secret_is_not_shown_in_logs(endpoint: Endpoint) -> None:
    assert "secret" not in repr(replace(endpoint, previous_secret_sealed=b"x"))
