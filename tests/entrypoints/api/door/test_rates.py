"""How often one caller may call."""

from datetime import timedelta
from uuid import UUID

import pytest

from recado.core.clock import FrozenClock
from recado.entrypoints.api.door.rates import Policy, Rates, TooManyRequests

ANA, BIA = UUID(int=1), UUID(int=2)


@pytest.fixture
def rates(clock: FrozenClock) -> Rates:
    return Rates(clock, Policy(requests=4, seconds=2))


def takes(rates: Rates, caller: UUID = ANA) -> int:
    """How many requests one caller gets through at once."""
    for count in range(100):
        try:
            rates.take(caller)
        except TooManyRequests:
            return count
    return 100


def test_a_full_bucket_is_taken_at_once(rates: Rates) -> None:
    assert takes(rates) == 4


def test_it_refills_all_the_time(rates: Rates, clock: FrozenClock) -> None:
    takes(rates)
    clock.advance(timedelta(seconds=0.5))
    assert takes(rates) == 1
    clock.advance(timedelta(seconds=1))
    assert takes(rates) == 2
    clock.advance(timedelta(hours=1))
    assert takes(rates) == 4


def test_one_caller_takes_nothing_from_another(rates: Rates) -> None:
    takes(rates)
    assert takes(rates, BIA) == 4


def test_the_headers_tell_what_is_left(rates: Rates, clock: FrozenClock) -> None:
    assert rates.take(ANA) == {"RateLimit-Policy": '"caller";q=4;w=2', "RateLimit": '"caller";r=3;t=1'}
    takes(rates)
    with pytest.raises(TooManyRequests) as refused:
        rates.take(ANA)
    assert refused.value.headers == {
        "RateLimit-Policy": '"caller";q=4;w=2',
        "RateLimit": '"caller";r=0;t=2',
        "Retry-After": "1",
    }
    clock.advance(timedelta(seconds=1))
    assert rates.take(ANA)["RateLimit"] == '"caller";r=1;t=2'


def test_a_refusal_takes_nothing(rates: Rates, clock: FrozenClock) -> None:
    takes(rates)
    for _ in range(20):
        takes(rates)
    clock.advance(timedelta(seconds=0.5))
    assert takes(rates) == 1


def test_full_buckets_are_not_kept(clock: FrozenClock) -> None:
    rates = Rates(clock)
    for number in range(2 * Rates.MOST):
        rates.take(UUID(int=number))
        clock.advance(timedelta(seconds=0.1))
    assert len(rates) <= Rates.MOST
