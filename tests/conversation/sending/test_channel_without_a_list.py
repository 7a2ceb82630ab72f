"""A channel that cannot look up what was sent: a callback settles an unknown send, or the deadline does."""

from datetime import timedelta

import pytest

from recado.conversation.sending.unknown import CALL_LIMIT, CLEAR_WITHIN
from tests.support.pigeon import PIGEON
from tests.world import Lost, World

ON_BOTH_DATABASES = True

GONE = Lost(listed=False)
DEADLINE = (CALL_LIMIT + CLEAR_WITHIN) // timedelta(seconds=1)


async def clean(world: World) -> bool:
    return (await world.verify()).violations == []


@pytest.fixture
async def pigeon(world: World) -> World:
    """The world with its number at the second channel."""
    await world.breaks("UPDATE channel_accounts SET provider = :provider", provider=PIGEON)
    return world


async def test_a_callback_settles_an_unknown_send(pigeon: World) -> None:
    pigeon.channel.will(GONE)
    sid = await pigeon.says("oi")
    await pigeon.passes(60)
    assert await pigeon.outcome_of(sid) is None
    await pigeon.calls_back(pigeon.channel.taken[0])
    await pigeon.work()
    assert (await pigeon.outcome_of(sid), pigeon.channel.calls, await clean(pigeon)) == ("answered", 1, True)


async def test_at_the_deadline_it_is_unconfirmed_and_not_sent_again(pigeon: World) -> None:
    pigeon.channel.will(GONE)
    sid = await pigeon.says("oi")
    await pigeon.passes(DEADLINE - 10)
    assert await pigeon.outcome_of(sid) is None
    await pigeon.passes(20)
    assert (await pigeon.outcome_of(sid), pigeon.channel.calls) == ("suppressed:unconfirmed", 1)
    assert (pigeon.channel.polls, await clean(pigeon)) == (0, True)


async def test_at_the_deadline_an_owner_who_prefers_delivery_has_it_sent_once_more(pigeon: World) -> None:
    await pigeon.given_owner(send_policy="prefer_delivery")
    pigeon.channel.will(GONE)
    sid = await pigeon.says("oi")
    await pigeon.passes(DEADLINE + 10)
    assert (await pigeon.outcome_of(sid), pigeon.channel.calls, await clean(pigeon)) == ("answered", 2, True)


async def test_an_answer_is_never_too_late_for_a_reply_window(pigeon: World) -> None:
    """Twilio's WhatsApp would refuse it a day after the customer's message; this channel has no window."""
    sid = await pigeon.receives("oi")
    pigeon.advance(timedelta(days=2).total_seconds())
    await pigeon.passes(10)
    assert (await pigeon.outcome_of(sid), pigeon.channel.calls) == ("answered", 1)
