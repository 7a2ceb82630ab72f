"""Two owners bear one account SID, and the token of one of them is made up: neither can touch what is the other's.

The bakery's token is the true one. The impostor's is known to itself alone, so it can sign whatever it likes "from
Twilio" with it, and it has learnt everything of the bakery's that is no secret: SIDs, numbers, references of attempts.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlencode
from uuid import UUID

import pytest

from recado.channels.directory import Directory
from recado.channels.models import ChannelAddress
from recado.channels.orphans import OrphanService
from recado.channels.repository import AccountPauses
from recado.channels.twilio.accounts import NewNumber
from recado.channels.twilio.callbacks import callback_ref
from recado.channels.twilio.tokens import TwilioTokens
from recado.channels.twilio.values import PROVIDER, AccountSid
from recado.channels.twilio.webhook import form as forms
from recado.channels.twilio.webhook.inbound import read_orphan
from recado.channels.twilio.webhook.service import (
    Forbidden,
    Orphaned,
    Reception,
    Reported,
    SignedRequest,
    TwilioWebhookService,
)
from recado.channels.twilio.webhook.signature import sign
from recado.conversation.ports import NotProcessed
from recado.conversation.replying.accept import Accepted, Duplicate, InboundMessage
from recado.conversation.values import Address
from recado.core.clock import FrozenClock
from recado.core.database.engine import Database
from recado.core.errors import Conflict
from recado.core.ids import UuidV7
from recado.identity.owners import Registration
from recado.identity.principal import operator_of
from tests.support.crossing import crossing
from tests.support.keys import KEY_RING, callback_refs
from tests.world import ACCOUNT, ANA, OURS, Lost, Taken, World

ON_BOTH_DATABASES = True

PUBLIC = "https://recado.example"
KEY = bytes(32)
TRUE, MADE_UP = "token", "made up"
"""The world's owner was given the first."""
IMPOSTORS = Address("whatsapp:+5511900000666")
NOBODYS = "whatsapp:+5511900000009"
SID = "SM" + "1" * 32


@dataclass(slots=True)
class Scene:
    """The bakery's world, the impostor beside it, and a server that receives both."""

    world: World
    impostor: UUID
    number: ChannelAddress
    webhooks: TwilioWebhookService
    orphans_of: Callable[[Database], OrphanService]

    @property
    def orphans(self) -> OrphanService:
        return self.orphans_of(self.world.database)

    async def message(self, token: str, *, to: str = OURS.value, sid: str = SID, text: str = "oi") -> Reception:
        """A customer's message, signed with a token."""
        form = {"MessageSid": sid, "From": ANA.value, "To": to, "Body": text, "NumMedia": "0"}
        return await self.webhooks.receive_message(self._signed(token, "/webhooks/twilio/messages", form))

    async def status(
        self, token: str, attempt: Taken, status: str, *, sid: str | None = None, error: str | None = None
    ) -> Reception:
        """A report on what an attempt has sent, signed with a token."""
        ref = callback_ref(attempt.message.attempt_id, KEY)
        form = {"MessageSid": sid or attempt.sid.value, "MessageStatus": status}
        if error is not None:
            form["ErrorCode"] = error
        return await self.webhooks.receive_status(self._signed(token, f"/webhooks/twilio/status/{ref}", form), ref)

    def _signed(self, token: str, path: str, form: dict[str, str]) -> SignedRequest:
        raw = urlencode({"AccountSid": ACCOUNT.value, **form}).encode()
        pairs = forms.parse(raw)
        assert isinstance(pairs, tuple)
        return SignedRequest(raw, path.encode(), b"", sign(token, PUBLIC + path, pairs))

    async def answer_of(self, token: str, *, to: str = OURS.value, sid: str = SID) -> Taken:
        """A message is received and answered; what the provider was given."""
        assert isinstance(await self.message(token, to=to, sid=sid), Accepted)
        await self.world.passes(2)
        return self.world.channel.taken[-1]


@pytest.fixture
async def scene(database: Database, clock: FrozenClock, ids: UuidV7) -> Scene:
    world = await World.open(database, clock, ids)
    form = Registration("Impostor", "eu@impostor.example", "um dois três quatro")
    impostor = (await world.owners.register_organization(form)).owner_id
    number = await world.numbers.add(operator_of(impostor, "test"), NewNumber(ACCOUNT, MADE_UP, IMPOSTORS))
    directory = Directory(database, clock, KEY_RING)
    tokens = TwilioTokens(directory, database, KEY_RING, clock)
    webhooks = TwilioWebhookService(
        directory, tokens, world.acceptance, world.reports, database, clock, ids, PUBLIC, callback_refs(KEY)
    )

    def orphans_of(through: Database) -> OrphanService:
        return OrphanService(directory, {PROVIDER: read_orphan}, world.acceptance, through, clock, ids)

    return Scene(world, impostor, number, webhooks, orphans_of)


