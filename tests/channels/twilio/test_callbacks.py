"""A callback reference can be neither guessed nor altered."""

from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recado.channels.twilio.callbacks import attempt_of, callback_ref, callback_url

KEY = b"k" * 32
ATTEMPT = UUID("0198c0de-0000-7000-8000-000000000001")


@settings(deadline=None)
@given(st.uuids(), st.binary(min_size=16, max_size=32))
def test_a_reference_names_its_attempt(attempt: UUID, key: bytes) -> None:
    assert attempt_of(callback_ref(attempt, key), key) == attempt


def test_another_key_does_not_open_it() -> None:
    assert attempt_of(callback_ref(ATTEMPT, KEY), b"other" * 8) is None


def test_the_mac_of_another_attempt_does_not_fit() -> None:
    other = UUID(int=ATTEMPT.int + 1)
    assert attempt_of(f"{other.hex}.{callback_ref(ATTEMPT, KEY).partition('.')[2]}", KEY) is None


@settings(deadline=None)
@given(at=st.integers(0, 64), char=st.sampled_from("0123456789abcdef.-"))
def test_one_changed_character_spoils_it(at: int, char: str) -> None:
    ref = callback_ref(ATTEMPT, KEY)
    changed = ref[:at] + char + ref[at + 1 :]
    assert attempt_of(changed, KEY) == (ATTEMPT if changed == ref else None)


@pytest.mark.parametrize("ref", ["", ".", "x", ATTEMPT.hex, f"{ATTEMPT.hex}.", "\x00", "é" * 65])
def test_rubbish_names_nothing(ref: str) -> None:
    assert attempt_of(ref, KEY) is None


def test_neither_case_nor_whitespace_may_vary() -> None:
    ref = callback_ref(ATTEMPT, KEY)
    assert attempt_of(ref.upper(), KEY) is None
    assert attempt_of(ref + "\n", KEY) is None


def test_the_url_is_on_the_public_address() -> None:
    assert callback_url("https://a.example/", "x.y") == "https://a.example/webhooks/twilio/status/x.y"
