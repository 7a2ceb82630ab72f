from datetime import UTC, datetime, timedelta

import httpx2
import pytest
from twilio.base.exceptions import TwilioRestException
from twilio.rest import Client

from recado.emulator.phone.client import EmulatorClient
from tests.emulator.real import create
from tests.emulator.world import ANA, BAKERY, BOB, MESSAGES, OTHER_SID, SHOP, SID
from tests.support.patience import PATIENCE

ENVELOPE = {
    "end", "first_page_uri", "messages", "next_page_uri", "page", "page_size", "previous_page_uri", "start", "uri",
}  # fmt: skip
MEDIA_KEYS = {"account_sid", "content_type", "date_created", "date_updated", "parent_sid", "sid", "uri"}


def bodies_of(http: httpx2.Client, uri: str) -> list[str]:
    return [message["body"] for message in http.get(uri).json()["messages"]]


@pytest.fixture
def five(twilio: Client) -> list[str]:
    """Bodies, the newest first, as lists show them."""
    for number in range(1, 6):
        create(twilio, BOB, f"{number}")
    return ["5", "4", "3", "2", "1"]


def test_the_real_client_lists_over_several_pages(twilio: Client, five: list[str]) -> None:
    assert [message.body for message in twilio.messages.list(page_size=2)] == five
    assert [message.body for message in twilio.messages.list(limit=3, page_size=2)] == five[:3]


def test_a_page_has_twilios_envelope_and_leads_back_and_forth(http: httpx2.Client, five: list[str]) -> None:
    first = http.get(MESSAGES, params={"PageSize": 2}).json()
    second = http.get(first["next_page_uri"]).json()
    third = http.get(second["next_page_uri"]).json()
    assert set(first) == ENVELOPE
    assert (first["previous_page_uri"], third["next_page_uri"]) == (None, None)
    assert [message["body"] for message in third["messages"]] == five[4:]
    assert bodies_of(http, second["previous_page_uri"]) == five[:2]
    assert (second["page"], second["start"], second["end"], second["page_size"]) == (1, 2, 3, 2)


def test_a_message_that_arrives_between_two_pages_repeats_nothing(
    http: httpx2.Client, twilio: Client, five: list[str]
) -> None:
    first = http.get(MESSAGES, params={"PageSize": 2}).json()
    create(twilio, BOB, "6")
    assert bodies_of(http, first["next_page_uri"]) == five[2:4]


def test_filters_tell_customers_apart(twilio: Client, emulator: EmulatorClient) -> None:
    create(twilio, BOB, "to Bob")
    create(twilio, ANA, "to Ana")
    emulator.send(ANA, BAKERY, "from Ana", account_sid=SID)
    assert [message.body for message in twilio.messages.list(to=ANA)] == ["to Ana"]
    assert [message.body for message in twilio.messages.list(from_=ANA)] == ["from Ana"]
    assert [str(message.direction) for message in twilio.messages.list(to=BAKERY)] == ["inbound"]


def test_filters_by_the_date_of_sending_take_both_ends(twilio: Client) -> None:
    create(twilio, BOB, "now")
    now = datetime.now(UTC)  # noqa: TID251  The emulator over HTTP lives in real time.
    second = timedelta(seconds=1)
    assert len(twilio.messages.list(date_sent_after=now - 60 * second)) == 1
    assert len(twilio.messages.list(date_sent_after=now - 60 * second, date_sent_before=now + 60 * second)) == 1
    assert twilio.messages.list(date_sent_after=now + 60 * second) == []
    assert twilio.messages.list(date_sent_before=now - 60 * second) == []


def test_a_bare_date_means_its_whole_day(http: httpx2.Client, twilio: Client) -> None:
    create(twilio, BOB, "today")
    today = datetime.now(UTC).date()  # noqa: TID251  The emulator over HTTP lives in real time.
    yesterday = today - timedelta(days=1)
    for name in ("DateSent", "DateSent<", "DateSent>"):
        assert len(http.get(MESSAGES, params={name: str(today)}).json()["messages"]) == 1
    assert http.get(MESSAGES, params={"DateSent": str(yesterday)}).json()["messages"] == []
    assert http.get(MESSAGES, params={"DateSent<": str(yesterday)}).json()["messages"] == []


@pytest.mark.parametrize("query", [{"PageSize": "0"}, {"PageSize": "1001"}, {"DateSent>": "soon"}])
def test_a_list_request_that_makes_no_sense_is_refused(http: httpx2.Client, query: dict[str, str]) -> None:
    assert http.get(MESSAGES, params=query).status_code == 400


