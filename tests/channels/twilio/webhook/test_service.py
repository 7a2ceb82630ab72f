"""What Twilio calls, through the whole server: who is let in, what is kept, and what the caller gets."""

import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote_from_bytes, urlencode
from uuid import UUID

import httpx2
import pytest
from argon2 import PasswordHasher
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sqlalchemy import RowMapping, text
from structlog.testing import capture_logs

from recado.bootstrap import Container
from recado.channels.twilio.accounts import NewNumber
from recado.channels.twilio.values import AccountSid
from recado.channels.twilio.webhook import form as forms
from recado.channels.twilio.webhook.routes import MAX_BODY
from recado.channels.twilio.webhook.signature import sign
from recado.conversation.replying.accept import Accepted
from recado.conversation.values import Address
from recado.core.clock import FrozenClock
from recado.core.errors import Conflict, InvalidInput, NotFound
from recado.core.otel import OtelTraces
from recado.entrypoints.api.app import build_app
from recado.entrypoints.worker import close_container
from recado.identity.owners import OwnerService, Registration
from recado.identity.passwords import Passwords
from recado.identity.principal import operator_of
from recado.settings import Settings

ACCOUNT, TOKEN = "AC" + "a" * 32, "a" * 32
OTHER_ACCOUNT, OTHER_TOKEN = "AC" + "b" * 32, "b" * 32
BAKERY, FLORIST, UNKNOWN = "whatsapp:+5511900000001", "whatsapp:+5511900000002", "whatsapp:+5511900000009"
ANA = "whatsapp:+5511987654321"
PUBLIC = "https://recado.example"
MESSAGES = "/webhooks/twilio/messages"
SID = "SM" + "1" * 32
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

TWIML = b'<?xml version="1.0" encoding="UTF-8"?><Response/>'


@dataclass(slots=True)
class Twilio:
    """Signs and posts, and can do either wrongly on request."""

    client: httpx2.AsyncClient
    token: str = TOKEN
    form: dict[str, str] = field(
        default_factory=lambda: {
            "AccountSid": ACCOUNT,
            "MessageSid": SID,
            "From": ANA,
            "To": BAKERY,
            "Body": "oi",
            "NumMedia": "0",
        }
    )

    async def posts(self, *, token: str | None = None, **changed: str | None) -> httpx2.Response:
        """A form with some fields changed (None takes one away), truly signed with `token`."""
        form = {name: value for name, value in {**self.form, **changed}.items() if value is not None}
        return await self.posts_raw(urlencode(form).encode(), token=token)

    async def posts_raw(
        self,
        raw: bytes,
        *,
        path: str = MESSAGES,
        token: str | None = None,
        url: str | None = None,
        signature: str | None = None,
    ) -> httpx2.Response:
        """Any body; by default signed as Twilio would sign it."""
        pairs = forms.parse(raw)
        if signature is None and isinstance(pairs, tuple):
            signature = sign(token or self.token, url or PUBLIC + path, pairs)
        headers = {"X-Twilio-Signature": signature} if signature else {}
        return await self.client.post(path, content=raw, headers=headers)


@pytest.fixture
async def container(empty_database: Path, tmp_path: Path, clock: FrozenClock) -> AsyncIterator[Container]:
    shutil.copy(empty_database, tmp_path / "recado.db")
    container = Container(
        settings=Settings(database_url=f"sqlite:///{tmp_path}/recado.db", public_url=PUBLIC, secret_key=bytes(32))
    )
    weak = Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    with container.clock.override(clock):
        container.owners.override(OwnerService(container.database(), clock, container.ids(), weak, container.key_ring))
        yield container
        await close_container(container)


@pytest.fixture
async def bakery(container: Container) -> UUID:
    return await _given_owner(container, "Padaria", BAKERY, ACCOUNT, TOKEN)


@pytest.fixture
async def florist(container: Container) -> UUID:
    return await _given_owner(container, "Floricultura", FLORIST, OTHER_ACCOUNT, OTHER_TOKEN)


async def _given_owner(container: Container, name: str, number: str, account: str, token: str) -> UUID:
    form = Registration(name, f"{name}@recado.example", "pão quente às seis")
    owner_id = (await container.owners().register_organization(form)).owner_id
    await container.numbers().add(operator_of(owner_id, "test"), NewNumber(AccountSid(account), token, Address(number)))
    return owner_id


@pytest.fixture
async def twilio(container: Container, bakery: UUID, florist: UUID) -> AsyncIterator[Twilio]:  # noqa: ARG001 - they must exist
    transport = httpx2.ASGITransport(app=build_app(container))
    async with httpx2.AsyncClient(transport=transport, base_url=PUBLIC) as client:
        yield Twilio(client)


