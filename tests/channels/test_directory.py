"""What is remembered of numbers and tokens: never too old to refuse by, and cheap under a flood of lies."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import TypeVar
from urllib.parse import urlencode
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from recado.channels.directory import Directory
from recado.channels.repository import DirectoryGeneration, EveryAccount
from recado.channels.twilio.accounts import NewNumber, NumberService
from recado.channels.twilio.tokens import TwilioTokens
from recado.channels.twilio.values import PROVIDER, AccountSid
from recado.channels.twilio.webhook import form as forms
from recado.channels.twilio.webhook.service import Forbidden, Orphaned, Reception, SignedRequest, TwilioWebhookService
from recado.channels.twilio.webhook.signature import sign
from recado.conversation.replying.accept import Accepted
from recado.conversation.values import Address
from recado.core.clock import FrozenClock
from recado.core.database.engine import Database
from recado.core.database.sqlite.database import SqliteDatabase
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.errors import StorageUnavailable
from recado.core.ids import UuidV7
from recado.core.sealing import Sealer
from recado.identity.keys import KeyRing
from recado.identity.principal import operator_of
from tests.support.keys import KEY_RING, callback_refs
from tests.world import ACCOUNT, ANA, OURS, World

T = TypeVar("T")

PUBLIC = "https://recado.example"
PATH = "/webhooks/twilio/messages"
TOKEN = "token"
NEW = NewNumber(AccountSid("AC" + "e" * 32), "its token", Address("whatsapp:+5511900000055"))
FLOOD = 300


class CountingDatabase(SqliteDatabase):
    """The real one, which counts how often it is read."""

    reads = 0

    async def read(self, work: Callable[[UnitOfWork], T], *, owner: UUID | None) -> T:
        self.reads += 1
        return await super().read(work, owner=owner)


class Server:
    """A process that receives webhooks."""

    def __init__(self, world: World, database: Database, secret_key: bytes = bytes(32)) -> None:
        keys = KeyRing(Sealer(secret_key))
        self.directory = Directory(database, world.clock, keys)
        tokens = TwilioTokens(self.directory, database, keys, world.clock)
        self._world = world
        self._webhooks = TwilioWebhookService(
            self.directory,
            tokens,
            world.acceptance,
            world.reports,
            database,
            world.clock,
            world.ids,
            PUBLIC,
            callback_refs(),
        )
        self._count = 0

    async def receives_webhook(
        self, account: str = ACCOUNT.value, token: str = TOKEN, to: str = OURS.value, *, signature: str | None = None
    ) -> Reception:
        """A new message each time."""
        self._count += 1
        form = {"AccountSid": account, "MessageSid": f"SM{self._count:032x}", "From": ANA.value, "To": to, "Body": "oi"}
        raw = urlencode(form).encode()
        pairs = forms.parse(raw)
        assert isinstance(pairs, tuple)
        if signature is None:
            signature = sign(token, PUBLIC + PATH, pairs)
        return await self._webhooks.receive_message(SignedRequest(raw, PATH.encode(), b"", signature))

    async def flooded(self, claimed: Callable[[int], str]) -> list[Reception]:
        """Wrongly signed requests, all at once."""
        return list(await asyncio.gather(*(self.receives_webhook(claimed(n), "guessed") for n in range(FLOOD))))


@pytest.fixture
async def database(sqlite_database: SqliteDatabase) -> AsyncIterator[CountingDatabase]:
    database = CountingDatabase(sqlite_database.url)
    yield database
    await database.close()


@pytest.fixture
async def world(sqlite_database: SqliteDatabase, clock: FrozenClock, ids: UuidV7) -> World:
    """Another process: what it changes, the server has to learn from the database."""
    return await World.open(sqlite_database, clock, ids)


@pytest.fixture
async def server(world: World, database: CountingDatabase) -> Server:
    server = Server(world, database)
    for _ in range(2):  # The first one makes a note of itself at its number, which is read anew after that.
        assert isinstance(await server.receives_webhook(), Accepted)
    database.reads = 0
    return server


def made_up(number: int) -> str:
    return f"AC{number:032x}"


class TestWhatIsRefused:
    async def test_unsigned_costs_no_read_of_the_database(self, server: Server, database: CountingDatabase) -> None:
        for signature in ("", "AAAA", "=" * 4_000):
            assert isinstance(await server.receives_webhook(signature=signature), Forbidden)
        assert database.reads == 0

    @pytest.mark.parametrize(
        "claimed", [made_up, lambda _: ACCOUNT.value], ids=["unknown accounts", "an account that is stored"]
    )
    async def test_by_the_hundred_shares_a_look(
        self, server: Server, database: CountingDatabase, claimed: Callable[[int], str]
    ) -> None:
        """One each would be a reader for every lie."""
        answers = await server.flooded(claimed)

        assert {type(answer) for answer in answers} == {Forbidden}
        assert database.reads <= 4

    async def test_names_an_account_that_is_stored_and_no_other(self, server: Server) -> None:
        refused = [
            await server.receives_webhook(account, "guessed")
            for account in (ACCOUNT.value, made_up(1), ACCOUNT.value.upper())
        ]

        assert [answer.account for answer in refused if isinstance(answer, Forbidden)] == [ACCOUNT.value, None, None]

    async def test_is_written_down_now_and_then(self, server: Server, clock: FrozenClock) -> None:
        with capture_logs() as lines:
            await server.flooded(made_up)
            clock.advance(timedelta(seconds=11))
            await server.flooded(made_up)

        written = [line["times"] for line in lines if line["event"] == "webhook.forbidden"]
        assert written == [1, FLOOD]

    async def test_because_a_token_cannot_be_opened_is_not_refused_for_good(
        self, world: World, database: CountingDatabase
    ) -> None:
        """With another key nothing can be said of any signature: Twilio shall try elsewhere."""
        server = Server(world, database, secret_key=b"1" * 32)

        with pytest.raises(StorageUnavailable, match="RECADO_SECRET_KEY"):
            await server.receives_webhook()


class TestWhatAnotherProcessChanges:
    async def test_a_new_number_is_known_at_once_in_the_middle_of_a_flood(self, server: Server, world: World) -> None:
        flood = asyncio.ensure_future(server.flooded(made_up))
        await asyncio.sleep(0)
        await world.numbers.add(operator_of(world.owner_id, "test"), NEW)

        assert isinstance(
            await server.receives_webhook(NEW.account_sid.value, NEW.auth_token, NEW.address.value), Accepted
        )
        assert {type(answer) for answer in await flood} == {Forbidden}

    async def test_a_number_that_was_unknown_a_moment_ago_is_known_at_once(self, server: Server, world: World) -> None:
        assert isinstance(
            await server.receives_webhook(NEW.account_sid.value, NEW.auth_token, NEW.address.value), Forbidden
        )
        assert isinstance(await server.receives_webhook(to=NEW.address.value), Orphaned)

        await world.numbers.add(operator_of(world.owner_id, "test"), NEW)

        assert isinstance(
            await server.receives_webhook(NEW.account_sid.value, NEW.auth_token, NEW.address.value), Accepted
        )

    async def test_a_new_token_is_known_at_once(self, server: Server, world: World) -> None:
        await world.numbers.add(operator_of(world.owner_id, "test"), NewNumber(ACCOUNT, "second", OURS))

        assert isinstance(await server.receives_webhook(token="second"), Accepted)
        assert isinstance(await server.receives_webhook(token=TOKEN), Accepted), "until the next one"

    async def test_a_number_that_moved_to_another_account_is_known_at_once(self, server: Server, world: World) -> None:
        await world.numbers.add(operator_of(world.owner_id, "test"), NewNumber(NEW.account_sid, NEW.auth_token, OURS))

        assert isinstance(await server.receives_webhook(NEW.account_sid.value, NEW.auth_token), Accepted)
        assert isinstance(await server.receives_webhook(), Forbidden)

    async def test_reads_again_nothing_but_what_was_changed(
        self, server: Server, world: World, database: CountingDatabase, clock: FrozenClock
    ) -> None:
        await world.numbers.add(operator_of(world.owner_id, "test"), NEW)
        clock.advance(timedelta(seconds=1))
        await server.directory.refresh()
        database.reads = 0

        assert isinstance(await server.receives_webhook(), Accepted)

        assert database.reads == 0

    async def test_a_backup_that_is_restored_is_noticed(self, server: Server, world: World) -> None:
        """The generation goes back then, and what changed after it did not change."""
        await world.numbers.add(operator_of(world.owner_id, "test"), NEW)
        assert isinstance(await server.receives_webhook(NEW.account_sid.value, "guessed"), Forbidden)
        assert server.directory.knows_account(PROVIDER, NEW.account_sid.value)

        await world.breaks("DELETE FROM channel_addresses WHERE address = :to", to=NEW.address.value)
        await world.breaks(
            "DELETE FROM twilio_credentials WHERE account_id IN (SELECT id FROM channel_accounts WHERE changed_in = 2)"
        )
        await world.breaks("DELETE FROM channel_accounts WHERE changed_in = 2")
        await world.breaks("UPDATE directory_generation SET generation = 1")
        await server.directory.refresh()

        assert server.directory.generation == 1
        assert not server.directory.knows_account(PROVIDER, NEW.account_sid.value)
        assert server.directory.knows_account(PROVIDER, ACCOUNT.value)


async def test_each_change_has_a_generation_of_its_own(world: World) -> None:
    """Also when several processes change numbers at the same moment."""
    others = [NumberService(world.database, KEY_RING, world.clock, world.ids) for _ in range(4)]
    numbers = [
        NewNumber(AccountSid(f"AC{n:032x}"), TOKEN, Address(f"whatsapp:+551190000{n:04}")) for n in range(100, 104)
    ]

    await asyncio.gather(*(each.add(world.operator, number) for each, number in zip(others, numbers, strict=True)))

    generation, changed = await world.database.read(
        lambda uow: (DirectoryGeneration(uow).current(), EveryAccount(uow).changed_since(1)), owner=None
    )
    assert generation == 5, "the world's own number was the first"
    assert set(changed.values()) == {(PROVIDER, number.account_sid.value) for number in numbers}
