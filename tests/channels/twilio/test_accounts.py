"""Numbers of owners, of which each has exactly one."""

from dataclasses import replace
from uuid import UUID

import pytest
from sqlalchemy import update
from sqlalchemy.exc import IntegrityError

from recado.channels.twilio.accounts import MAX_TOKENS, NewNumber, NumberService
from recado.channels.twilio.repository import Credentials
from recado.channels.twilio.tables import twilio_credentials
from recado.channels.twilio.tokens import TOKEN_FIELD
from recado.channels.twilio.values import AccountSid
from recado.conversation.values import Address
from recado.core.clock import FrozenClock
from recado.core.database.engine import Database
from recado.core.errors import Conflict
from recado.core.ids import UuidV7
from recado.identity.owners import Registration
from recado.identity.principal import operator_of
from tests.support.keys import KEY_RING
from tests.world import World

ON_BOTH_DATABASES = True

NUMBER = NewNumber(AccountSid("AC" + "c" * 32), "another token", Address("whatsapp:+5511900000077"))


class OneId:
    """Makes one id again and again."""

    def new(self) -> UUID:
        return UUID(int=7)


@pytest.fixture
async def world(database: Database, clock: FrozenClock, ids: UuidV7) -> World:
    return await World.open(database, clock, ids)


async def test_a_number_of_another_owner_s_is_refused_and_stays_that_one_s(world: World) -> None:
    """Though no transaction of an owner can see whose it is."""
    added = await world.numbers.add(operator_of(world.owner_id, "test"), NUMBER)
    form = Registration("Livraria", "dona@livraria.example", "capítulo novo às oito")
    other = (await world.owners.register_organization(form)).owner_id
    with pytest.raises(Conflict, match="belongs to another owner"):
        await world.numbers.add(operator_of(other, "test"), NUMBER)
    assert await world.numbers.list(other) == []
    assert added in await world.numbers.list(world.owner_id)


async def test_a_number_that_is_added_again_is_the_same(world: World) -> None:
    added = await world.numbers.add(operator_of(world.owner_id, "test"), NUMBER)
    assert await world.numbers.add(operator_of(world.owner_id, "test"), NUMBER) == added


async def test_only_the_key_over_numbers_says_that_another_added_it(world: World) -> None:
    always_the_same = NumberService(world.database, KEY_RING, world.clock, OneId())
    await always_the_same.add(world.operator, NUMBER)
    with pytest.raises(IntegrityError):
        await always_the_same.add(
            world.operator, NewNumber(AccountSid("AC" + "d" * 32), "token", Address("whatsapp:+5511900000078"))
        )


async def test_a_token_that_does_not_open_is_replaced_and_not_kept(world: World) -> None:
    added = await world.numbers.add(operator_of(world.owner_id, "test"), NUMBER)
    of_account = twilio_credentials.c.account_id == added.account_id
    broken = update(twilio_credentials).where(of_account).values(auth_token_sealed=b"nonsense")
    await world.database.write(lambda uow: uow.changed(broken), owner=None)
    await world.numbers.add(operator_of(world.owner_id, "test"), replace(NUMBER, auth_token="the true one"))
    stored = await world.database.read(lambda uow: Credentials(uow).of_account(added.account_id), owner=None)
    assert stored is not None
    assert stored.previous_token_sealed is None
    keys = await world.database.read(lambda uow: KEY_RING.of(uow, world.owner_id), owner=None)
    opened = keys.sealer.open(stored.auth_token_sealed, owner=world.owner_id, field=TOKEN_FIELD)
    assert opened == "the true one"


async def test_of_one_account_few_different_tokens_are_stored(world: World) -> None:
    """A webhook is held against every one of them, and each that is made up makes all webhooks dearer."""

    async def adds(n: int, token: str) -> None:
        form = Registration(f"Loja {n}", f"dona@loja{n}.example", "capítulo novo às oito")
        owner_id = (await world.owners.register_organization(form)).owner_id
        number = NewNumber(NUMBER.account_sid, token, Address(f"whatsapp:+55119000000{n}"))
        await world.numbers.add(operator_of(owner_id, "test"), number)

    await world.numbers.add(operator_of(world.owner_id, "test"), NUMBER)
    for n in range(10, 9 + MAX_TOKENS):
        await adds(n, f"made up {n}")

    with pytest.raises(Conflict, match="different auth tokens of"):
        await adds(30, "one more")
    await adds(31, NUMBER.auth_token)
    assert await world.numbers.count_others_with(NUMBER.account_sid, world.owner_id) == MAX_TOKENS
