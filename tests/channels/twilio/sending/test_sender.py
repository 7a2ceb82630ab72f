"""What is known about a message after one create call, and what the provider's list says about it."""

import asyncio
import base64
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from recado.channels.twilio.callbacks import callback_ref, callback_url
from recado.channels.twilio.models import NoCredentials, TwilioCredentials
from recado.channels.twilio.sending.client import TwilioApi
from recado.channels.twilio.sending.sender import TwilioSender
from recado.channels.twilio.sending.transport import Transport
from recado.channels.twilio.values import AccountSid
from recado.conversation.ports import ListedMessage, NotProcessed, OutboundText, Pull, Refused, Sent, Unknown
from recado.conversation.values import Address
from recado.core.errors import ConfigurationError, StorageUnavailable
from recado.entrypoints.reserved_port import ReservedPort
from tests.channels.twilio.sending.scripted_server import (
    Act,
    ScriptedServer,
    answers,
    breaks_off,
    closes,
    hangs,
    resets,
)
from tests.support.keys import callback_refs

ACCOUNT = AccountSid("AC" + "0" * 32)
TOKEN = "0123456789abcdef0123456789abcdef"
SID = "SM" + "1" * 32
NOON = datetime(2026, 3, 14, 12, 0, tzinfo=UTC)
MESSAGE = OutboundText(
    owner_id=UUID(int=1),
    address_id=UUID(int=2),
    provider="twilio",
    account_id=UUID(int=3),
    from_address=Address("whatsapp:+14155238886"),
    to_address=Address("whatsapp:+5511987654321"),
    text="Olá 👋 & até já",
    attempt_id=UUID(int=4),
)


class Accounts:
    """An account directory with one entry, which a test may replace by whatever it likes."""

    def __init__(self) -> None:
        self.entry: TwilioCredentials | NoCredentials | StorageUnavailable = TwilioCredentials(ACCOUNT, TOKEN)

    async def account_for(self, account_id: UUID) -> TwilioCredentials | NoCredentials:
        assert account_id == MESSAGE.account_id
        if isinstance(self.entry, StorageUnavailable):
            raise self.entry
        return self.entry


