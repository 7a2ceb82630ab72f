import json
import re
from collections.abc import Mapping

import httpx2
import pytest
from twilio.base.exceptions import TwilioRestException
from twilio.rest import Client

from recado.emulator.phone.client import EmulatorClient
from tests.emulator.real import create
from tests.emulator.world import ANA, BAKERY, BOB, KEY, KEY_SECRET, MESSAGES, OTHER_SID, OTHER_TOKEN, SHOP, SID, TOKEN
from tests.support.patience import PATIENCE

KEYS = {
    "account_sid", "api_version", "body", "date_created", "date_sent", "date_updated", "direction", "error_code",
    "error_message", "from", "messaging_service_sid", "num_media", "num_segments", "price", "price_unit", "sid",
    "status", "subresource_uris", "to", "uri",
}  # fmt: skip
HELLO = {"To": BOB, "From": SHOP, "Body": "Hello"}


def test_the_real_client_creates_a_message_and_reads_it_again(twilio: Client) -> None:
    created = twilio.messages.create(to=ANA, from_=BAKERY, body="Olá 👋")
    fetched = twilio.messages(str(created.sid)).fetch()
    assert (str(created.status), str(created.direction), created.date_sent) == ("queued", "outbound-api", None)
    assert (fetched.body, fetched.to, fetched.from_) == ("Olá 👋", ANA, BAKERY)


def test_a_created_message_looks_like_twilios(http: httpx2.Client) -> None:
    response = http.post(MESSAGES, data=HELLO)
    message = response.json()
    assert (response.status_code, set(message)) == (201, KEYS)
    assert re.fullmatch(r"SM[0-9a-f]{32}", message["sid"])
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d \+0000", message["date_created"])
    assert (message["num_segments"], message["num_media"], message["price"]) == ("1", "0", None)
    assert message["uri"] == f"/2010-04-01/Accounts/{SID}/Messages/{message['sid']}.json"


def test_answers_bear_twilios_headers(http: httpx2.Client) -> None:
    headers = http.post(MESSAGES, data=HELLO).headers
    assert re.fullmatch(r"RQ[0-9a-f]{32}", headers["Twilio-Request-Id"])
    assert headers["Twilio-Concurrent-Requests"] == "1"


def test_a_messaging_service_chooses_its_sender_later(twilio: Client, emulator: EmulatorClient) -> None:
    emulator.configure_number(SHOP, None, account_sid=SID)
    created = twilio.messages.create(to=BOB, messaging_service_sid="MG" + "5" * 32, body="Hello")
    assert (str(created.status), created.from_, created.num_segments) == ("accepted", None, "0")
    assert emulator.message(str(created.sid), "delivered", wait=PATIENCE).sender == SHOP


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a" * 160, "1"),
        ("a" * 161, "2"),
        ("€" * 80, "1"),
        ("€" * 81, "2"),
        ("ã" * 70, "1"),
        ("ã" * 71, "2"),
        ("👋" * 36, "2"),
    ],
)
def test_segments_are_counted_by_alphabet(http: httpx2.Client, text: str, parts: str) -> None:
    assert http.post(MESSAGES, data=HELLO | {"Body": text}).json()["num_segments"] == parts


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"To": ""}, 21604),
        ({"From": ""}, 21603),
        ({"Body": ""}, 21602),
        ({"To": "Bob"}, 21211),
        ({"To": SHOP}, 21211),
        ({"From": "+"}, 21212),
        ({"From": BAKERY}, 21910),
        ({"Body": "a" * 1601}, 21617),
        ({"Body": "👋" * 801}, 21617),
        ({"StatusCallback": "ftp://example.com/"}, 21609),
        ({"StatusCallback": "http://my_host.example.com/"}, 21609),
        ({"MediaUrl": "nothing"}, 21620),
        ({"MediaUrl": ["https://example.com/a.png"] * 11}, 21623),
        ({"ContentVariables": "[1]"}, 21656),
        ({"ScheduleType": "fixed", "SendAt": "2030-01-01T00:00:00Z"}, 35118),
        ({"From": "", "MessagingServiceSid": "MG" + "5" * 32}, 21703),
        ({"From": "+15005550001"}, 21212),
        ({"From": "+15005550007"}, 21606),
        ({"From": "+15005550008"}, 21611),
        ({"To": "+15005550001"}, 21211),
        ({"To": "+15005550002"}, 21612),
        ({"To": "+15005550003"}, 21408),
        ({"To": "+15005550004"}, 21610),
        ({"To": "+15005550009"}, 21614),
    ],
)
def test_a_bad_create_is_refused_with_its_code(
    http: httpx2.Client, emulator: EmulatorClient, changed: Mapping[str, str | list[str]], code: int
) -> None:
    response = http.post(MESSAGES, data={**HELLO, **changed})
    refusal = response.json()
    assert (response.status_code, refusal["code"], refusal["status"]) == (400, code, 400)
    assert set(refusal) == {"code", "message", "more_info", "status"}
    assert emulator.messages() == []


