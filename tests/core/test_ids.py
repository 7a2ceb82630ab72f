from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import RFC_4122

from hypothesis import given
from hypothesis import strategies as st

from recado.core.clock import FrozenClock
from recado.core.ids import UuidV7, jittered

NOON = datetime(2026, 3, 14, 12, 0, tzinfo=UTC)


class FixedChance:
    def __init__(self, value: float) -> None:
        self._value = value

    def random(self) -> float:
        return self._value


def test_an_id_is_a_uuid_of_version_seven_with_its_millisecond() -> None:
    id_ = UuidV7(FrozenClock(at=NOON)).new()
    assert (id_.version, id_.variant) == (7, RFC_4122)
    assert id_.int >> 80 == int(NOON.timestamp() * 1000)


def test_ids_of_one_millisecond_keep_their_order_beyond_the_counter() -> None:
    ids = UuidV7(FrozenClock(at=NOON))
    made = [ids.new() for _ in range(5_000)]
    assert made == sorted(set(made))


@given(steps=st.lists(st.integers(min_value=-10_000, max_value=10_000), max_size=50))
def test_ids_go_up_even_when_the_clock_jumps_back(steps: list[int]) -> None:
    clock = FrozenClock(at=NOON)
    ids = UuidV7(clock)
    made = [ids.new()]
    for milliseconds in steps:
        clock.advance(timedelta(milliseconds=milliseconds))
        made.append(ids.new())
    assert made == sorted(set(made))


def test_ids_made_by_many_threads_are_all_different() -> None:
    ids = UuidV7(FrozenClock(at=NOON))
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda _: ids.new(), range(2_000)))
    assert len(set(made)) == 2_000


def test_the_same_chance_gives_the_same_ids() -> None:
    def zeros(_bits: int) -> int:
        return 0

    assert UuidV7(FrozenClock(at=NOON), zeros).new() == UuidV7(FrozenClock(at=NOON), zeros).new()


@given(chance=st.floats(min_value=0, max_value=1, exclude_max=True), value=st.floats(min_value=0.001, max_value=1e6))
def test_jitter_stays_within_its_spread(chance: float, value: float) -> None:
    assert 0.8 * value * 0.999999 <= jittered(value, FixedChance(chance)) <= 1.2 * value * 1.000001