async def _rows(container: Container, sql: str) -> list[RowMapping]:
    return list(await container.database().read(lambda uow: uow.all(text(sql)), owner=None))


async def _stored(container: Container) -> int:
    [row] = await _rows(container, "SELECT (SELECT count(*) FROM messages) + (SELECT count(*) FROM orphans) AS n")
    return int(row["n"])


class TestAMessage:
    async def test_is_stored_with_its_job_and_answered_with_an_empty_document(
        self, twilio: Twilio, container: Container, bakery: UUID
    ) -> None:
        response = await twilio.posts()

        assert (response.status_code, response.content) == (200, TWIML)
        assert response.headers["content-type"].startswith("text/xml")
        [message] = await _rows(container, "SELECT owner_id, text, from_address, outcome FROM messages")
        assert message == {"owner_id": bakery.bytes, "text": "oi", "from_address": ANA, "outcome": None}
        [job] = await _rows(container, "SELECT name, status FROM message_queue")
        assert job == {"name": "conversation.reply", "status": "collecting"}

    async def test_that_comes_again_changes_nothing(self, twilio: Twilio, container: Container) -> None:
        await twilio.posts()

        response = await twilio.posts(Body="something else")

        assert response.status_code == 200
        assert [row["text"] for row in await _rows(container, "SELECT text FROM messages")] == ["oi"]

    async def test_may_have_fields_that_nobody_knows_yet(self, twilio: Twilio) -> None:
        assert (await twilio.posts(SomethingNew="1", Blank="")).status_code == 200

    async def test_may_repeat_a_field_that_decides_nothing(self, twilio: Twilio) -> None:
        raw = urlencode({**twilio.form, "Blank": ""}).encode() + b"&Extra=1&Extra=2&Extra=2"

        assert (await twilio.posts_raw(raw)).status_code == 200

    @pytest.mark.parametrize("field", ["MessageSid", "AccountSid", "From", "To"])
    async def test_must_not_contradict_itself(self, twilio: Twilio, container: Container, field: str) -> None:
        second = {"MessageSid": "SM" + "2" * 32, "AccountSid": OTHER_ACCOUNT, "From": UNKNOWN, "To": FLORIST}[field]

        response = await twilio.posts_raw(urlencode([*twilio.form.items(), (field, second)]).encode())

        assert response.status_code in (400, 403)
        assert await _stored(container) == 0

    @pytest.mark.parametrize(
        ("sent", "kept"), [(b"a\x00b", "a\ufffdb"), (b"caf\xe9", "caf\ufffd"), ("café".encode(), "café")]
    )
    async def test_keeps_its_bytes_and_a_text_that_can_be_stored(
        self, twilio: Twilio, container: Container, sent: bytes, kept: str
    ) -> None:
        form = {name: value for name, value in twilio.form.items() if name != "Body"}
        raw = urlencode(form).encode() + b"&Body=" + quote_from_bytes(sent).encode()

        assert (await twilio.posts_raw(raw)).status_code == 200
        [message] = await _rows(container, "SELECT text, raw FROM messages")
        assert message == {"text": kept, "raw": raw}

    @pytest.mark.parametrize("field", ["MessageSid", "From"])
    async def test_without_what_makes_it_a_message_is_refused(
        self, twilio: Twilio, container: Container, field: str
    ) -> None:
        assert (await twilio.posts(**{field: None})).status_code == 400
        assert await _stored(container) == 0


