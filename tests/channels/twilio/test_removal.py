"""A number that is removed takes nothing more, and what it had taken is still answered."""

from dataclasses import replace
from datetime import timedelta

import pytest

from recado.channels.directory import Directory
from recado.channels.models import ChannelAddress
from recado.channels.repository import ChannelAccounts, ChannelAddresses
from recado.channels.twilio.accounts import NewNumber, NumberService
from recado.channels.twilio.models import NoCredentials
from recado.channels.twilio.removal import NumberRemoval
from recado.channels.twilio.tokens import TwilioTokens
from recado.channels.twilio.values import PROVIDER, AccountSid
from recado.conversation.ports import NotProcessed, Unknown
from recado.conversation.values import Address
from recado.core.clock import FrozenClock
from recado.core.database.engine import Database
from recado.core.errors import NotFound
from recado.core.ids import UuidV7
from recado.identity.owners import Registration
from recado.identity.principal import operator_of
from tests.support.crossing import crossing
from tests.support.keys import KEY_RING
from tests.world import ACCOUNT, OURS, World

ON_BOTH_DATABASES = True


@pytest.fixture
async def world(database: Database, clock: FrozenClock, ids: UuidV7) -> World:
    return await World.open(database, clock, ids)


@pytest.fixture
def removal(world: World) -> NumberRemoval:
    return NumberRemoval(world.database, world.clock, world.ids)


@pytest.fixture
def directory(world: World) -> Directory:
    return Directory(world.database, world.clock, KEY_RING)


@pytest.fixture
def tokens(world: World, directory: Directory) -> TwilioTokens:
    return TwilioTokens(directory, world.database, KEY_RING, world.clock)


def numbers_in(database: Database, world: World) -> NumberService:
    return NumberService(database, KEY_RING, world.clock, world.ids)


async def has_token(world: World, tokens: TwilioTokens) -> bool:
    number = await world.database.read(
        lambda uow: ChannelAddresses(uow).require(world.address_id), owner=world.owner_id
    )
    return not isinstance(await tokens.account_for(number.account_id), NoCredentials)


class TestARemovedNumber:
    async def test_is_nobody_s_at_once(self, world: World, removal: NumberRemoval, directory: Directory) -> None:
        await directory.refresh()
        assert await directory.lookup(OURS.value) is not None
        removed = await removal.remove(world.operator, world.address_id)
        assert removed.removed_at == world.clock.now()
        await directory.refresh()
        assert await directory.lookup(OURS.value) is None
        assert await world.numbers.list(world.owner_id) == []

    async def test_leaves_an_entry_of_who_removed_it(self, world: World, removal: NumberRemoval) -> None:
        await removal.remove(world.operator, world.address_id)
        rows = await world.rows("SELECT action, actor_name, object_id FROM audit_entries ORDER BY id DESC")
        assert dict(rows[0]) == {
            "action": "number.removed",
            "actor_name": "cli:test",
            "object_id": str(world.address_id),
        }

    async def test_cannot_be_removed_twice_nor_by_another(self, world: World, removal: NumberRemoval) -> None:
        form = Registration("Livraria", "dona@livraria.example", "capítulo novo às oito")
        other = operator_of((await world.owners.register_organization(form)).owner_id, "test")
        with pytest.raises(NotFound, match="there is no number"):
            await removal.remove(other, world.address_id)
        await removal.remove(world.operator, world.address_id)
        with pytest.raises(NotFound, match="there is no number"):
            await removal.remove(world.operator, world.address_id)

    async def test_may_be_added_by_another_owner(self, world: World, removal: NumberRemoval) -> None:
        form = Registration("Livraria", "dona@livraria.example", "capítulo novo às oito")
        other = operator_of((await world.owners.register_organization(form)).owner_id, "test")
        await removal.remove(world.operator, world.address_id)
        added = await world.numbers.add(other, NewNumber(ACCOUNT, "token", OURS))
        assert (added.owner_id, added.id != world.address_id) == (other.owner_id, True)

    async def test_is_what_the_operator_makes_of_one_that_moves(self, world: World, directory: Directory) -> None:
        """Who had it keeps what was said over it, and reads in the audit who took it away."""
        form = Registration("Livraria", "dona@livraria.example", "capítulo novo às oito")
        other = operator_of((await world.owners.register_organization(form)).owner_id, "test")
        sid = await world.receives("oi")
        moved = await world.numbers.add(other, NewNumber(ACCOUNT, "token", OURS), move=True)
        known = await directory.lookup(OURS.value)
        assert known is not None
        assert (known.owner_id, known.address_id) == (other.owner_id, moved.id)
        assert await world.numbers.list(world.owner_id) == []
        rows = await world.rows("SELECT owner_id FROM audit_entries WHERE action = 'number.removed'")
        assert [world.uuid(row["owner_id"]) for row in rows] == [world.owner_id]
        await world.passes(2)
        assert await world.outcome_of(sid) == "answered"

    async def test_that_is_added_again_is_the_same(self, world: World, removal: NumberRemoval) -> None:
        """So that its customers' conversations go on."""
        await removal.remove(world.operator, world.address_id)
        added = await world.numbers.add(world.operator, NewNumber(ACCOUNT, "token", OURS))
        assert (added.id, added.removed_at) == (world.address_id, None)


