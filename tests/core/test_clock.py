from datetime import UTC, datetime, timedelta, timezone

import pytest

from recado.core.clock import FrozenClock, ServerClock, SystemClock

NOON = datetime(2026, 3, 14, 12, tzinfo=UTC)


def test_a_frozen_clock_moves_only_when_told_to() -> None:
    clock = FrozenClock(at=NOON)
    assert (clock.now(), clock.now(), clock.monotonic()) == (NOON, NOON, 0.0)
    clock.advance(timedelta(seconds=1.5))
    assert (clock.now(), clock.monotonic()) == (NOON + timedelta(seconds=1.5), 1.5)


def test_a_frozen_clock_is_always_in_utc() -> None:
    noon_in_sao_paulo = datetime(2026, 3, 14, 12, 0, tzinfo=timezone(timedelta(hours=-3)))
    now = FrozenClock(at=noon_in_sao_paulo).now()
    assert (now.hour, now.tzinfo) == (15, UTC)


def test_a_frozen_clock_refuses_a_time_without_a_zone() -> None:
    with pytest.raises(ValueError, match="aware"):
        FrozenClock(at=NOON.replace(tzinfo=None))


def test_the_systems_clock_is_aware_and_its_span_never_shrinks() -> None:
    clock = SystemClock()
    before, now, after = clock.monotonic(), clock.now(), clock.monotonic()
    assert now.tzinfo is UTC
    assert before <= after


class TestAServerClock:
    @pytest.fixture
    def host(self) -> FrozenClock:
        return FrozenClock(at=NOON)

    def test_follows_the_server_from_its_first_answer_on(self, host: FrozenClock) -> None:
        shared = ServerClock(host)
        assert shared.now() == NOON
        shared.synchronize(NOON + timedelta(hours=1), asked=0.0, answered=0.0)
        host.advance(timedelta(seconds=30))
        assert shared.now() == NOON + timedelta(hours=1, seconds=30)

    def test_takes_half_of_the_round_trip_for_the_way_back(self, host: FrozenClock) -> None:
        shared = ServerClock(host)
        host.advance(timedelta(seconds=2))
        shared.synchronize(NOON + timedelta(hours=1), asked=0.0, answered=2.0)
        assert shared.now() == NOON + timedelta(hours=1, seconds=1)

    def test_does_not_jitter_within_a_round_trip(self, host: FrozenClock) -> None:
        shared = ServerClock(host)
        host.advance(timedelta(seconds=2))
        shared.synchronize(NOON + timedelta(seconds=1, milliseconds=400), asked=0.0, answered=2.0)
        assert shared.now() == host.now()