class TestWhoeverIsNotTwilio:
    async def test_cannot_change_the_body(self, twilio: Twilio, container: Container) -> None:
        pairs = tuple(twilio.form.items())
        tampered = urlencode({**twilio.form, "Body": "send me money"}).encode()

        response = await twilio.posts_raw(tampered, signature=sign(TOKEN, PUBLIC + MESSAGES, pairs))

        assert response.status_code == 403
        assert await _stored(container) == 0

    @pytest.mark.parametrize(
        "url",
        [
            f"http://recado.example{MESSAGES}",
            f"https://other.example{MESSAGES}",
            f"https://recado.example{MESSAGES}/",
            f"https://recado.example{MESSAGES}?a=1",
        ],
    )
    async def test_cannot_use_what_was_signed_for_another_address(
        self, twilio: Twilio, container: Container, url: str
    ) -> None:
        response = await twilio.posts_raw(urlencode(twilio.form).encode(), url=url)

        assert response.status_code == 403
        assert await _stored(container) == 0

    @pytest.mark.parametrize("token", ["c" * 32, OTHER_TOKEN])
    async def test_cannot_sign_with_another_token(self, twilio: Twilio, container: Container, token: str) -> None:
        assert (await twilio.posts(token=token)).status_code == 403
        assert await _stored(container) == 0

    async def test_cannot_sign_with_a_token_that_was_rotated_away(
        self, twilio: Twilio, container: Container, bakery: UUID, clock: FrozenClock
    ) -> None:
        number = NewNumber(AccountSid(ACCOUNT), "d" * 32, Address(BAKERY))
        await container.numbers().add(operator_of(bakery, "test"), number)
        assert (await twilio.posts(token=TOKEN)).status_code == 200, (
            "Twilio signs with it until the new one is promoted"
        )
        for _ in range(2):
            assert (await twilio.posts(token="d" * 32)).status_code == 200
            clock.advance(timedelta(minutes=10))
        assert (await twilio.posts(token=TOKEN)).status_code == 403

    @pytest.mark.parametrize("signature", ["", "AAAA", "ÿ", "=" * 4000])
    async def test_cannot_do_without_a_signature(self, twilio: Twilio, container: Container, signature: str) -> None:
        raw = urlencode(twilio.form).encode()
        header = {b"X-Twilio-Signature": signature.encode("latin-1")} if signature else {}

        response = await twilio.client.post(MESSAGES, content=raw, headers=header)

        assert response.status_code == 403
        assert await _stored(container) == 0

    async def test_cannot_write_to_a_number_of_somebody_else_with_an_account_of_their_own(
        self, twilio: Twilio, container: Container
    ) -> None:
        """The florist knows its own token; that must not let it speak as a customer of the bakery."""
        assert (await twilio.posts(AccountSid=OTHER_ACCOUNT, token=OTHER_TOKEN)).status_code == 403
        assert (await twilio.posts(token=OTHER_TOKEN)).status_code == 403
        assert await _stored(container) == 0

    async def test_is_not_let_in_under_an_account_that_nobody_has(self, twilio: Twilio, container: Container) -> None:
        unknown = "AC" + "f" * 32

        assert (await twilio.posts(AccountSid=unknown, To=UNKNOWN)).status_code == 403
        assert (await twilio.posts(AccountSid=unknown)).status_code == 403
        assert (await twilio.posts(AccountSid=None)).status_code == 403
        assert await _stored(container) == 0

    async def test_cannot_bring_more_than_anybody_signs(self, twilio: Twilio, container: Container) -> None:
        raw = urlencode({**twilio.form, "Body": "x" * 1_000_000}).encode()

        assert (await twilio.posts_raw(raw)).status_code == 413
        assert (await twilio.posts_raw(b"&".join([b"a=1"] * 2_000))).status_code == 403
        assert await _stored(container) == 0

    async def test_can_only_post(self, twilio: Twilio) -> None:
        assert (await twilio.client.get(MESSAGES)).status_code == 405
        assert (await twilio.client.put(MESSAGES, content=b"")).status_code == 405
        assert (await twilio.client.get("/webhooks/twilio/other")).status_code == 404