class TestMessages:
    async def test_a_sid_that_the_impostor_used_is_still_new_to_the_bakery(self, scene: Scene) -> None:
        """UNIQUE(account, SID) would take the true message for one that came again, and lose it."""
        assert isinstance(await scene.message(MADE_UP, to=IMPOSTORS.value), Accepted)

        assert isinstance(await scene.message(TRUE), Accepted)
        assert isinstance(await scene.message(TRUE), Duplicate)

        await scene.world.passes(2)
        rows = await scene.world.rows("SELECT owner_id, outcome FROM messages")
        assert {row["outcome"] for row in rows} == {"answered"}
        assert len({row["owner_id"] for row in rows}) == 2

    async def test_to_the_bakery_s_number_must_be_signed_with_the_bakery_s_token(self, scene: Scene) -> None:
        assert isinstance(await scene.message(MADE_UP), Forbidden)
        assert isinstance(await scene.message(TRUE, to=IMPOSTORS.value), Forbidden)
        assert await scene.world.rows("SELECT id FROM messages") == []

    async def test_that_the_sweep_found_are_not_filled_in_by_the_impostor(self, scene: Scene) -> None:
        world = scene.world
        missed = InboundMessage(
            id=world.ids.new(),
            owner_id=world.owner_id,
            address_id=world.address_id,
            lane=world.lane_of(ANA),
            provider=PROVIDER,
            account_ref=ACCOUNT.value,
            provider_message_id=SID,
            from_address=ANA,
            to_address=OURS,
            text="oi",
            kind="text",
            received_at=world.clock.now(),
            raw=b"",
            source="sweep",
        )
        await world.acceptance.accept(missed)

        await scene.message(MADE_UP, to=IMPOSTORS.value, text="something else")

        [swept] = await world.rows("SELECT raw FROM messages WHERE source = 'sweep'")
        assert bytes(swept["raw"]) == b""


class TestCallbacks:
    async def test_with_the_bakery_s_reference_are_not_heard_from_the_impostor(self, scene: Scene) -> None:
        """It could opt the bakery's customer out, or report a message that was delivered as lost."""
        taken = await scene.answer_of(TRUE)

        assert isinstance(await scene.status(MADE_UP, taken, "undelivered", error="21610"), Forbidden)

        assert await scene.world.rows("SELECT id FROM contacts WHERE opted_out_at IS NOT NULL") == []
        assert await scene.world.rows("SELECT id FROM delivery_events") == []
        [bound] = await scene.world.rows("SELECT status, error_code FROM sent_messages")
        assert (bound["status"], bound["error_code"]) == ("accepted", None)
        assert isinstance(await scene.status(TRUE, taken, "delivered"), Reported)
        [bound] = await scene.world.rows("SELECT status FROM sent_messages")
        assert bound["status"] == "delivered"

    async def test_of_the_impostor_do_not_settle_what_the_bakery_does_not_know_yet(self, scene: Scene) -> None:
        scene.world.channel.will(Lost(listed=False))
        taken = await scene.answer_of(TRUE)

        assert isinstance(await scene.status(MADE_UP, taken, "delivered", sid="SM" + "f" * 32), Forbidden)

        [attempt] = await scene.world.rows("SELECT state FROM attempts")
        assert attempt["state"] == "unknown"

    async def test_do_not_take_a_sid_of_the_bakery_s_for_an_attempt_of_the_impostor_s(self, scene: Scene) -> None:
        """Before the bakery knows the SID itself, and after."""
        own = await scene.answer_of(MADE_UP, to=IMPOSTORS.value)
        scene.world.channel.will(Lost(listed=False))
        taken = await scene.answer_of(TRUE)

        assert isinstance(await scene.status(MADE_UP, own, "failed", sid=taken.sid.value, error="30008"), Reported)
        assert isinstance(await scene.status(TRUE, taken, "delivered"), Reported)
        assert isinstance(await scene.status(MADE_UP, own, "failed", sid=taken.sid.value, error="30008"), Reported)

        bakery = scene.world.owner_id
        rows = await scene.world.rows("SELECT owner_id, provider_message_id, status FROM sent_messages ORDER BY status")
        ours = [row for row in rows if _same(row["owner_id"], bakery)]
        assert [row["status"] for row in ours] == ["delivered"]
        [attempt] = [
            row for row in await scene.world.rows("SELECT owner_id, state FROM attempts")
            if _same(row["owner_id"], bakery)
        ]  # fmt: skip
        assert attempt["state"] == "accepted"

    async def test_of_an_attempt_are_the_account_s_that_made_it_though_the_number_moved(self, scene: Scene) -> None:
        """And the list that is asked what became of an attempt is that account's too."""
        scene.world.channel.will(Lost(listed=False))
        taken = await scene.answer_of(TRUE)
        other = NewNumber(AccountSid("AC" + "d" * 32), "of the other account", OURS)
        await scene.world.numbers.add(operator_of(scene.world.owner_id, "test"), other)

        await scene.world.passes(30)  # It polls the list meanwhile.

        assert scene.world.channel.polls > 0
        assert {message.account_id for message in scene.world.channel.looked_for} == {taken.message.account_id}
        assert isinstance(await scene.status(TRUE, taken, "delivered"), Reported)
        [attempt] = await scene.world.rows("SELECT state FROM attempts")
        assert attempt["state"] == "accepted"


