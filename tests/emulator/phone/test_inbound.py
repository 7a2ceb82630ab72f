import json

import httpx2
import pytest
from twilio.rest import Client

from recado.emulator.phone.client import EmulatorClient, EmulatorRefused
from tests.emulator.application import Answer, Application
from tests.emulator.real import create, is_signed
from tests.emulator.world import ANA, BAKERY, BOB, MESSAGES, OTHER_SID, OTHER_TOKEN, SHOP, SID
from tests.support.patience import PATIENCE

COMMON = {
    "AccountSid", "ApiVersion", "Body", "From", "MessageSid", "NumMedia", "NumSegments", "SmsMessageSid", "SmsSid",
    "SmsStatus", "To",
}  # fmt: skip
GEOGRAPHY = {f"{side}{part}" for side in ("From", "To") for part in ("City", "Country", "State", "Zip")}
PROFILE = {"ChannelMetadata", "MessageType", "ProfileName", "ReferralNumMedia", "WaId"}


@pytest.fixture
def inbox(emulator: EmulatorClient, application: Application) -> Application:
    """An application that both numbers send their messages to."""
    for address in (BAKERY, SHOP):
        emulator.configure_number(address, f"{application.url}/inbox", account_sid=SID)
    return application


def test_an_sms_reaches_the_application_signed(emulator: EmulatorClient, inbox: Application) -> None:
    sid = emulator.send(BOB, SHOP, "  Hi & bye + 100%  ").sid
    request = inbox.wait_for(1)[0]
    assert set(request.form) == COMMON | GEOGRAPHY
    assert (request.form["Body"], request.form["FromCity"]) == ("  Hi & bye + 100%  ", "")
    assert request.form["MessageSid"] == request.form["SmsSid"] == request.form["SmsMessageSid"] == sid
    assert is_signed(request, f"{inbox.url}/inbox")


def test_a_whatsapp_message_brings_its_profile(emulator: EmulatorClient, inbox: Application) -> None:
    emulator.send(ANA, BAKERY, "Olá 👋", profile_name="Ana")
    form = inbox.wait_for(1)[0].form
    assert set(form) == COMMON | PROFILE
    assert (form["ProfileName"], form["WaId"], form["MessageType"]) == ("Ana", "5511987654321", "text")
    assert json.loads(form["ChannelMetadata"])["data"]["context"]["ProfileName"] == "Ana"


def test_a_tapped_button_is_interactive(emulator: EmulatorClient, inbox: Application) -> None:
    emulator.send(ANA, BAKERY, button_text="Confirm", button_payload="confirm_42", replied_to="SM" + "4" * 32)
    form = inbox.wait_for(1)[0].form
    assert (form["MessageType"], form["Body"], form["ButtonPayload"]) == ("interactive", "Confirm", "confirm_42")
    assert (form["OriginalRepliedMessageSid"], form["OriginalRepliedMessageSender"]) == ("SM" + "4" * 32, BAKERY)


def test_a_place_comes_with_its_coordinates(emulator: EmulatorClient, inbox: Application) -> None:
    emulator.send(ANA, BAKERY, latitude="-23.55", longitude="-46.63", label="Padaria")
    form = inbox.wait_for(1)[0].form
    assert (form["MessageType"], form["Latitude"], form["Longitude"]) == ("location", "-23.55", "-46.63")
    assert (form["Label"], "Address" in form) == ("Padaria", False)


def test_media_are_linked_to_the_emulator(emulator: EmulatorClient, inbox: Application, http: httpx2.Client) -> None:
    emulator.send(ANA, BAKERY, num_media=1)
    form = inbox.wait_for(1)[0].form
    assert (form["NumMedia"], form["MessageType"], form["Body"]) == ("1", "image", "")
    image = http.get(form["MediaUrl0"], follow_redirects=True)
    assert image.headers["Content-Type"] == form["MediaContentType0"] == "image/png"


def test_a_customer_without_a_number_is_known_by_another_id(emulator: EmulatorClient, inbox: Application) -> None:
    emulator.send("whatsapp:BR.1234567890", BAKERY, "oi")
    form = inbox.wait_for(1)[0].form
    assert (form["From"], form["ExternalUserId"]) == ("whatsapp:BR.1234567890", "whatsapp:BR.1234567890")
    assert "WaId" not in form


