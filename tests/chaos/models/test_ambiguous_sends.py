"""Sends whose answer was lost, by the hundred: what was taken goes out once, and what was not taken goes out once too.

The time is a clock that jumps to whatever is due next, so the ten minutes that proof may take cost nothing.
"""

import itertools
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

import pytest

from recado.conversation.ports import Unknown
from recado.conversation.sending.splitting import normalised
from recado.conversation.values import Address
from recado.core.clock import FrozenClock
from recado.core.ids import UuidV7
from tests.chaos.models.inline import InlineDatabase
from tests.world import Ending, Lost, World

NOON = datetime(2026, 3, 14, 12, 0, tzinfo=UTC)
FEW, MANY = 40, 2_000
BATCH = 100
"""Customers at a time: a claim reads an index of the lanes that are due, and there need not be thousands of them."""

NOT_TAKEN = (Unknown("500", ""), Unknown("timeout", "no answer in 15 s"), Unknown("reset", "the connection was reset"))
counts = pytest.mark.parametrize("count", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])


@pytest.fixture
async def world() -> AsyncIterator[World]:
    clock = FrozenClock(NOON)
    database = InlineDatabase()
    yield await World.open(database, clock, UuidV7(clock, random.Random(7).getrandbits))  # noqa: S311
    await database.close()


def customer(number: int) -> Address:
    return Address(f"whatsapp:+55119{80_000_000 + number}")


async def sent(world: World, count: int, endings: Sequence[Ending]) -> list[str]:
    """Each customer writes once; the first call for each ends in its turn of `endings`, and all later ones are well."""
    sids: list[str] = []
    how = itertools.cycle(endings)
    for batch in range(0, count, BATCH):
        people = range(batch, min(batch + BATCH, count))
        world.channel.will(*[next(how) for _ in people])
        sids += [await world.receives(f"pedido {number}", customer(number)) for number in people]
        await world.passes(1_200)
    return sids


def phones(world: World) -> Counter[tuple[str, str]]:
    return Counter((taken.message.to_address.value, taken.message.text) for taken in world.channel.taken)


async def told(world: World, count: int, what: str, began: float) -> None:
    """Everything arrived once, everything is settled, and the figures are printed."""
    assert phones(world) == Counter({(customer(n).value, f"echo: pedido {n}"): 1 for n in range(count)})
    report = await world.verify()
    assert (report.violations, report.outcomes, report.unknown_sends) == ([], {"answered": count}, 0)
    took = time.monotonic() - began
    polls, calls = world.channel.polls, world.channel.calls
    print(f"{count} {what}: {count} arrived once, {calls} calls, {polls} looks, {took:.1f} s")  # noqa: T201 - the figures are a result


@counts
async def test_what_was_taken_is_never_sent_again(world: World, count: int) -> None:
    """Twilio took it and answered 500, hung or hung up; its list shows it."""
    began = time.monotonic()
    await sent(world, count, [Lost()])
    assert world.channel.calls == count
    await told(world, count, "taken, then 500, hang or reset", began)


@counts
async def test_what_was_not_taken_is_sent_once_more(world: World, count: int) -> None:
    began = time.monotonic()
    await sent(world, count, NOT_TAKEN)
    assert world.channel.calls == 2 * count
    await told(world, count, "not taken, and never said so", began)


@counts
async def test_a_list_that_lags_by_a_minute_doubles_nothing(world: World, count: int) -> None:
    """Two looks see nothing; the third, or those after two minutes, see it."""
    began = time.monotonic()
    count //= 4
    how = [Lost(listed=False)]
    for batch in range(0, count, BATCH):
        people = range(batch, min(batch + BATCH, count))
        world.channel.will(*(how * len(people)))
        for number in people:
            await world.receives(f"pedido {number}", customer(number))
        await world.passes(62)
        for taken in world.channel.taken:
            taken.listed = True
        await world.passes(1_200)
    assert world.channel.calls == count
    await told(world, count, "taken, and listed a minute late", began)


@counts
async def test_a_callback_settles_what_no_list_shows(world: World, count: int) -> None:
    began = time.monotonic()
    for batch in range(0, count, BATCH):
        people = range(batch, min(batch + BATCH, count))
        world.channel.will(*[Lost(listed=False) for _ in people])
        for number in people:
            await world.receives(f"pedido {number}", customer(number))
        await world.passes(2)
        for taken in world.channel.taken[batch:]:
            await world.calls_back(taken, "delivered")
        await world.passes(1_200)
    assert (world.channel.calls, world.channel.polls) == (count, 0)
    await told(world, count, "taken, and only a callback says so", began)


@counts
@pytest.mark.parametrize("unknown", [Lost(), NOT_TAKEN[0]], ids=["taken", "not-taken"])
@pytest.mark.parametrize("position", [0, 1], ids=["first", "second"])
async def test_two_equal_texts_around_an_unknown_send_both_arrive(
    world: World, count: int, unknown: Ending, position: int
) -> None:
    """One text twice to one customer: the list's one entry must not stand for both, nor the other way about."""
    count //= 10
    for number in range(count):
        if position == 0:
            world.channel.will(unknown)
        await world.receives("quero dois", customer(number))
        await world.passes(2)
        if position == 1:
            world.channel.will(unknown)
        await world.receives("quero dois", customer(number))
        await world.passes(1_200)
    heard = Counter((taken.message.to_address.value, normalised(taken.message.text)) for taken in world.channel.taken)
    assert heard == Counter({(customer(n).value, "echo: quero dois"): 2 for n in range(count)})
    report = await world.verify()
    assert (report.violations, report.outcomes) == ([], {"answered": 2 * count})
