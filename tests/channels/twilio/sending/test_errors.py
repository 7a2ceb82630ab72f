"""What a refused create call becomes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recado.channels.twilio.sending.errors import ERRORS, Action, classify_refusal, known
from recado.conversation.ports import NotProcessed, Refused, Unknown


@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [
        (400, 21211, "unreachable"),
        (400, 21610, "opt_out"),
        (400, 63016, "window_closed"),
        (400, 21617, "unreachable"),
        (400, 21606, "unreachable"),
        (404, 20404, "unreachable"),
        (400, 99999, "unreachable"),
        (403, None, "unreachable"),
    ],
)
def test_a_4xx_is_final(status: int, code: int | None, reason: str) -> None:
    result = classify_refusal(status, code)
    assert isinstance(result, Refused)
    assert result.reason == reason


@pytest.mark.parametrize(("status", "code"), [(429, 20429), (429, None), (429, 99999), (400, 21611), (400, 63018)])
def test_what_a_pause_mends_is_tried_again(status: int, code: int | None) -> None:
    result = classify_refusal(status, code)
    assert isinstance(result, NotProcessed)
    assert not result.pause_account


@pytest.mark.parametrize(("status", "code"), [(401, 20003), (401, None), (403, 20005), (403, 20403), (429, 63038)])
def test_what_stops_the_whole_account_pauses_it(status: int, code: int | None) -> None:
    result = classify_refusal(status, code)
    assert isinstance(result, NotProcessed)
    assert result.pause_account
    assert result.retry_after
    assert result.retry_after >= 900


def test_a_used_up_daily_cap_waits_longer_than_a_crowd() -> None:
    cap, crowd = classify_refusal(429, 63038), classify_refusal(429, 20429)
    assert isinstance(cap, NotProcessed)
    assert isinstance(crowd, NotProcessed)
    assert cap.retry_after == 3600
    assert crowd.retry_after is None


def test_the_answers_own_pause_is_respected() -> None:
    assert classify_refusal(429, 20429, retry_after=7) == NotProcessed("20429", ERRORS[20429].meaning, retry_after=7)


@settings(deadline=None)
@given(st.integers(500, 599), st.sampled_from([None, 20500, 21610, 20003, 20429, 99999]))
def test_a_5xx_proves_nothing(status: int, code: int | None) -> None:
    assert isinstance(classify_refusal(status, code), Unknown)


@pytest.mark.parametrize(("status", "code"), [(408, None), (302, None), (200, None), (400, 20500)])
def test_what_may_have_been_passed_on_is_unknown(status: int, code: int | None) -> None:
    assert isinstance(classify_refusal(status, code), Unknown)


def test_a_code_that_we_do_not_know_shows_twilios_words() -> None:
    assert classify_refusal(400, 99999, "The moon is full") == Refused("99999", "The moon is full", "unreachable")
    assert classify_refusal(418, None).code == "http_418"


@settings(deadline=None)
@given(st.integers(400, 499), st.none() | st.integers() | st.text(max_size=12) | st.sampled_from(sorted(ERRORS)))
def test_any_refusal_has_an_ending(status: int, code: int | str | None) -> None:
    assert isinstance(classify_refusal(status, code), Refused | NotProcessed | Unknown)


def test_codes_are_found_however_they_are_written() -> None:
    assert known("21610") is known(21610) is ERRORS[21610]
    assert known(None) is known("") is known("²") is known("9" * 99) is known(-1) is None


def test_only_one_code_means_opted_out() -> None:
    assert [code for code, row in ERRORS.items() if row.reason == "opt_out"] == [21610]
    assert ERRORS[21610].action is Action.SUPPRESS