def test_the_real_client_understands_a_refusal(twilio: Client) -> None:
    with pytest.raises(TwilioRestException) as refused:
        create(twilio, BOB, "a" * 1601)
    assert (refused.value.status, refused.value.code) == (400, 21617)


@pytest.mark.parametrize("auth", [None, (SID, "wrong"), (SID, ""), (OTHER_SID, TOKEN), ("AC" + "9" * 32, "")])
def test_wrong_credentials_are_not_let_in(http: httpx2.Client, auth: tuple[str, str] | None) -> None:
    with httpx2.Client(base_url=http.base_url, auth=auth) as stranger:
        response = stranger.post(MESSAGES, data=HELLO)
    assert (response.status_code, response.json()["code"]) == (401, 20003)


def test_a_key_may_stand_for_the_account(http: httpx2.Client) -> None:
    assert http.post(MESSAGES, data=HELLO, auth=(KEY, KEY_SECRET)).status_code == 201


def test_another_account_does_not_see_the_message(http: httpx2.Client) -> None:
    uri = http.post(MESSAGES, data=HELLO).json()["uri"]
    other = (OTHER_SID, OTHER_TOKEN)
    assert http.get(uri, auth=other).json()["code"] == 20404
    assert http.get(uri.replace(SID, OTHER_SID), auth=other).status_code == 404
    assert http.get(MESSAGES.replace(SID, OTHER_SID), auth=other).json()["messages"] == []


@pytest.mark.parametrize(("address", "code"), [(SHOP, 21606), (BAKERY, 63007)])
def test_a_number_of_another_account_does_not_send(
    http: httpx2.Client, emulator: EmulatorClient, address: str, code: int
) -> None:
    emulator.configure_number(address, None, account_sid=OTHER_SID)
    to = ANA if address == BAKERY else BOB
    assert http.post(MESSAGES, data={"To": to, "From": address, "Body": "Hello"}).json()["code"] == code


def test_unknown_senders_can_be_refused(http: httpx2.Client, emulator: EmulatorClient) -> None:
    emulator.set_policies(restrict_senders=True)
    assert http.post(MESSAGES, data=HELLO).json()["code"] == 21606
    emulator.configure_number(SHOP, None, account_sid=SID)
    assert http.post(MESSAGES, data=HELLO).status_code == 201


@pytest.mark.parametrize(("method", "path", "code"), [("GET", "/nowhere", 20404), ("PUT", MESSAGES, 20004)])
def test_an_unknown_path_is_refused_in_twilios_form(http: httpx2.Client, method: str, path: str, code: int) -> None:
    refusal = http.request(method, path)
    assert json.loads(refusal.content)["code"] == code


def test_the_account_shows_its_token(twilio: Client) -> None:
    account = twilio.api.v2010.accounts(SID).fetch()
    assert (account.sid, str(account.status), account.auth_token) == (SID, "active", TOKEN)


def test_the_typing_indicator_is_shown_for_an_inbound_message(http: httpx2.Client, emulator: EmulatorClient) -> None:
    sid = emulator.send(ANA, BAKERY, "oi", account_sid=SID).sid
    asked = {"channel": "whatsapp", "messageId": sid}
    assert http.post("/v2/Indicators/Typing.json", data=asked).json() == {"success": True}
    assert http.post("/v3/Indicators/Typing.json", json=asked | {"channel": "WHATSAPP"}).status_code == 200
    assert emulator.message(sid).typing_at is not None
    assert http.post("/v2/Indicators/Typing.json", data=asked | {"messageId": "SM1"}).status_code == 404
