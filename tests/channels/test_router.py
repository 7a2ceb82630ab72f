"""The router: from the name of a provider to its channel, and what that channel can do."""

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recado.channels.router import ChannelRouter, InstalledChannel
from recado.channels.twilio.rules import rules_for
from recado.channels.twilio.values import PROVIDER
from recado.conversation.ports import ChannelRules
from recado.conversation.values import Address
from recado.core.clock import FrozenClock
from recado.core.errors import ConfigurationError
from tests.support.pigeon import PIGEON, installed
from tests.world import ANA, ScriptedChannel

DAY = timedelta(days=1)
SMS = Address("+5511987654321")
MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(timezone.utc))  # noqa: DTZ001, UP017
SPANS = st.timedeltas(timedelta(0), 10 * DAY)


@pytest.fixture
def router(clock: FrozenClock) -> ChannelRouter:
    twilio, pigeon = ScriptedChannel(clock), ScriptedChannel(clock)
    return ChannelRouter({PROVIDER: InstalledChannel(twilio, rules_for, finder=twilio), PIGEON: installed(pigeon)})


def test_each_provider_has_its_channel(router: ChannelRouter) -> None:
    assert router.channel_for(PROVIDER) is not router.channel_for(PIGEON)


def test_only_a_channel_with_a_list_has_a_finder(router: ChannelRouter) -> None:
    assert router.finder_for(PROVIDER) is not None
    assert router.finder_for(PIGEON) is None


def test_a_provider_that_is_not_installed_is_named(router: ChannelRouter) -> None:
    with pytest.raises(ConfigurationError, match="no channel is installed for the provider 'telegraph'"):
        router.channel_for("telegraph")


@given(written=MOMENTS, newest=MOMENTS)
def test_whatsapp_takes_answers_for_a_day_after_the_newest_message(written: datetime, newest: datetime) -> None:
    assert rules_for(ANA).sendable_until(written, newest) == newest + DAY


@given(written=MOMENTS, newest=st.none() | MOMENTS)
def test_sms_is_tried_for_a_day_after_it_was_written(written: datetime, newest: datetime | None) -> None:
    assert rules_for(SMS).sendable_until(written, newest) == written + DAY


@given(received=MOMENTS, age=SPANS)
def test_a_message_is_too_old_exactly_from_its_limit_on(received: datetime, age: timedelta) -> None:
    rules = rules_for(SMS)
    assert rules.is_too_old(received, received + age) == (age >= DAY)
    assert not ChannelRules(None, DAY, None).is_too_old(received, received + age)
