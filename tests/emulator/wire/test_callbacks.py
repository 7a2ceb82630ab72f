import pytest
from twilio.rest import Client

from recado.emulator.phone.client import EmulatorClient
from tests.emulator.application import Answer, Application, Received
from tests.emulator.real import create, is_signed
from tests.emulator.world import ANA, BAKERY, BOB, SHOP, SID
from tests.support.patience import PATIENCE

SMS_KEYS = {"AccountSid", "ApiVersion", "From", "MessageSid", "MessageStatus", "SmsSid", "SmsStatus", "To"}
CHANNEL_KEYS = {"ChannelInstallSid", "ChannelPrefix", "ChannelToAddress", "StructuredMessage"}


def told(application: Application, number: int) -> dict[str, Received]:
    """The callbacks by the status they tell: they are on their way side by side, and come in no promised order."""
    return {request.form["MessageStatus"]: request for request in application.wait_for(number)}


def test_an_sms_is_sent_and_delivered(twilio: Client, application: Application) -> None:
    sid = create(twilio, BOB, "Hi", f"{application.url}/status?mid=42")
    statuses = told(application, 2)
    assert set(statuses) == {"sent", "delivered"}
    sent, delivered = statuses["sent"], statuses["delivered"]
    assert sent.path == "/status?mid=42"
    assert set(sent.form) == SMS_KEYS
    assert set(delivered.form) == SMS_KEYS | {"RawDlrDoneDate"}
    assert (delivered.form["MessageSid"], delivered.form["MessageStatus"]) == (sid, "delivered")


def test_a_whatsapp_message_is_also_read(twilio: Client, application: Application) -> None:
    create(twilio, ANA, "Oi", f"{application.url}/status")
    statuses = told(application, 3)
    assert set(statuses) == {"sent", "delivered", "read"}
    sent, delivered, read = statuses["sent"], statuses["delivered"], statuses["read"]
    assert set(sent.form) == SMS_KEYS | CHANNEL_KEYS
    assert (delivered.form["EventType"], read.form["EventType"]) == ("DELIVERED", "READ")
    assert read.form["ChannelToAddress"] == "+551198765XXXX"


def test_a_callback_is_signed_over_its_url_with_the_query(twilio: Client, application: Application) -> None:
    url = f"{application.url}/status/7e%7E?x=a%20b"
    create(twilio, BOB, "Hi", f"{url}#rc=1")
    request = application.wait_for(1)[0]
    assert request.path == "/status/7e%7E?x=a%20b"
    assert is_signed(request, url)
    assert request.headers["I-Twilio-Idempotency-Token"]


def test_read_receipts_can_be_off(twilio: Client, emulator: EmulatorClient) -> None:
    emulator.set_policies(read_receipts=False, callback_delay=0)
    first = create(twilio, ANA, "Oi")
    emulator.message(first, "delivered", wait=PATIENCE)
    emulator.set_policies(read_receipts=True)
    second = create(twilio, ANA, "Oi")
    emulator.message(second, "read", wait=PATIENCE)
    assert emulator.message(first).status == "delivered"


def test_a_callback_can_come_before_the_answer_of_the_create(
    twilio: Client, emulator: EmulatorClient, application: Application
) -> None:
    emulator.fault("callback_early")
    created = twilio.messages.create(to=BOB, from_=SHOP, body="Hi", status_callback=f"{application.url}/status")
    assert "sent" in told(application, 1)
    assert str(created.status) == "queued"


def test_callbacks_can_come_twice(twilio: Client, emulator: EmulatorClient, application: Application) -> None:
    emulator.fault("callbacks_duplicated", to=BOB)
    create(twilio, BOB, "Hi", f"{application.url}/status")
    statuses = sorted(request.form["MessageStatus"] for request in application.wait_for(4))
    assert statuses == ["delivered", "delivered", "sent", "sent"]


def test_callbacks_can_come_in_a_wrong_order(
    twilio: Client, emulator: EmulatorClient, application: Application
) -> None:
    emulator.fault("callbacks_reordered")
    sid = create(twilio, ANA, "Hi", f"{application.url}/status")
    emulator.message(sid, "read", wait=PATIENCE)
    late = told(application, 3)["sent"]  # Which order they are sent off in, test_store says.
    assert late.form["MessageSid"] == sid
    assert str(twilio.messages(sid).fetch().status) == "read"


def test_callbacks_can_stay_away(twilio: Client, emulator: EmulatorClient, application: Application) -> None:
    emulator.fault("callbacks_dropped", body="quiet")
    quiet = create(twilio, BOB, "be quiet", f"{application.url}/status")
    loud = create(twilio, BOB, "be loud", f"{application.url}/status")
    received = application.wait_for(2)
    assert {request.form["MessageSid"] for request in received} == {loud}
    assert emulator.message(quiet, "delivered", wait=PATIENCE).status == "delivered"


@pytest.mark.parametrize(
    ("kind", "given", "code", "life"),
    [("fail", 30007, "30007", ["failed"]), ("undelivered", None, "30003", ["sent", "undelivered"])],
)
def test_a_message_can_fail_later(
    twilio: Client,
    emulator: EmulatorClient,
    application: Application,
    kind: str,
    given: int | None,
    code: str,
    life: list[str],
) -> None:
    emulator.fault(kind, code=given)
    sid = create(twilio, BOB, "Hi", f"{application.url}/status")
    statuses = told(application, len(life))
    assert set(statuses) == set(life)
    assert statuses[life[-1]].form["ErrorCode"] == code
    assert twilio.messages(sid).fetch().error_code == int(code)


def test_a_callback_that_fails_is_recorded_and_not_repeated(
    twilio: Client, emulator: EmulatorClient, application: Application
) -> None:
    application.answer("/status", Answer(status=500))
    sid = create(twilio, BOB, "Hi", f"{application.url}/status")
    assert emulator.deliveries(wait=PATIENCE, message_sid=sid, message_status="delivered")
    assert emulator.deliveries(wait=PATIENCE, message_sid=sid, message_status="sent")
    seen = emulator.deliveries(message_sid=sid, kind="callback")
    assert {(one.message_status, one.attempt, one.status, one.error) for one in seen} == {
        ("sent", 1, 500, 11200),
        ("delivered", 1, 500, 11200),
    }
    assert len(seen) == 2


def test_outside_the_window_whatsapp_fails_when_that_rule_is_on(twilio: Client, emulator: EmulatorClient) -> None:
    emulator.set_policies(enforce_window=True)
    refused = create(twilio, ANA, "Oi")
    assert emulator.message(refused, "failed", wait=PATIENCE).error_code == 63016
    template = twilio.messages.create(to=ANA, from_=BAKERY, content_sid="HX" + "3" * 32)
    assert emulator.message(str(template.sid), "read", wait=PATIENCE).error_code is None
    emulator.send(ANA, BAKERY, "oi", account_sid=SID)
    inside = create(twilio, ANA, "Oi")
    assert emulator.message(inside, "read", wait=PATIENCE).error_code is None