def test_extra_fields_are_sent_and_signed_even_repeated(emulator: EmulatorClient, inbox: Application) -> None:
    emulator.send(BOB, SHOP, "hi", fields={"New": ["b", "a", "a"], "FromCity": "LISBOA", "Blank": ""})
    request = inbox.wait_for(1)[0]
    assert [pair for pair in request.pairs if pair[0] == "New"] == [("New", "b"), ("New", "a"), ("New", "a")]
    assert (request.form["FromCity"], request.form["Blank"]) == ("LISBOA", "")


def test_an_inbound_message_is_kept_even_without_a_receiver(twilio: Client, emulator: EmulatorClient) -> None:
    sid = emulator.send(BOB, SHOP, "anyone?", account_sid=SID).sid
    kept = twilio.messages(sid).fetch()
    assert (str(kept.direction), str(kept.status), kept.body) == ("inbound", "received", "anyone?")
    assert [each for each in emulator.deliveries() if each.message_sid == sid] == []


def test_another_account_signs_with_its_own_token(emulator: EmulatorClient, application: Application) -> None:
    url = f"{application.url}/other"
    emulator.configure_number(SHOP, url, account_sid=OTHER_SID)
    emulator.send(BOB, SHOP, "hi")
    request = application.wait_for(1)[0]
    assert request.form["AccountSid"] == OTHER_SID
    assert is_signed(request, url, OTHER_TOKEN)


def test_an_error_is_not_retried_but_reported_to_the_fallback(
    emulator: EmulatorClient, application: Application
) -> None:
    main, fallback = f"{application.url}/main", f"{application.url}/fallback"
    emulator.configure_number(SHOP, main, fallback_url=fallback, account_sid=SID)
    application.answer("/main", Answer(status=503))
    sid = emulator.send(BOB, SHOP, "hi").sid
    first, second = application.wait_for(2)
    assert (first.path, second.path) == ("/main", "/fallback")
    assert (second.form["ErrorCode"], second.form["ErrorUrl"], second.form["MessageSid"]) == ("11200", main, sid)
    assert is_signed(second, fallback)


def test_no_connection_is_tried_once_more(emulator: EmulatorClient) -> None:
    emulator.configure_number(SHOP, "http://127.0.0.1:1/inbox", account_sid=SID)
    sid = emulator.send(BOB, SHOP, "hi").sid
    second = emulator.deliveries(after=1, wait=PATIENCE, message_sid=sid)[0]
    assert (second.attempt, second.status, second.error) == (2, None, 11205)


def test_the_url_may_ask_for_more_attempts(emulator: EmulatorClient, application: Application) -> None:
    emulator.configure_number(SHOP, f"{application.url}/inbox#rc=2&rp=ct,5xx", account_sid=SID)
    application.answer("/inbox", Answer(status=500))
    emulator.send(BOB, SHOP, "hi")
    tokens = {request.headers["I-Twilio-Idempotency-Token"] for request in application.wait_for(3)}
    assert len(tokens) == 1


def test_an_answer_that_takes_too_long_is_given_up(emulator: EmulatorClient, application: Application) -> None:
    emulator.configure_number(SHOP, f"{application.url}/inbox#rt=100", account_sid=SID)
    application.gate.clear()
    emulator.send(BOB, SHOP, "hi")
    (given_up,) = emulator.deliveries(wait=PATIENCE)
    assert (given_up.attempt, given_up.status, given_up.error) == (1, None, 11205)


@pytest.mark.parametrize(
    ("content_type", "body", "replies"),
    [
        ("text/xml", b"<Response/>", []),
        ("text/xml", "<Response><Message>Olá</Message></Response>".encode(), ["Olá"]),
        ("application/xml", b"<Response><Message><Body>One</Body></Message><Sms>Two</Sms></Response>", ["One", "Two"]),
        ("text/plain; charset=utf-8", b"OK", ["OK"]),
        ("text/plain", b"", []),
    ],
)
def test_the_answer_of_the_webhook_becomes_replies(
    emulator: EmulatorClient, inbox: Application, content_type: str, body: bytes, replies: list[str]
) -> None:
    inbox.answer("/inbox", Answer(content_type=content_type, body=body))
    emulator.send(BOB, SHOP, "hi")
    assert emulator.deliveries(wait=PATIENCE)
    assert [reply.body for reply in emulator.messages(direction="outbound-reply", to=BOB)] == replies


