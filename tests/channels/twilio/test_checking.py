"""Before a number is added, Twilio is asked whether account, token and number belong together."""

from collections.abc import Iterator

import pytest

from recado.channels.twilio.accounts import NewNumber
from recado.channels.twilio.checking import (
    SANDBOX,
    Checked,
    Confirmed,
    Denied,
    NumberCheck,
    Unconfirmed,
    messaging_url,
)
from recado.channels.twilio.values import AccountSid
from recado.conversation.values import Address
from recado.emulator.app import running
from recado.emulator.settings import EmulatorSettings, Number, Policies
from tests.channels.twilio.sending.scripted_server import Act, ScriptedServer, answers, hangs

ACCOUNT, TOKEN = "AC" + "0" * 32, "0" * 32
OTHER, OTHER_TOKEN = "AC" + "1" * 32, "1" * 32
SMS, WHATSAPP = "+5511900000001", "whatsapp:+5511987650002"
ACTIVE = answers(200, {"sid": ACCOUNT, "status": "active"})


@pytest.fixture(scope="module")
def twilio() -> Iterator[str]:
    settings = EmulatorSettings(
        accounts={ACCOUNT: TOKEN, OTHER: OTHER_TOKEN},
        numbers=(Number(SMS, ACCOUNT), Number(WHATSAPP, ACCOUNT)),
        policies=Policies(restrict_senders=True),
    )
    with running(settings) as url:
        yield url


async def checked(url: str, address: str, account: str = ACCOUNT, token: str = TOKEN, seconds: float = 20) -> Checked:
    check = NumberCheck(url, seconds=seconds)
    try:
        return await check.check(NewNumber(AccountSid(account), token, Address.parse(address)))
    finally:
        await check.aclose()


class TestByTwilio:
    @pytest.mark.parametrize(
        "address", [SMS, WHATSAPP, "whatsapp:+551187650002"], ids=["SMS", "WhatsApp", "old spelling"]
    )
    async def test_what_belongs_together_is_confirmed(self, twilio: str, address: str) -> None:
        assert await checked(twilio, address) == Confirmed()

    async def test_another_token_is_denied(self, twilio: str) -> None:
        assert await checked(twilio, SMS, token=OTHER_TOKEN) == Denied(
            f"Twilio does not accept this auth token for {ACCOUNT}"
        )

    async def test_a_number_of_another_account_is_denied(self, twilio: str) -> None:
        assert await checked(twilio, SMS, OTHER, OTHER_TOKEN) == Denied(
            f"{SMS} is no number of account {OTHER} at Twilio"
        )
        assert await checked(twilio, WHATSAPP, OTHER, OTHER_TOKEN) == Denied(
            f"{WHATSAPP} is no WhatsApp sender of account {OTHER} at Twilio"
        )

    async def test_a_number_that_only_begins_alike_is_denied(self, twilio: str) -> None:
        assert isinstance(await checked(twilio, SMS[:-1]), Denied)


class TestThatCannotBeAsked:
    async def test_at_all_is_denied(self) -> None:
        assert await checked("http://127.0.0.1:1", SMS) == Denied(
            "Twilio could not be asked at http://127.0.0.1:1 (connect_failed)"
        )

    @pytest.mark.parametrize("acts", [[hangs()], [ACTIVE, hangs()]], ids=["for the account", "for the number"])
    async def test_in_time_is_denied(self, acts: list[Act]) -> None:
        async with ScriptedServer(*acts) as server:
            found = await checked(server.url, SMS, seconds=0.5)

        assert found == Denied(f"Twilio did not answer within 0.5 seconds at {server.url}")

    @pytest.mark.parametrize("address", [SMS, WHATSAPP])
    async def test_whose_numbers_are_is_told_and_no_reason_to_refuse(self, address: str) -> None:
        async with ScriptedServer(ACTIVE, answers(403, {"code": 20003, "message": "no"})) as server:
            found = await checked(server.url, address)

        assert isinstance(found, Unconfirmed)
        assert f"not that {address} belongs to {ACCOUNT}" in found.why

    async def test_whose_numbers_are_for_now_is_denied(self) -> None:
        """It can be asked again in a minute."""
        async with ScriptedServer(ACTIVE, answers(503, {"message": "busy"})) as server:
            assert await checked(server.url, WHATSAPP) == Denied("Twilio answered 503 (busy)")

    @pytest.mark.parametrize("answer", [b"<html>", {"senders": None, "meta": {"key": "senders"}}])
    async def test_in_a_language_we_know_is_denied(self, answer: object) -> None:
        async with ScriptedServer(ACTIVE, answers(200, answer)) as server:
            assert isinstance(await checked(server.url, WHATSAPP), Denied)


async def test_a_suspended_account_is_denied() -> None:
    async with ScriptedServer(answers(200, {"sid": ACCOUNT, "status": "suspended"})) as server:
        assert await checked(server.url, SMS) == Denied(f"account {ACCOUNT} is suspended at Twilio")


async def test_senders_are_looked_for_on_every_page() -> None:
    async with ScriptedServer(ACTIVE) as server:
        for sender, following in (("whatsapp:+15550000001", "/v2/Channels/Senders?Page=1"), (WHATSAPP, None)):
            meta = {"key": "senders", "next_page_url": following and server.url + following}
            server.then(answers(200, {"senders": [{"sender_id": sender}], "meta": meta}))
        assert await checked(server.url, WHATSAPP) == Confirmed()
        assert [each.path for each in server.received][1:] == ["/v2/Channels/Senders"] * 2


def test_senders_are_another_host_s_at_twilio_and_the_same_one_s_at_an_emulator() -> None:
    assert messaging_url("https://api.twilio.com") == "https://messaging.twilio.com"
    assert messaging_url("https://api.dublin.ie1.twilio.com") == "https://messaging.dublin.ie1.twilio.com"
    assert messaging_url("http://127.0.0.1:8090") == "http://127.0.0.1:8090"
    assert SANDBOX == "whatsapp:+14155238886"
