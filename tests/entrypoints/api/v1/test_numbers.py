"""Numbers, messages to numbers that nobody has, and schedules."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Final
from urllib.parse import urlencode
from uuid import UUID

import httpx2
import pytest

from recado.bootstrap import Container
from recado.channels.twilio.accounts import NewNumber
from recado.channels.twilio.checking import NumberChecks
from recado.channels.twilio.webhook import form as forms
from recado.channels.twilio.webhook.signature import sign
from recado.conversation.values import Address
from recado.core.clock import FrozenClock
from recado.emulator.app import running
from recado.emulator.settings import EmulatorSettings, Number, Policies
from tests.support.callers import KnownCallers
from tests.world import ACCOUNT, ANA, OURS, World

ON_BOTH_DATABASES = True

NEW = "whatsapp:+5511900000007"
WEBHOOK = "/webhooks/twilio/messages"


@pytest.fixture
def operator(callers: KnownCallers, world: World) -> Mapping[str, str]:
    return callers.key(world.owner_id, "numbers.read", "orphans.read", "orphans.write", "schedules.read")


@pytest.fixture
def theirs(callers: KnownCallers, stranger: UUID) -> Mapping[str, str]:
    return callers.role(stranger, "admin")


async def receives(api: httpx2.AsyncClient, number: int, to: str = NEW) -> None:
    """A message to a number that nobody has, signed with the world's token."""
    sid = f"SM{number:032x}"
    raw = urlencode(
        {"AccountSid": ACCOUNT.value, "MessageSid": sid, "From": ANA.value, "To": to, "Body": "oi"}
    ).encode()
    pairs = forms.parse(raw)
    assert isinstance(pairs, tuple)
    signature = sign("token", f"https://recado.example{WEBHOOK}", pairs)
    answer = await api.post(WEBHOOK, content=raw, headers={"X-Twilio-Signature": signature})
    assert answer.status_code == 200


class TestNumbers:
    async def test_are_listed_with_their_account(
        self, api: httpx2.AsyncClient, operator: Mapping[str, str], world: World
    ) -> None:
        [number] = (await api.get("/api/v1/numbers", headers=operator)).json()["items"]
        assert (number["id"], number["address"]) == (str(world.address_id), OURS.value)
        assert (number["provider"], number["account_ref"], number["paused_until"]) == ("twilio", ACCOUNT.value, None)
        assert (await api.get(f"/api/v1/numbers/{number['id']}", headers=operator)).json() == number

    async def test_of_another_are_not_found(
        self, api: httpx2.AsyncClient, theirs: Mapping[str, str], world: World
    ) -> None:
        assert (await api.get("/api/v1/numbers", headers=theirs)).json()["items"] == []
        assert (await api.get(f"/api/v1/numbers/{world.address_id}", headers=theirs)).status_code == 404


class TestOrphans:
    async def test_are_seen_by_those_whose_account_signed_them(
        self, api: httpx2.AsyncClient, operator: Mapping[str, str], theirs: Mapping[str, str]
    ) -> None:
        for number in range(3):
            await receives(api, number)
        first = (await api.get("/api/v1/orphans?limit=2", headers=operator)).json()
        rest = (await api.get(f"/api/v1/orphans?cursor={first['next_cursor']}", headers=operator)).json()
        sids = [each["provider_message_id"] for each in (*first["items"], *rest["items"])]
        assert sids == [f"SM{number:032x}" for number in range(3)]
        assert (await api.get("/api/v1/orphans", headers=theirs)).json()["items"] == []

    async def test_are_accepted_when_their_number_is_there(
        self, api: httpx2.AsyncClient, operator: Mapping[str, str], world: World
    ) -> None:
        await receives(api, 1)
        [orphan] = (await api.get("/api/v1/orphans", headers=operator)).json()["items"]
        path = f"/api/v1/orphans/{orphan['id']}/assign"
        early = await api.post(path, headers=operator)
        await world.numbers.add(world.operator, NewNumber(ACCOUNT, "token", Address(NEW)))
        assigned = await api.post(path, headers=operator)
        again = await api.post(path, headers=operator)
        assert [early.status_code, assigned.status_code, again.status_code] == [409, 200, 409]
        [message] = await world.rows("SELECT id, text FROM messages")
        assert (str(world.uuid(message["id"])), message["text"]) == (assigned.json()["message_id"], "oi")
        assert (await api.get("/api/v1/orphans", headers=operator)).json()["items"] == []

    async def test_of_another_are_not_found(
        self, api: httpx2.AsyncClient, operator: Mapping[str, str], theirs: Mapping[str, str]
    ) -> None:
        await receives(api, 1)
        [orphan] = (await api.get("/api/v1/orphans", headers=operator)).json()["items"]
        assert (await api.post(f"/api/v1/orphans/{orphan['id']}/assign", headers=theirs)).status_code == 404