@pytest.mark.parametrize(
    ("content_type", "body", "code"),
    [("application/json", b"{}", "12300"), ("text/xml", b"<Response>", "12100"), ("text/xml", b"<Other/>", "12100")],
)
def test_an_answer_that_cannot_be_read_goes_to_the_fallback(
    emulator: EmulatorClient, application: Application, content_type: str, body: bytes, code: str
) -> None:
    emulator.configure_number(
        SHOP, f"{application.url}/main", fallback_url=f"{application.url}/fallback", account_sid=SID
    )
    application.answer("/main", Answer(content_type=content_type, body=body))
    emulator.send(BOB, SHOP, "hi")
    assert application.wait_for(2)[1].form["ErrorCode"] == code


def test_a_redirect_in_the_answer_is_followed(emulator: EmulatorClient, inbox: Application) -> None:
    inbox.answer("/inbox", Answer(body=b"<Response><Redirect>/elsewhere</Redirect></Response>"))
    emulator.send(BOB, SHOP, "hi")
    assert [request.path for request in inbox.wait_for(2)] == ["/inbox", "/elsewhere"]


def test_a_webhook_can_come_twice(emulator: EmulatorClient, inbox: Application) -> None:
    emulator.send(BOB, SHOP, "hi", duplicates=1)
    first, second = inbox.wait_for(2)
    assert first.form == second.form
    assert len(emulator.messages()) == 1


def test_a_fault_doubles_the_webhook_of_the_next_message(emulator: EmulatorClient, inbox: Application) -> None:
    emulator.fault("inbound_duplicate")
    emulator.send(BOB, SHOP, "one")
    emulator.send(BOB, SHOP, "two")
    assert sorted(request.form["Body"] for request in inbox.wait_for(3)) == ["one", "one", "two"]


def test_a_known_message_can_be_delivered_again(emulator: EmulatorClient, inbox: Application) -> None:
    sid = emulator.send(BOB, SHOP, "hi").sid
    emulator.send(BOB, SHOP, "hi", sid=sid)
    assert [request.form["MessageSid"] for request in inbox.wait_for(2)] == [sid, sid]
    assert len(emulator.messages()) == 1


def test_a_delayed_webhook_is_overtaken_by_a_later_message(emulator: EmulatorClient, inbox: Application) -> None:
    emulator.send(BOB, SHOP, "first", delay=3600)
    emulator.send(BOB, SHOP, "second")
    assert [request.form["Body"] for request in inbox.wait_for(1)] == ["second"]


def test_stop_ends_and_start_reopens_an_sms_conversation(
    http: httpx2.Client, emulator: EmulatorClient, inbox: Application
) -> None:
    hello = {"To": BOB, "From": SHOP, "Body": "Hello"}
    emulator.send(BOB, SHOP, " stop ")
    assert "OptOutType" not in inbox.wait_for(1)[0].form
    assert http.post(MESSAGES, data=hello).json()["code"] == 21610
    emulator.send(BOB, SHOP, "START")
    assert http.post(MESSAGES, data=hello).status_code == 201
    assert len(emulator.messages(direction="outbound-reply", to=BOB)) == 2


def test_a_customer_who_says_yes_is_not_answered_by_twilio(emulator: EmulatorClient) -> None:
    emulator.send(BOB, SHOP, "Yes", account_sid=SID)
    assert emulator.messages(direction="outbound-reply") == []


def test_advanced_opt_out_tells_the_application_and_fails_later(
    twilio: Client, emulator: EmulatorClient, inbox: Application
) -> None:
    emulator.set_policies(advanced_opt_out=True)
    emulator.send(ANA, BAKERY, "STOP")
    assert inbox.wait_for(1)[0].form["OptOutType"] == "STOP"
    sid = create(twilio, ANA, "Oi")
    assert emulator.message(sid, "failed", wait=PATIENCE).error_code == 21610


def test_an_opt_out_can_be_set_by_hand(http: httpx2.Client, emulator: EmulatorClient) -> None:
    emulator.opt_out(SHOP, BOB)
    assert emulator.opt_outs() == [(SHOP, BOB)]
    assert http.post(MESSAGES, data={"To": BOB, "From": SHOP, "Body": "Hello"}).json()["code"] == 21610
    emulator.opt_in(SHOP, BOB)
    assert http.post(MESSAGES, data={"To": BOB, "From": SHOP, "Body": "Hello"}).status_code == 201


def test_a_message_to_an_unknown_number_is_refused(emulator: EmulatorClient) -> None:
    with pytest.raises(EmulatorRefused, match="account_sid"):
        emulator.send(BOB, SHOP, "hi")


def test_a_misspelt_detail_is_named(emulator: EmulatorClient) -> None:
    with pytest.raises(EmulatorRefused, match="Unknown: profilename"):
        emulator.send(BOB, SHOP, "hi", account_sid=SID, profilename="Bob")