class TestWhatIsUnderWay:
    async def test_is_answered_with_the_token_that_is_kept_for_it(
        self, world: World, removal: NumberRemoval, tokens: TwilioTokens
    ) -> None:
        sid = await world.receives("oi")
        await removal.remove(world.operator, world.address_id)
        assert await removal.forget_tokens() == 0, "a message is not settled"
        assert await has_token(world, tokens)
        await world.passes(2)
        assert (await world.outcome_of(sid), world.sent_texts()) == ("answered", ["echo: oi"])
        world.advance(60)
        assert await removal.forget_tokens() == 1
        assert not await has_token(world, tokens)
        assert (await world.verify()).violations == []

    async def test_is_also_what_another_process_accepts_in_the_moment_after(
        self, world: World, removal: NumberRemoval, tokens: TwilioTokens
    ) -> None:
        """It has the number in its cache for a second or two."""
        await removal.remove(world.operator, world.address_id)
        assert await removal.forget_tokens() == 0
        sid = await world.receives("oi")
        world.advance(60)
        assert await removal.forget_tokens() == 0, "a message is not settled"
        await world.passes(2)
        assert await world.outcome_of(sid) == "answered"
        assert await has_token(world, tokens)

    async def test_keeps_the_token_until_its_last_attempt_is_final(
        self, world: World, removal: NumberRemoval, tokens: TwilioTokens
    ) -> None:
        world.channel.will(Unknown("timeout", "lost"))
        await world.receives("oi")
        await world.passes(2)
        await removal.remove(world.operator, world.address_id)
        assert await removal.forget_tokens() == 0, "nobody knows what became of the attempt"
        await world.passes(600)
        assert await removal.forget_tokens() == 1
        assert not await has_token(world, tokens)

    async def test_keeps_the_token_while_an_answer_waits_for_another_try(
        self, world: World, removal: NumberRemoval
    ) -> None:
        world.channel.will(NotProcessed("20429", "slowly"))
        await world.receives("oi")
        await world.passes(1.6)
        await removal.remove(world.operator, world.address_id)
        assert await removal.forget_tokens() == 0


class TestAtOneTime:
    async def test_a_number_that_is_added_again_keeps_its_new_token(
        self, world: World, removal: NumberRemoval, tokens: TwilioTokens
    ) -> None:
        """Otherwise every webhook of a number in use would be refused, and every send fail."""
        await removal.remove(world.operator, world.address_id)
        world.advance(60)
        number = NewNumber(ACCOUNT, "another token", OURS)
        _, forgotten = await crossing(
            world.database,
            lambda database: numbers_in(database, world).add(world.operator, number),
            removal.forget_tokens,
        )
        assert forgotten == 0
        assert await has_token(world, tokens)

    async def test_two_who_remove_a_number_are_one_removal(self, world: World, removal: NumberRemoval) -> None:
        _, second = await crossing(
            world.database,
            lambda database: NumberRemoval(database, world.clock, world.ids).remove(world.operator, world.address_id),
            lambda: removal.remove(world.operator, world.address_id),
        )
        assert isinstance(second, NotFound)
        assert len(await world.rows("SELECT id FROM audit_entries WHERE action = 'number.removed'")) == 1

    async def test_one_who_removes_what_has_moved_to_another_account_tells_of_that_account(
        self, world: World, removal: NumberRemoval, directory: Directory
    ) -> None:
        """The caches of other processes follow the account that the number is in, not the one it was in."""
        number = NewNumber(AccountSid("AC" + "7" * 32), "token", OURS)
        await crossing(
            world.database,
            lambda database: numbers_in(database, world).add(world.operator, number),
            lambda: removal.remove(world.operator, world.address_id),
        )
        await directory.refresh()
        moved = await world.database.read(
            lambda uow: ChannelAccounts(uow).by_ref(PROVIDER, number.account_sid.value), owner=world.owner_id
        )
        assert moved is not None
        assert moved.changed_in == directory.generation

    async def test_the_operator_moves_a_number_that_its_owner_removes(self, world: World) -> None:
        form = Registration("Livraria", "dona@livraria.example", "capítulo novo às oito")
        other = operator_of((await world.owners.register_organization(form)).owner_id, "test")
        _, moved = await crossing(
            world.database,
            lambda database: NumberRemoval(database, world.clock, world.ids).remove(world.operator, world.address_id),
            lambda: world.numbers.add(other, NewNumber(ACCOUNT, "token", OURS), move=True),
        )
        assert isinstance(moved, ChannelAddress)
        assert moved.owner_id == other.owner_id


class TestTokens:
    async def test_stay_while_the_account_has_another_number(
        self, world: World, removal: NumberRemoval, tokens: TwilioTokens
    ) -> None:
        other = NewNumber(ACCOUNT, "token", Address("whatsapp:+5511900000077"))
        added = await world.numbers.add(world.operator, other)
        await removal.remove(world.operator, world.address_id)
        world.advance(60)
        assert await removal.forget_tokens() == 0
        await removal.remove(world.operator, added.id)
        world.advance(60)
        assert await removal.forget_tokens() == 1
        assert not await has_token(world, tokens)

    async def test_of_other_owners_stay(self, world: World, removal: NumberRemoval) -> None:
        form = Registration("Livraria", "dona@livraria.example", "capítulo novo às oito")
        other = operator_of((await world.owners.register_organization(form)).owner_id, "test")
        number = replace(NewNumber(ACCOUNT, "theirs", OURS), address=Address("whatsapp:+5511900000078"))
        await world.numbers.add(other, number)
        await removal.remove(world.operator, world.address_id)
        world.advance(60)
        assert await removal.forget_tokens() == 1
        assert len(await world.rows("SELECT account_id FROM twilio_credentials")) == 1

    async def test_that_are_forgotten_sign_nothing_any_more(
        self, world: World, removal: NumberRemoval, tokens: TwilioTokens, directory: Directory
    ) -> None:
        assert (await tokens.signers(ACCOUNT.value)).tokens == ("token",)
        await removal.remove(world.operator, world.address_id)
        world.advance(60)
        await removal.forget_tokens()
        world.clock.advance(timedelta(seconds=3))
        await directory.refresh()
        assert (await tokens.signers(ACCOUNT.value)).tokens == ()