class NowhereResolver(AbstractResolver):
    """Knows no name."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        raise OSError(None, f"no such host: {host}:{port} ({family})")

    async def close(self) -> None:
        return


OpenSender = Callable[..., TwilioSender]


@pytest.fixture
def accounts() -> Accounts:
    return Accounts()


@pytest.fixture
async def sender_at(accounts: Accounts) -> AsyncIterator[OpenSender]:
    """Makes senders with tiny timeouts, and closes them after the test."""
    opened: list[TwilioSender] = []

    def at(
        url: str, *, connect: float = 5, read: float = 5, resolver: AbstractResolver | None = None, max_pages: int = 3
    ) -> TwilioSender:
        transport = Transport(url, connect_seconds=connect, read_seconds=read, resolver=resolver)
        opened.append(
            TwilioSender(accounts, TwilioApi(transport), callback_refs(), "https://bot.example", max_pages=max_pages)
        )
        return opened[-1]

    yield at
    for sender in opened:
        await sender.aclose()


def created(**changed: object) -> Act:
    return answers(201, {"sid": SID, "account_sid": ACCOUNT.value, "status": "queued", **changed})


def refused(status: int, code: int, message: str = "no") -> Act:
    return answers(status, {"code": code, "message": message, "more_info": "https://x.example", "status": status})


class TestSending:
    async def test_an_accepted_message_has_a_sid(self, sender_at: OpenSender) -> None:
        async with ScriptedServer(created()) as server:
            sender = sender_at(server.url)
            result = await sender.send(MESSAGE)
        assert (result.result, result.accepted) == (Sent(SID), True)
        assert (result.account_sid, result.message_sid, result.error_code) == (ACCOUNT.value, SID, None)

    async def test_a_refusal_names_twilios_error(self, sender_at: OpenSender) -> None:
        async with ScriptedServer(answers(400, {"code": 21610, "message": "no"})) as server:
            result = await sender_at(server.url).send(MESSAGE)
        assert (result.accepted, result.message_sid, result.error_code) == (False, None, "21610")
        assert isinstance(result.result, Refused)

    async def test_the_call_says_who_writes_what_to_whom_and_where_to_report(self, sender_at: OpenSender) -> None:
        async with ScriptedServer(created()) as server:
            await sender_at(server.url).send(MESSAGE)
            [call] = server.received
        assert (call.method, call.path) == ("POST", f"/2010-04-01/Accounts/{ACCOUNT}/Messages.json")
        assert call.headers["content-type"] == "application/x-www-form-urlencoded"
        assert call.form == {
            "To": "whatsapp:+5511987654321",
            "From": "whatsapp:+14155238886",
            "Body": "Olá 👋 & até já",
            "StatusCallback": callback_url("https://bot.example", callback_ref(MESSAGE.attempt_id, bytes(32))),
        }

    async def test_signs_in_with_the_token_or_better_with_an_api_key(
        self, sender_at: OpenSender, accounts: Accounts
    ) -> None:
        async with ScriptedServer(created(), created()) as server:
            sender = sender_at(server.url)
            await sender.send(MESSAGE)
            accounts.entry = TwilioCredentials(ACCOUNT, TOKEN, "SK" + "1" * 32, "secret")
            await sender.send(MESSAGE)
            by_token, by_key = (call.headers["authorization"] for call in server.received)
            assert f"/Accounts/{ACCOUNT}/" in server.received[1].path
        assert by_token == "Basic " + base64.b64encode(f"{ACCOUNT}:{TOKEN}".encode()).decode()
        assert by_key == "Basic " + base64.b64encode(f"SK{'1' * 32}:secret".encode()).decode()

    async def test_a_base_with_a_path_is_kept(self, sender_at: OpenSender) -> None:
        async with ScriptedServer(created()) as server:
            await sender_at(f"{server.url}/fake/").send(MESSAGE)
            assert server.received[0].path.startswith("/fake/2010-04-01/")

    async def test_text_that_no_database_takes_is_sent_as_it_is_stored(self, sender_at: OpenSender) -> None:
        async with ScriptedServer(created()) as server:
            await sender_at(server.url).send(replace(MESSAGE, text="a\ud83d\x00b"))
            assert server.received[0].form["Body"] == "a\ufffd\ufffdb"

    async def test_connections_are_shared(self, sender_at: OpenSender) -> None:
        async with ScriptedServer(created(), created()) as server:
            sender = sender_at(server.url)
            await sender.send(MESSAGE)
            await sender.send(MESSAGE)
            assert [call.connection for call in server.received] == [1, 1]

    async def test_cookies_are_not(self, sender_at: OpenSender) -> None:
        cookie = answers(201, {"sid": SID}, headers="Set-Cookie: tenant=one; Path=/\r\n")
        async with ScriptedServer(cookie, created()) as server:
            sender = sender_at(server.url)
            await sender.send(MESSAGE)
            await sender.send(MESSAGE)
            assert "cookie" not in server.received[1].headers

    async def test_it_can_be_used_again_after_closing(self, sender_at: OpenSender) -> None:
        async with ScriptedServer(created(), created()) as server:
            sender = sender_at(server.url)
            await sender.send(MESSAGE)
            await sender.aclose()
            assert isinstance((await sender.send(MESSAGE)).result, Sent)


class TestRefusals:
    @pytest.mark.parametrize(
        ("status", "code", "expected"),
        [
            (400, 21610, Refused("21610", "the recipient opted out", "opt_out")),
            (400, 21211, Refused("21211", "the recipient's address is not valid", "unreachable")),
            (429, 20429, NotProcessed("20429", "too many calls at the same time")),
        ],
    )
    async def test_a_code_of_the_table_decides(
        self, sender_at: OpenSender, status: int, code: int, expected: Refused | NotProcessed
    ) -> None:
        async with ScriptedServer(refused(status, code)) as server:
            assert (await sender_at(server.url).send(MESSAGE)).result == expected
            assert len(server.received) == 1

    async def test_wrong_credentials_pause_the_account(self, sender_at: OpenSender) -> None:
        async with ScriptedServer(refused(401, 20003, "Authenticate")) as server:
            result = (await sender_at(server.url).send(MESSAGE)).result
        assert isinstance(result, NotProcessed)
        assert result.pause_account

    async def test_a_pause_asked_for_is_passed_on(self, sender_at: OpenSender) -> None:
        crowd = answers(429, {"code": 20429}, headers="Retry-After: 7\r\n")
        async with ScriptedServer(crowd) as server:
            result = (await sender_at(server.url).send(MESSAGE)).result
        assert isinstance(result, NotProcessed)
        assert result.retry_after == 7

    async def test_an_unknown_code_shows_twilios_words_without_the_number(self, sender_at: OpenSender) -> None:
        async with ScriptedServer(refused(400, 99999, "The number +5511987654321 is odd")) as server:
            result = (await sender_at(server.url).send(MESSAGE)).result
        assert result == Refused("99999", "The number +…4321 is odd", "unreachable")

    async def test_both_forms_of_an_error_are_read(self, sender_at: OpenSender) -> None:
        problem = answers(400, {"type": "x", "title": "Odd", "status": 400, "code": 99999, "detail": "Very odd"})
        async with ScriptedServer(problem) as server:
            assert (await sender_at(server.url).send(MESSAGE)).result == Refused("99999", "Very odd", "unreachable")

    @pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"code": {}}', b"\xff"])
    async def test_a_4xx_without_sense_is_still_a_refusal(self, sender_at: OpenSender, body: bytes) -> None:
        async with ScriptedServer(answers(400, body)) as server:
            assert (await sender_at(server.url).send(MESSAGE)).result == Refused("http_400", "", "unreachable")


class TestNotProcessed:
    async def test_nobody_listens(self, sender_at: OpenSender) -> None:
        with ReservedPort() as port:
            result = (await sender_at(f"http://127.0.0.1:{port.number}").send(MESSAGE)).result
        assert isinstance(result, NotProcessed)
        assert result.code == "connect_failed"

    async def test_the_name_is_unknown(self, sender_at: OpenSender) -> None:
        result = (await sender_at("http://nowhere.example", resolver=NowhereResolver()).send(MESSAGE)).result
        assert isinstance(result, NotProcessed)
        assert result.code == "dns"

    async def test_the_tls_handshake_fails(self, sender_at: OpenSender) -> None:
        async with ScriptedServer(greeting=b"no TLS here\r\n\r\n") as server:
            result = (await sender_at(f"https://127.0.0.1:{server.port}").send(MESSAGE)).result
        assert isinstance(result, NotProcessed)
        assert result.code == "tls"

    async def test_the_connection_is_not_ready_in_time(self, sender_at: OpenSender) -> None:
        async with ScriptedServer() as server:  # It waits for a request, so the TLS handshake never ends.
            result = (await sender_at(f"https://127.0.0.1:{server.port}", connect=0.05).send(MESSAGE)).result
        assert isinstance(result, NotProcessed)
        assert result.code == "connect_timeout"

    async def test_no_connection_is_free_in_time(self, accounts: Accounts) -> None:
        arrived = asyncio.Event()
        async with ScriptedServer(hangs(arrived)) as server:
            api = TwilioApi(Transport(server.url, connect_seconds=0.5, read_seconds=30, connections=1))
            sender = TwilioSender(accounts, api, callback_refs(), "https://bot.example")
            first = asyncio.create_task(sender.send(MESSAGE))
            await arrived.wait()
            result = (await sender.send(MESSAGE)).result
            first.cancel()
            await asyncio.wait([first])
            await api.aclose()
        assert isinstance(result, NotProcessed)
        assert result.code == "connect_timeout"

    async def test_there_are_no_credentials(self, sender_at: OpenSender, accounts: Accounts) -> None:
        accounts.entry = NoCredentials("the address was removed")
        async with ScriptedServer() as server:
            result = (await sender_at(server.url).send(MESSAGE)).result
            assert server.received == []
        assert result == NotProcessed("no_credentials", "the address was removed", retry_after=60)

    async def test_the_database_is_away(self, sender_at: OpenSender, accounts: Accounts) -> None:
        accounts.entry = StorageUnavailable("the disk is full")
        async with ScriptedServer() as server:
            result = (await sender_at(server.url).send(MESSAGE)).result
        assert result == NotProcessed("core.storage", "the disk is full", retry_after=60)


MAY_HAVE_BEEN_TAKEN: dict[str, tuple[Act, str]] = {
    "reset": (resets(), "connection_lost"),
    "closed": (closes(), "connection_lost"),
    "half an answer": (breaks_off(), "connection_lost"),
    "500": (answers(500, {"code": 20500}), "20500"),
    "503 of a proxy": (answers(503, b"<html>"), "http_503"),
    "redirect": (answers(307, b"", headers="Location: http://elsewhere.example/\r\n"), "http_307"),
    "empty": (answers(201, b""), "no_sid"),
    "no sid": (answers(201, {"status": "queued"}), "no_sid"),
    "sid null": (created(sid=None), "no_sid"),
    "sid too short": (created(sid="SM1"), "no_sid"),
    "sid a number": (created(sid=7), "no_sid"),
    "half of a JSON": (answers(201, b"{"), "unreadable_answer"),
    "a list": (answers(201, []), "unreadable_answer"),
    "no text": (answers(201, b"\xff\xfe"), "unreadable_answer"),
    "a date that is none": (created(date_created=7), "unreadable_answer"),
}


class TestUnknown:
    @pytest.mark.parametrize("case", MAY_HAVE_BEEN_TAKEN)
    async def test_what_may_have_been_taken(self, sender_at: OpenSender, case: str) -> None:
        act, code = MAY_HAVE_BEEN_TAKEN[case]
        async with ScriptedServer(act) as server:
            result = (await sender_at(server.url).send(MESSAGE)).result
            assert len(server.received) == 1
        assert isinstance(result, Unknown)
        assert result.code == code

    async def test_no_answer_in_time(self, sender_at: OpenSender) -> None:
        async with ScriptedServer(hangs()) as server:
            result = (await sender_at(server.url, read=0.05).send(MESSAGE)).result
        assert isinstance(result, Unknown)
        assert result.code == "read_timeout"

    @pytest.mark.parametrize("act", [resets(), closes()], ids=["reset", "closed"])
    async def test_a_reused_connection_that_dies_is_no_proof(self, sender_at: OpenSender, act: Act) -> None:
        async with ScriptedServer(created(), act) as server:
            sender = sender_at(server.url)
            await sender.send(MESSAGE)
            assert isinstance((await sender.send(MESSAGE)).result, Unknown)
            assert [call.connection for call in server.received] == [1, 1]

    async def test_an_account_sid_that_is_missing_is_ours(self, sender_at: OpenSender) -> None:
        async with ScriptedServer(created(account_sid=None)) as server:
            assert (await sender_at(server.url).send(MESSAGE)).result == Sent(SID)


def listed(
    number: int, *, at: datetime = NOON, sender: str | None = MESSAGE.from_address.value, **changed: object
) -> dict[str, object]:
    return {
        "sid": f"SM{number:032d}",
        "account_sid": ACCOUNT.value,
        "direction": "outbound-api",
        "from": sender,
        "to": MESSAGE.to_address.value,
        "body": "Olá",
        "date_created": at.strftime("%a, %d %b %Y %H:%M:%S +0000"),
        "date_sent": None,
        "error_code": None,
        "status": "queued",
        **changed,
    }


def page(*messages: dict[str, object], next_page: str | None = None) -> Act:
    return answers(200, {"messages": messages, "page": 0, "page_size": 50, "uri": "/x", "next_page_uri": next_page})


NEXT = f"/2010-04-01/Accounts/{ACCOUNT}/Messages.json?PageSize=1000&Page=1&PageToken=PAabc"


INCOMPLETE: dict[str, tuple[Act, str]] = {
    "500": (answers(500, b""), "HTTP 500"),
    "401": (refused(401, 20003), "HTTP 401, code 20003"),
    "half of a JSON": (answers(200, b"{"), "unreadable_answer"),
    "no list in it": (answers(200, {"nothing": 1, "known": 2}), "unreadable_answer"),
    "empty": (answers(204, b""), "unreadable_answer"),
    "an entry without a sid": (page(listed(1, sid=None)), "1 unreadable entries"),
    "an entry without a date": (page(listed(1, date_created="yesterday")), "1 unreadable entries"),
}


class TestFinding:
    async def find(self, sender: TwilioSender, message: OutboundText = MESSAGE) -> Pull:
        return await sender.find(
            message, created_after=NOON - timedelta(seconds=5), created_before=NOON + timedelta(minutes=2)
        )

    async def test_asks_for_every_spelling_and_for_no_date(self, sender_at: OpenSender) -> None:
        async with ScriptedServer(page(), page()) as server:
            assert await self.find(sender_at(server.url)) == Pull((), complete=True)
            assert [call.query for call in server.received] == [
                {"To": ["whatsapp:+5511987654321"], "PageSize": ["1000"]},
                {"To": ["whatsapp:+551187654321"], "PageSize": ["1000"]},
            ]

    async def test_tells_all_about_a_message(self, sender_at: OpenSender) -> None:
        failed = listed(1, status="failed", error_code=63016)
        async with ScriptedServer(page(failed), page()) as server:
            pull = await self.find(sender_at(server.url))
        assert pull.messages == (
            ListedMessage(
                provider_message_id=f"SM{1:032d}",
                to_address="whatsapp:+5511987654321",
                from_address="whatsapp:+14155238886",
                body="Olá",
                created_at=NOON,
                status="failed",
                error_code="63016",
            ),
        )

    @pytest.mark.parametrize(
        "other",
        [
            listed(1, direction="inbound"),
            listed(1, direction="outbound-reply"),
            listed(1, at=NOON - timedelta(seconds=6)),
            listed(1, at=NOON + timedelta(seconds=121)),
            listed(1, sender="whatsapp:+14155550000"),
            listed(1, sender="+14155238886"),
        ],
    )
    async def test_leaves_out_what_is_not_ours_or_not_of_the_span(
        self, sender_at: OpenSender, other: dict[str, object]
    ) -> None:
        async with ScriptedServer(page(other), page()) as server:
            assert await self.find(sender_at(server.url)) == Pull((), complete=True)

    async def test_keeps_a_message_whose_sender_is_not_chosen_yet(self, sender_at: OpenSender) -> None:
        async with ScriptedServer(page(listed(1, sender=None)), page()) as server:
            assert len((await self.find(sender_at(server.url))).messages) == 1

    async def test_a_span_that_starts_within_a_second_includes_it(self, sender_at: OpenSender) -> None:
        async with ScriptedServer(page(listed(1)), page()) as server:
            pull = await sender_at(server.url).find(
                MESSAGE,
                created_after=NOON + timedelta(milliseconds=900),
                created_before=NOON + timedelta(minutes=1),
            )
        assert len(pull.messages) == 1

    async def test_reads_on_past_old_messages_because_the_order_is_not_promised(self, sender_at: OpenSender) -> None:
        old = page(listed(1, at=NOON - timedelta(days=30)), next_page=NEXT)
        async with ScriptedServer(old, page(listed(2)), page()) as server:
            pull = await self.find(sender_at(server.url))
            assert server.received[1].target == NEXT
        assert ([each.provider_message_id for each in pull.messages], pull.complete) == ([f"SM{2:032d}"], True)

    async def test_a_message_on_two_pages_is_one(self, sender_at: OpenSender) -> None:
        async with ScriptedServer(page(listed(1), next_page=NEXT), page(listed(1)), page()) as server:
            assert len((await self.find(sender_at(server.url))).messages) == 1

    async def test_a_next_page_elsewhere_is_still_asked_for_here(self, sender_at: OpenSender) -> None:
        away = page(next_page="https://evil.example/2010-04-01/x.json?a=1")
        async with ScriptedServer(away, page(), page()) as server:
            await self.find(sender_at(server.url))
            assert len(server.received) == 3

    @pytest.mark.parametrize("case", INCOMPLETE)
    async def test_a_poll_that_did_not_read_everything_is_not_complete(self, sender_at: OpenSender, case: str) -> None:
        act, detail = INCOMPLETE[case]
        async with ScriptedServer(act, page(listed(7))) as server:
            pull = await self.find(sender_at(server.url))
        assert (pull.complete, pull.detail) == (False, detail)
        assert [each.provider_message_id for each in pull.messages] == [f"SM{7:032d}"]

    async def test_a_list_without_end_is_left_at_the_bound(self, sender_at: OpenSender) -> None:
        async with ScriptedServer(page(next_page=NEXT), page(next_page=NEXT), page()) as server:
            pull = await self.find(sender_at(server.url, max_pages=2))
        assert (pull.complete, pull.detail) == (False, "more than 2 pages")

    async def test_a_list_that_never_comes_is_left_in_time(self, accounts: Accounts) -> None:
        async with ScriptedServer(page(listed(1), next_page=NEXT), hangs()) as server:
            api = TwilioApi(Transport(server.url))
            await api.warm_up()  # Loading the SDK would use up the time.
            pull = await self.find(
                TwilioSender(accounts, api, callback_refs(), "https://bot.example", find_seconds=0.5)
            )
            await api.aclose()
        assert (pull.complete, pull.detail, len(pull.messages)) == (False, "out of time", 1)

    async def test_without_credentials_nothing_is_seen(self, sender_at: OpenSender, accounts: Accounts) -> None:
        accounts.entry = NoCredentials("gone")
        assert await self.find(sender_at("http://127.0.0.1:1")) == Pull((), complete=False, detail="no_credentials")

    async def test_a_trial_accounts_preface_is_taken_off(self, sender_at: OpenSender) -> None:
        preface = "Sent from your Twilio trial account - Olá"
        async with ScriptedServer(page(listed(1, body=preface)), page()) as server:
            pull = await self.find(sender_at(server.url))
        assert [each.body for each in pull.messages] == ["Olá"]


class TestSettingUp:
    @pytest.mark.parametrize(
        "url", ["api.twilio.com", "ftp://x", "https://", "https://u:p@x", "https://x/?a", "http://x#y"]
    )
    def test_a_base_that_is_no_base_is_refused(self, url: str) -> None:
        with pytest.raises(ConfigurationError, match="RECADO_TWILIO_API_URL"):
            Transport(url)

    async def test_warming_up_calls_nobody(self) -> None:
        async with ScriptedServer() as server:
            api = TwilioApi(Transport(server.url))
            await api.warm_up()
            await api.aclose()
            assert server.received == []

    def test_credentials_show_no_secret(self) -> None:
        shown = repr(TwilioCredentials(ACCOUNT, TOKEN, "SK1", "hush"))
        assert TOKEN not in shown
        assert "hush" not in shown