class TestOrphans:
    async def test_that_are_forged_hide_no_true_one(self, scene: Scene) -> None:
        for token, text in ((MADE_UP, "send money"), (TRUE, "oi")):
            assert isinstance(await scene.message(token, to=NOBODYS, text=text), Orphaned)

        signed = {each.owners: each.orphan.raw for each in await scene.orphans.list()}

        bakery, impostor = frozenset([scene.world.owner_id]), frozenset([scene.impostor])
        assert set(signed) == {bakery, impostor}
        assert b"Body=oi" in signed[bakery]

    async def test_that_are_forged_are_never_the_bakery_s(self, scene: Scene) -> None:
        await scene.message(MADE_UP, to=NOBODYS, text="send money")
        await scene.world.numbers.add(
            operator_of(scene.world.owner_id, "test"), NewNumber(ACCOUNT, TRUE, Address(NOBODYS))
        )

        with pytest.raises(Conflict, match="no account of this owner's signed"):
            await scene.orphans.assign(operator_of(scene.world.owner_id, "rita"), SID)

        assert isinstance(await scene.message(TRUE, to=NOBODYS), Accepted)

    async def test_of_the_bakery_are_never_the_impostor_s(self, scene: Scene) -> None:
        await scene.message(TRUE, to=NOBODYS)
        await scene.world.numbers.add(
            operator_of(scene.impostor, "test"), NewNumber(ACCOUNT, MADE_UP, Address(NOBODYS))
        )

        with pytest.raises(Conflict, match="no account of this owner's signed"):
            await scene.orphans.assign(operator_of(scene.impostor, "rita"), SID)

    async def test_that_both_signed_differently_are_assigned_to_each_by_its_own(self, scene: Scene) -> None:
        await scene.message(MADE_UP, to=NOBODYS, text="send money")
        await scene.message(TRUE, to=NOBODYS, text="oi")
        await scene.world.numbers.add(
            operator_of(scene.world.owner_id, "test"), NewNumber(ACCOUNT, TRUE, Address(NOBODYS))
        )

        assert isinstance(await scene.orphans.assign(operator_of(scene.world.owner_id, "rita"), SID), Accepted)

        [message] = await scene.world.rows("SELECT text FROM messages")
        assert message["text"] == "oi"
        with pytest.raises(Conflict, match="was assigned before"):
            await scene.orphans.assign(operator_of(scene.world.owner_id, "rita"), SID)

    async def test_that_two_people_assign_at_one_moment_are_one_s(self, scene: Scene) -> None:
        world = scene.world
        await scene.message(TRUE, to=NOBODYS)
        await world.numbers.add(operator_of(world.owner_id, "test"), NewNumber(ACCOUNT, TRUE, Address(NOBODYS)))

        first, second = await crossing(
            world.database,
            lambda holding: scene.orphans_of(holding).assign(operator_of(world.owner_id, "rita"), SID),
            lambda: scene.orphans.assign(operator_of(world.owner_id, "bia"), SID),
        )

        assert isinstance(first, Accepted)
        assert isinstance(second, Conflict)
        actions = await world.rows("SELECT actor_name FROM audit_entries WHERE action = 'orphan.assigned'")
        assert [entry["actor_name"] for entry in actions] == ["cli:rita"]

    async def test_of_two_owners_who_both_have_the_true_token_are_kept_once_for_either(self, scene: Scene) -> None:
        await scene.world.numbers.add(operator_of(scene.impostor, "test"), NewNumber(ACCOUNT, TRUE, IMPOSTORS))
        for _ in range(2):
            await scene.message(TRUE, to=NOBODYS)

        [signed] = await scene.orphans.list()

        assert signed.owners == {scene.world.owner_id, scene.impostor}


class TestPauses:
    async def test_of_the_impostor_s_account_do_not_stop_the_bakery(self, scene: Scene) -> None:
        scene.world.channel.will(NotProcessed("63038", "the account's limit is reached", pause_account=True))
        await scene.message(MADE_UP, to=IMPOSTORS.value)
        await scene.world.passes(2)

        now, database = scene.world.clock.now(), scene.world.database
        paused = {
            owner: await database.read(
                lambda uow, address=address: AccountPauses().paused_for(uow, address, now),  # type: ignore[misc]
                owner=None,
            )
            for owner, address in (("impostor", scene.number.id), ("bakery", scene.world.address_id))
        }

        assert paused["impostor"] is not None
        assert paused["impostor"] > timedelta()
        assert paused["bakery"] is None


def _same(stored: object, id_: UUID) -> bool:
    return stored in (id_, id_.bytes)