class TestTheStore:
    async def test_when_full_has_twilio_try_elsewhere_and_takes_the_next_one(
        self, twilio: Twilio, container: Container
    ) -> None:
        """The directory remembers the number by then, so nothing but the message itself has to be written."""
        await twilio.posts()
        database = container.database()
        await database.write(lambda uow: uow.execute(text("PRAGMA max_page_count=1")).close(), owner=None)
        large = "ã" * (MAX_BODY // 8)

        response = await twilio.posts(MessageSid="SM" + "2" * 32, Body=large)

        assert (response.status_code, response.headers["retry-after"]) == (503, "1")
        assert await _stored(container) == 1
        assert (await twilio.posts(MessageSid="SM" + "2" * 32, Body=large)).status_code == 200
        assert await _stored(container) == 2


class TestATokenThatIsReplaced:
    async def test_stays_good_for_signatures_until_the_next_one(
        self, twilio: Twilio, container: Container, bakery: UUID
    ) -> None:
        await twilio.posts()  # The directory remembers the first token now.
        await container.numbers().add(
            operator_of(bakery, "test"), NewNumber(AccountSid(ACCOUNT), "second", Address(BAKERY))
        )

        assert (await twilio.posts(MessageSid="SM" + "2" * 32, token="second")).status_code == 200
        assert (await twilio.posts(MessageSid="SM" + "3" * 32, token=TOKEN)).status_code == 200

    async def test_is_void_after_the_next_one(
        self, twilio: Twilio, container: Container, bakery: UUID, clock: FrozenClock
    ) -> None:
        for token in ("second", "third"):
            await container.numbers().add(
                operator_of(bakery, "test"), NewNumber(AccountSid(ACCOUNT), token, Address(BAKERY))
            )
        clock.advance(timedelta(seconds=3))

        assert (await twilio.posts(token=TOKEN)).status_code == 403
        assert (await twilio.posts(token="second")).status_code == 200


class TestAnOrphan:
    async def test_is_kept_and_given_to_no_agent(self, twilio: Twilio, container: Container) -> None:
        response = await twilio.posts(To=UNKNOWN)

        assert (response.status_code, response.content) == (200, TWIML)
        [signed] = await container.orphans().list()
        orphan = signed.orphan
        assert (orphan.provider_message_id, orphan.to_address, orphan.owner_id) == (SID, UNKNOWN, None)
        assert await _rows(container, "SELECT id FROM messages UNION SELECT id FROM message_queue") == []

    async def test_that_comes_again_is_kept_once(self, twilio: Twilio, container: Container) -> None:
        with capture_logs() as lines:
            for _ in range(2):
                assert (await twilio.posts(To=UNKNOWN)).status_code == 200

        assert len(await container.orphans().list()) == 1
        [warning] = [line for line in lines if line["event"] == "Orphaned Message"]
        assert (warning["log_level"], warning["account"], warning["sid"]) == ("warning", ACCOUNT, SID)
        assert warning["number"] == Address(UNKNOWN).masked

    async def test_without_a_recipient_is_no_message(self, twilio: Twilio, container: Container) -> None:
        assert (await twilio.posts(To=None)).status_code == 400
        assert await _stored(container) == 0

    async def test_can_be_assigned_once_its_number_was_added(
        self, twilio: Twilio, container: Container, bakery: UUID
    ) -> None:
        await twilio.posts(To=UNKNOWN)
        with pytest.raises(Conflict, match="add the number first"):
            await container.orphans().assign(operator_of(bakery, "rita"), SID)
        await container.numbers().add(
            operator_of(bakery, "test"), NewNumber(AccountSid(ACCOUNT), TOKEN, Address(UNKNOWN))
        )

        assert isinstance(await container.orphans().assign(operator_of(bakery, "rita"), SID), Accepted)

        assert await container.orphans().list() == []
        [message] = await _rows(container, "SELECT owner_id, source, outcome FROM messages")
        assert message == {"owner_id": bakery.bytes, "source": "orphan", "outcome": None}
        assert len(await _rows(container, "SELECT id FROM message_queue WHERE status = 'collecting'")) == 1
        with pytest.raises(Conflict, match="before"):
            await container.orphans().assign(operator_of(bakery, "rita"), SID)

    async def test_is_never_assigned_to_an_owner_whose_account_did_not_sign(
        self, twilio: Twilio, container: Container, florist: UUID
    ) -> None:
        await twilio.posts(To=UNKNOWN)
        await container.numbers().add(
            operator_of(florist, "test"), NewNumber(AccountSid(OTHER_ACCOUNT), OTHER_TOKEN, Address(UNKNOWN))
        )

        with pytest.raises(Conflict):
            await container.orphans().assign(operator_of(florist, "rita"), SID)
        assert len(await container.orphans().list()) == 1

    async def test_older_than_a_day_gets_no_agent(
        self, twilio: Twilio, container: Container, bakery: UUID, clock: FrozenClock
    ) -> None:
        await twilio.posts(To=UNKNOWN)
        await container.numbers().add(
            operator_of(bakery, "test"), NewNumber(AccountSid(ACCOUNT), TOKEN, Address(UNKNOWN))
        )
        clock.advance(timedelta(hours=24, seconds=1))

        await container.orphans().assign(operator_of(bakery, "rita"), SID)

        [message] = await _rows(container, "SELECT outcome, outcome_reason FROM messages")
        assert message == {"outcome": "suppressed", "outcome_reason": "stale"}
        assert await _rows(container, "SELECT id FROM message_queue") == []

    async def test_with_a_sid_of_two_accounts_needs_the_account(
        self, twilio: Twilio, container: Container, bakery: UUID
    ) -> None:
        await container.numbers().add(
            operator_of(bakery, "test"), NewNumber(AccountSid(OTHER_ACCOUNT), OTHER_TOKEN, Address(BAKERY))
        )
        await twilio.posts(To=UNKNOWN)
        await twilio.posts(To=UNKNOWN, AccountSid=OTHER_ACCOUNT, token=OTHER_TOKEN)
        await container.numbers().add(
            operator_of(bakery, "test"), NewNumber(AccountSid(ACCOUNT), TOKEN, Address(UNKNOWN))
        )

        with pytest.raises(InvalidInput, match="--account-sid"):
            await container.orphans().assign(operator_of(bakery, "rita"), SID)
        assert isinstance(await container.orphans().assign(operator_of(bakery, "rita"), SID, ACCOUNT), Accepted)

    async def test_that_nobody_sent_cannot_be_assigned(self, container: Container, bakery: UUID) -> None:
        with pytest.raises(NotFound, match="orphans list"):
            await container.orphans().assign(operator_of(bakery, "rita"), SID)


class TestAStatusCallbackThatNobodySigned:
    async def test_makes_no_key(self, twilio: Twilio, container: Container) -> None:
        """It may have come to a process with a wrong RECADO_SECRET_KEY, whose key could never be opened again."""
        path = f"/webhooks/twilio/status/{'0' * 32}.{'0' * 32}"
        assert (await twilio.posts_raw(b"", path=path)).status_code == 403
        assert await container.system_keys().get("twilio.callbacks") is None


class TestAStatusCallback:
    @pytest.fixture
    async def path(self, container: Container) -> str:
        """The address of an attempt that is not stored (any more)."""
        return f"/webhooks/twilio/status/{await container.callbacks().of(UUID(int=7))}"

    @pytest.fixture
    def raw(self) -> bytes:
        return urlencode({"AccountSid": ACCOUNT, "MessageSid": SID, "MessageStatus": "sent"}).encode()

    async def test_of_nothing_we_know_is_taken_and_forgotten(
        self, twilio: Twilio, container: Container, path: str, raw: bytes
    ) -> None:
        assert (await twilio.posts_raw(raw, path=path)).status_code == 204
        assert (
            await _rows(
                container,
                "SELECT provider_message_id FROM sent_messages UNION SELECT provider_message_id FROM delivery_events",
            )
            == []
        )

    @pytest.mark.parametrize("ref", ["", "x", f"{7:032x}", f"{7:032x}.{0:032x}", f"{7:032x}.{0:031x}"])
    async def test_needs_a_reference_of_ours(self, twilio: Twilio, raw: bytes, ref: str) -> None:
        assert (await twilio.posts_raw(raw, path=f"/webhooks/twilio/status/{ref}")).status_code == 403

    async def test_needs_a_signature_of_the_account(self, twilio: Twilio, path: str, raw: bytes) -> None:
        assert (await twilio.posts_raw(raw, path=path, token="c" * 32)).status_code == 403
        assert (await twilio.posts_raw(raw, path=path, token=OTHER_TOKEN)).status_code == 403
        assert (await twilio.posts_raw(raw, path=path, signature="")).status_code == 403
        assert (await twilio.posts_raw(raw, path=path, url=PUBLIC + MESSAGES)).status_code == 403

    async def test_goes_on_with_the_trace_that_its_address_brings_back(
        self, container: Container, bakery: UUID, path: str, raw: bytes
    ) -> None:
        del bakery
        assert await self._trace_after(container, raw, f"{path}?traceparent={TRACE}", 204) == TRACE[3:35]

    async def test_of_a_reference_that_is_not_ours_begins_a_trace_of_its_own(
        self, container: Container, bakery: UUID, path: str, raw: bytes
    ) -> None:
        del bakery
        forged = f"{path[:-1]}{'0' if path[-1] != '0' else '1'}?traceparent={TRACE}"
        assert await self._trace_after(container, raw, forged, 403) != TRACE[3:35]

    async def _trace_after(self, container: Container, raw: bytes, path: str, status: int) -> str:
        exporter = InMemorySpanExporter()
        with container.traces.override(OtelTraces(SimpleSpanProcessor(exporter))):
            transport = httpx2.ASGITransport(app=build_app(container))
            async with httpx2.AsyncClient(transport=transport, base_url=PUBLIC) as client:
                assert (await Twilio(client).posts_raw(raw, path=path)).status_code == status
        [span] = exporter.get_finished_spans()
        return f"{span.context.trace_id:032x}"

    async def test_without_a_status_is_refused(self, twilio: Twilio, path: str) -> None:
        raw = urlencode({"AccountSid": ACCOUNT, "MessageSid": SID}).encode()

        assert (await twilio.posts_raw(raw, path=path)).status_code == 400

    async def test_can_only_be_posted(self, twilio: Twilio, path: str) -> None:
        assert (await twilio.client.get(path)).status_code == 405
