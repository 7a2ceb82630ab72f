"""The judge of what the shops' own programs were told: one who sees nothing would call every run a good one."""

from collections.abc import Sequence

import pytest

from tests.chaos.torture.judging.events import EventVerdict, LoggedEvent, ReadBy, Told, judge_events
from tests.chaos.torture.judging.journal import Record

ANA, BIA = "ana", "bia"
LOG = (
    LoggedEvent("e1", "Padaria", ANA, 1),
    LoggedEvent("e2", "Padaria", BIA, 2),
    LoggedEvent("x1", "Oficina", "caio", 3),
    LoggedEvent("e3", "Padaria", ANA, 4),
)


def sent(id_: str, shop: str = "Padaria", mood: str = "take", *, signed: bool = True) -> Record:
    return {"shop": shop, "id": id_, "mood": mood, "taken": mood.startswith("take"), "signed": signed}


ALL = (sent("e1"), sent("e2"), sent("e3"), sent("x1", "Oficina"))


def verdict(*received: Record, read: Sequence[str] | None = None, log: Sequence[LoggedEvent] = LOG) -> EventVerdict:
    readers = [] if read is None else [ReadBy("stream", "Padaria", read)]
    return judge_events(log, [], received, readers)


def test_it_is_content_with_repetitions_and_with_any_order_between_customers() -> None:
    found = verdict(
        sent("e2", mood="500"),
        sent("x1", "Oficina"),
        sent("e1", mood="take and cut"),
        sent("e1"),
        sent("e3"),
        sent("e2"),
    )
    assert (found.kept, found.repeated) == (True, 2)


def test_it_sees_an_event_that_was_never_taken() -> None:
    assert verdict(*ALL[:2], ALL[3], sent("e3", mood="500")).missing == ["e3"]


def test_it_sees_an_event_that_came_before_an_earlier_one_of_its_customer() -> None:
    assert verdict(sent("e3"), *ALL).unordered == ["e1"]


def test_it_sees_what_is_in_no_log() -> None:
    assert verdict(*ALL, sent("e9")).unknown == ["e9"]


def test_it_sees_what_another_shop_was_sent() -> None:
    assert verdict(*ALL, sent("e1", "Oficina")).unknown == ["e1"]


def test_it_sees_a_wrong_signature() -> None:
    assert verdict(*ALL, sent("e1", signed=False)).forged == ["e1"]


def test_it_sees_an_event_that_nobody_has_numbered() -> None:
    assert verdict(*ALL, sent("e4"), log=[*LOG, LoggedEvent("e4", "Padaria", ANA, None)]).unnumbered == ["e4"]


def test_it_is_content_with_a_reader_that_read_the_log() -> None:
    assert verdict(*ALL, read=["e1", "e2", "e3"]).kept


def test_it_sees_what_a_reader_was_not_given() -> None:
    assert verdict(*ALL, read=["e1", "e3"]).missing == ["e2 (stream)"]


@pytest.mark.parametrize(
    ("read", "at"),
    [(["e1", "e3", "e2"], "e3"), (["e1", "e2", "e2", "e3"], "e2"), (["e1", "e2", "e3", "e3"], "e3")],
)
def test_it_sees_a_reader_that_was_given_anything_but_the_log(read: Sequence[str], at: str) -> None:
    assert verdict(*ALL, read=read).unordered == [f"{at} (stream)"]


@pytest.mark.parametrize(
    ("told", "untold"),
    [
        (Told("m1", "answered", was_received=True, last_told="answered"), []),
        (Told("m1", None, was_received=True, last_told=None), []),
        (Told("m1", None, was_received=False, last_told=None), ["m1"]),
        (Told("m1", "answered", was_received=True, last_told=None), ["m1"]),
        (Told("m1", "answered", was_received=True, last_told="handed_off"), ["m1"]),
        (Told("m1", None, was_received=True, last_told="answered"), ["m1"]),
    ],
)
def test_it_sees_a_message_of_which_the_log_says_something_else(told: Told, untold: Sequence[str]) -> None:
    assert judge_events(LOG, [told], ALL, []).untold == untold