def test_a_young_message_can_be_kept_out_of_lists(twilio: Client, emulator: EmulatorClient) -> None:
    emulator.set_policies(list_lag=60)
    sid = create(twilio, BOB, "hidden")
    assert twilio.messages.list() == []
    assert twilio.messages(sid).fetch().body == "hidden"


def test_a_text_can_be_redacted(twilio: Client) -> None:
    sid = create(twilio, BOB, "secret")
    assert twilio.messages(sid).update(body="").body == ""
    assert twilio.messages(sid).fetch().body == ""


def test_a_delivered_message_can_be_deleted(twilio: Client, emulator: EmulatorClient) -> None:
    sid = create(twilio, BOB, "gone")
    emulator.message(sid, "delivered", wait=PATIENCE)
    assert twilio.messages(sid).delete() is True
    assert twilio.messages.list() == []
    with pytest.raises(TwilioRestException) as missing:
        twilio.messages(sid).fetch()
    assert (missing.value.status, missing.value.code) == (404, 20404)


def test_a_message_on_its_way_cannot_be_deleted(twilio: Client, emulator: EmulatorClient) -> None:
    emulator.set_policies(callback_delay=60)
    sid = create(twilio, BOB, "still queued")
    with pytest.raises(TwilioRestException) as early:
        twilio.messages(sid).delete()
    assert early.value.code == 20009


def test_only_a_message_that_was_not_sent_can_be_cancelled(twilio: Client, emulator: EmulatorClient) -> None:
    emulator.configure_number(SHOP, None, account_sid=SID)
    later = datetime.now(UTC) + timedelta(hours=1)  # noqa: TID251  The emulator over HTTP lives in real time.
    scheduled = twilio.messages.create(
        to=BOB, messaging_service_sid="MG" + "5" * 32, body="later", schedule_type="fixed", send_at=later
    )
    sent = create(twilio, BOB, "now")
    emulator.message(sent, "delivered", wait=PATIENCE)
    cancelled = twilio.messages(str(scheduled.sid)).update(status="canceled")
    assert (str(scheduled.status), str(cancelled.status)) == ("scheduled", "canceled")
    with pytest.raises(TwilioRestException) as late:
        twilio.messages(sent).update(status="canceled")
    assert late.value.code == 30409


def test_media_are_listed_and_fetched_through_a_redirect(http: httpx2.Client, emulator: EmulatorClient) -> None:
    seen = emulator.send(ANA, BAKERY, "look", num_media=2, account_sid=SID)
    listed = http.get(f"/2010-04-01/Accounts/{SID}/Messages/{seen.sid}/Media.json").json()["media_list"]
    assert (len(listed), set(listed[0])) == (2, MEDIA_KEYS)
    redirect = http.get(seen.media[0].url)
    image = httpx2.get(str(http.base_url.join(redirect.headers["Location"])))
    assert (redirect.status_code, image.headers["Content-Type"]) == (307, "image/png")
    assert image.content.startswith(b"\x89PNG")


def test_media_ask_for_credentials(http: httpx2.Client, emulator: EmulatorClient) -> None:
    media = emulator.send(ANA, BAKERY, num_media=1, account_sid=SID).media[0]
    assert httpx2.get(str(http.base_url.join(media.url))).status_code == 401
    assert http.get(media.url.replace(SID, OTHER_SID)).status_code == 404


def test_the_real_client_reads_and_deletes_media(twilio: Client, emulator: EmulatorClient) -> None:
    sid = emulator.send(ANA, BAKERY, num_media=1, account_sid=SID).sid
    (media,) = twilio.messages(sid).media.list()
    assert twilio.messages(sid).media(str(media.sid)).fetch().parent_sid == sid
    assert twilio.messages(sid).media(str(media.sid)).delete() is True
    assert twilio.messages(sid).media.list() == []


def test_a_media_file_can_be_the_testers_own(http: httpx2.Client, emulator: EmulatorClient) -> None:
    note = {"content_type": "audio/ogg", "content_base64": "T2dnUw=="}
    linked = "https://files.example.com/menu.pdf"
    seen = emulator.send(ANA, BAKERY, media=[note], media_urls=[linked], account_sid=SID)
    own = http.get(seen.media[0].url, follow_redirects=True)
    assert (own.content, own.headers["Content-Type"]) == (b"OggS", "audio/ogg")
    assert seen.media[1].url == linked
