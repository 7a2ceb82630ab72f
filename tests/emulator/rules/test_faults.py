import asyncio

import httpx2
import pytest

from recado.emulator.phone.client import EmulatorClient, EmulatorRefused
from tests.emulator.world import ANA, BAKERY, BOB, MESSAGES, OTHER_SID, OTHER_TOKEN, SHOP, SID, TOKEN
from tests.support.patience import PATIENCE

THEIR_MESSAGES = MESSAGES.replace(SID, OTHER_SID)
HELLO = {"To": BOB, "From": SHOP, "Body": "Hello Bob"}


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [("refuse_500", 500, 20500), ("throttle", 429, 20429), ("daily_cap", 429, 63038)],
)
def test_a_refused_create_stores_nothing(
    http: httpx2.Client, emulator: EmulatorClient, kind: str, status: int, code: int
) -> None:
    emulator.fault(kind)
    response = http.post(MESSAGES, data=HELLO)
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert emulator.messages() == []


def test_any_error_can_be_ordered(http: httpx2.Client, emulator: EmulatorClient) -> None:
    emulator.fault("error", code=21408, status=403)
    response = http.post(MESSAGES, data=HELLO)
    assert (response.status_code, response.json()["code"]) == (403, 21408)


def test_a_message_is_accepted_and_500_is_answered(http: httpx2.Client, emulator: EmulatorClient) -> None:
    emulator.fault("accept_then_500")
    assert http.post(MESSAGES, data=HELLO).status_code == 500
    assert [message.body for message in emulator.messages()] == ["Hello Bob"]


def test_a_message_is_accepted_and_the_connection_reset(http: httpx2.Client, emulator: EmulatorClient) -> None:
    emulator.fault("accept_then_reset")
    with pytest.raises(httpx2.ReadError):
        http.post(MESSAGES, data=HELLO)
    assert len(emulator.messages()) == 1
    assert http.post(MESSAGES, data=HELLO).status_code == 201


async def test_a_message_is_accepted_and_never_answered(emulator_url: str, emulator: EmulatorClient) -> None:
    emulator.fault("accept_then_hang")
    async with httpx2.AsyncClient(base_url=emulator_url, auth=(SID, TOKEN), timeout=PATIENCE) as client:
        hanging = asyncio.create_task(client.post(MESSAGES, data=HELLO))
        assert await asyncio.to_thread(emulator.messages, wait=PATIENCE)
        await asyncio.wait({hanging}, timeout=0.1)
        assert not hanging.done()
        hanging.cancel()


def test_an_answer_may_lack_the_sid(http: httpx2.Client, emulator: EmulatorClient) -> None:
    emulator.fault("no_sid")
    response = http.post(MESSAGES, data=HELLO)
    assert (response.status_code, "sid" in response.json(), "uri" in response.json()) == (201, False, False)


async def test_a_slow_create_keeps_others_going(emulator_url: str, emulator: EmulatorClient) -> None:
    emulator.fault("slow", body="slow", seconds=PATIENCE)
    async with httpx2.AsyncClient(base_url=emulator_url, auth=(SID, TOKEN), timeout=PATIENCE) as client:
        theirs = client.post(THEIR_MESSAGES, data=HELLO | {"Body": "slow"}, auth=(OTHER_SID, OTHER_TOKEN))
        slow = asyncio.create_task(theirs)
        assert (await client.post(MESSAGES, data=HELLO)).status_code == 201
        assert not slow.done()
        slow.cancel()


def test_a_fault_hits_only_what_it_names(http: httpx2.Client, emulator: EmulatorClient) -> None:
    emulator.fault("refuse_500", to=BOB, body="Bob", times=2)
    assert http.post(MESSAGES, data={"To": ANA, "From": BAKERY, "Body": "Hello Bob"}).status_code == 201
    assert http.post(MESSAGES, data=HELLO | {"Body": "Hello"}).status_code == 201
    assert [http.post(MESSAGES, data=HELLO).status_code for _ in range(3)] == [500, 500, 201]


def test_a_fault_without_an_end_lasts_until_it_is_cleared(http: httpx2.Client, emulator: EmulatorClient) -> None:
    emulator.fault("throttle", times=None)
    assert [http.post(MESSAGES, data=HELLO).status_code for _ in range(3)] == [429, 429, 429]
    emulator.clear_faults()
    assert http.post(MESSAGES, data=HELLO).status_code == 201


def test_lists_and_media_can_be_out_of_order_for_a_moment(http: httpx2.Client, emulator: EmulatorClient) -> None:
    emulator.fault("list_500")
    emulator.fault("media_404")
    media = emulator.send(ANA, BAKERY, num_media=1, account_sid=SID).media[0]
    assert [http.get(MESSAGES).status_code for _ in range(2)] == [500, 200]
    assert [http.get(media.url).status_code for _ in range(2)] == [404, 307]


async def test_too_many_creates_at_once_are_throttled(emulator_url: str, emulator: EmulatorClient) -> None:
    emulator.set_policies(max_concurrency=1)
    emulator.fault("accept_then_hang")
    async with httpx2.AsyncClient(base_url=emulator_url, auth=(SID, TOKEN), timeout=PATIENCE) as client:
        hanging = asyncio.create_task(client.post(MESSAGES, data=HELLO))
        assert await asyncio.to_thread(emulator.messages, wait=PATIENCE)
        assert (await client.post(MESSAGES, data=HELLO)).json()["code"] == 20429
        hanging.cancel()


def test_an_unknown_fault_is_refused_with_the_known_ones(emulator: EmulatorClient) -> None:
    with pytest.raises(EmulatorRefused, match="accept_then_500"):
        emulator.fault("explode")