async def test_schedules_are_told(
    api: httpx2.AsyncClient, operator: Mapping[str, str], container: Container, clock: FrozenClock
) -> None:
    await container.cron().insert_slots()
    clock.advance(timedelta(seconds=10))
    listed = (await api.get("/api/v1/schedules", headers=operator)).json()["items"]
    told = {each["id"]: each for each in listed}["idle_conversations"]
    assert told == {
        "id": "idle_conversations",
        "when": "every 1 min",
        "time_zone": "UTC",
        "enabled": True,
        "last_slot": "2026-03-14T12:00:00Z",
        "next_slot": "2026-03-14T12:01:00Z",
    }


class TestANumberThatIsAdded:
    FORM: Final = {"account_ref": ACCOUNT.value, "auth_token": "0" * 32, "address": NEW}

    @pytest.fixture
    def writer(self, callers: KnownCallers, world: World) -> Mapping[str, str]:
        return callers.key(world.owner_id, "numbers.read", "numbers.write")

    @pytest.fixture
    def twilio(self, container: Container) -> Iterator[None]:
        """A Twilio that knows the account and the number."""
        known = EmulatorSettings(
            accounts={ACCOUNT.value: "0" * 32},
            numbers=(Number(NEW, ACCOUNT.value),),
            policies=Policies(restrict_senders=True),
        )
        with running(known) as url:
            container.number_checks.override(NumberChecks(container.numbers(), container.twilio_tokens(), url))
            yield

    @pytest.mark.usefixtures("twilio")
    async def test_is_confirmed_by_twilio_first(self, api: httpx2.AsyncClient, writer: Mapping[str, str]) -> None:
        added = await api.post("/api/v1/numbers", json=self.FORM, headers=writer)
        assert (added.status_code, added.json()["address"]) == (201, NEW)
        path = f"/api/v1/numbers/{added.json()['id']}"
        assert (await api.get(path, headers=writer)).json() == added.json()
        checked = await api.post(f"{path}/check", headers=writer)
        assert checked.json() == {"result": "confirmed", "detail": None}

    @pytest.mark.usefixtures("twilio")
    @pytest.mark.parametrize(
        ("wrong", "status", "code"),
        [
            ({"auth_token": "1" * 32}, 409, "channels.number_not_confirmed"),
            ({"address": "whatsapp:+5511900000008"}, 409, "channels.number_not_confirmed"),
            ({"address": "whatsapp:5511900000007"}, 422, "core.invalid_input"),
            ({"account_ref": "AC1"}, 422, "core.invalid_input"),
        ],
    )
    async def test_is_not_stored_otherwise(
        self, api: httpx2.AsyncClient, writer: Mapping[str, str], wrong: Mapping[str, str], status: int, code: str
    ) -> None:
        refused = await api.post("/api/v1/numbers", json={**self.FORM, **wrong}, headers=writer)
        assert (refused.status_code, refused.json()["code"]) == (status, code)
        assert len((await api.get("/api/v1/numbers", headers=writer)).json()["items"]) == 1

    async def test_of_a_twilio_that_does_not_answer_is_denied(
        self, api: httpx2.AsyncClient, writer: Mapping[str, str], world: World
    ) -> None:
        checked = await api.post(f"/api/v1/numbers/{world.address_id}/check", headers=writer)
        assert (checked.status_code, checked.json()["result"]) == (200, "denied")


async def test_a_removed_number_is_gone(
    api: httpx2.AsyncClient, callers: KnownCallers, theirs: Mapping[str, str], world: World
) -> None:
    writer = callers.key(world.owner_id, "numbers.read", "numbers.write")
    path = f"/api/v1/numbers/{world.address_id}"
    assert (await api.delete(path, headers=theirs)).status_code == 404
    assert (await api.delete(path, headers=writer)).status_code == 204
    assert [(await api.request(method, path, headers=writer)).status_code for method in ("GET", "DELETE")] == [404, 404]
