"""Log lines that outsiders can cause are few, and say how many events they stand for."""

from datetime import timedelta

from recado.core.clock import FrozenClock
from recado.core.sampling import EVERY_SECONDS, MAX_KINDS, LogSampler


def test_the_first_of_a_kind_is_logged_and_then_one_every_ten_seconds(clock: FrozenClock) -> None:
    sampler = LogSampler(clock)

    logged_at = []
    for _ in range(3):
        logged_at += [sampler.admit("forbidden", "unknown") for _ in range(5)]
        clock.advance(timedelta(seconds=EVERY_SECONDS))

    assert logged_at == [1, 0, 0, 0, 0, 5, 0, 0, 0, 0, 5, 0, 0, 0, 0]


def test_a_new_kind_is_logged_at_once_during_a_flood_of_another(clock: FrozenClock) -> None:
    sampler = LogSampler(clock)
    for _ in range(100):
        sampler.admit("forbidden", "unknown")

    assert sampler.admit("forbidden", "AC1") == 1


def test_many_kinds_cannot_fill_the_log_either(clock: FrozenClock) -> None:
    sampler = LogSampler(clock)

    logged_at = sum(sampler.admit("forbidden", str(n)) > 0 for n in range(10 * MAX_KINDS))

    assert logged_at == MAX_KINDS + 1, "the rest is one kind"
    clock.advance(timedelta(seconds=EVERY_SECONDS))
    assert sampler.admit("forbidden", "new") == 1
