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


async def test_a_part_that_arrives_twice_by_the_owners_policy_is_counted_and_no_violation(pigeon: World) -> None:
    await pigeon.given_owner(send_policy="prefer_delivery")
    pigeon.channel.will(GONE)
    await pigeon.says("oi")
    await pigeon.passes(DEADLINE + 10)
    await pigeon.calls_back(pigeon.channel.taken[0])
    report = await pigeon.verify()
    assert (pigeon.sent_texts(), report.resent, report.violations) == (["echo: oi"] * 2, 1, [])


async def test_so_is_one_that_an_operator_sent_again(pigeon: World) -> None:
    pigeon.channel.will(GONE)
    await pigeon.says("oi")
    await pigeon.passes(DEADLINE + 10)
    await pigeon.queue.retry((await pigeon.dead())[0].id)
    await pigeon.work()
    await pigeon.calls_back(pigeon.channel.taken[0])
    report = await pigeon.verify()
    assert (pigeon.sent_texts(), report.resent, report.violations) == (["echo: oi"] * 2, 1, [])


async def test_one_resend_allows_one_second_message_and_no_third(pigeon: World) -> None:
    await pigeon.given_owner(send_policy="prefer_delivery")
    pigeon.channel.will(GONE)
    sid = await pigeon.says("oi")
    await pigeon.passes(DEADLINE + 10)
    await pigeon.calls_back(pigeon.channel.taken[0])
    await pigeon.breaks(
        """INSERT INTO sent_messages
           SELECT account_id, (SELECT account_ref FROM channel_accounts), owner_id, attempt_id, part_id, found_by,
           status, error_code, created_at, updated_at FROM sent_messages LIMIT 1"""
    )
    assert [found.message_sid for found in (await pigeon.verify()).violations] == [sid]


async def test_an_answer_is_never_too_late_for_a_reply_window(pigeon: World) -> None:
    """Twilio's WhatsApp would refuse it a day after the customer's message; this channel has no window."""
    sid = await pigeon.receives("oi")
    pigeon.advance(timedelta(days=2).total_seconds())
    await pigeon.passes(10)
    assert (await pigeon.outcome_of(sid), pigeon.channel.calls) == ("answered", 1)
