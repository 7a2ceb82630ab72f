"""Long answers are split where a reader would pause, and nothing of them is lost."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recado.conversation.sending.splitting import LIMIT, normalised, split, utf16_length

texts = st.text(max_size=300) | st.text("ab. \n!?😀👩🏽‍🚀é", max_size=300)


@settings(deadline=None)
@given(text=texts, limit=st.integers(2, 40))
def test_no_part_is_too_long_or_empty_or_padded(text: str, limit: int) -> None:
    for part in split(text, limit):
        assert 0 < utf16_length(part) <= limit
        assert part == part.strip()


@settings(deadline=None)
@given(text=texts, limit=st.integers(2, 40))
def test_only_whitespace_between_parts_is_lost(text: str, limit: int) -> None:
    position = 0
    for part in split(text, limit):
        found = text.index(part, position)
        assert not text[position:found].strip()
        position = found + len(part)
    assert not text[position:].strip()


@settings(deadline=None)
@given(text=texts)
def test_what_fits_stays_in_one_piece(text: str) -> None:
    assert split(text) == ([text.strip()] if text.strip() else [])


def test_prefers_the_end_of_a_paragraph() -> None:
    first, second = "A first one. It has two sentences.", "A second one. And so on."
    assert split(f"{first}\n\n{second}", 50) == [first, second]


def test_then_the_end_of_a_sentence() -> None:
    assert split("Is it so? “Yes, it is.” And then some more", 24) == ["Is it so? “Yes, it is.”", "And then some more"]


def test_then_the_end_of_a_line() -> None:
    assert split("- one and two\n- three and four", 20) == ["- one and two", "- three and four"]


def test_then_the_end_of_a_word() -> None:
    assert split("alpha beta gamma delta", 12) == ["alpha beta", "gamma delta"]


def test_a_number_is_not_the_end_of_a_sentence() -> None:
    assert split("it costs about 3.50 today", 19) == ["it costs about 3.50", "today"]


def test_a_very_early_pause_is_passed_over() -> None:
    assert split("Hi. " + "word " * 5, 20) == ["Hi. word word word", "word word"]


def test_only_a_word_that_is_too_long_is_cut() -> None:
    assert split("x" * 25, 10) == ["x" * 10, "x" * 10, "x" * 5]


@pytest.mark.parametrize("one", ["👩🏽‍🚀", "🇧🇷", "e\u0301", "❤️", "🏴\U000e0067\U000e0062\U000e007f"])
def test_what_a_reader_sees_as_one_character_is_not_cut(one: str) -> None:
    for limit in range(utf16_length(one), 4 * utf16_length(one)):
        parts = split(one * 8, limit)
        assert "".join(parts) == one * 8
        assert all(part == one * (len(part) // len(one)) for part in parts)


def test_a_limit_too_small_for_any_character_is_refused() -> None:
    with pytest.raises(ValueError, match="room"):
        split("x", 1)


def test_emoji_count_as_the_provider_counts_them() -> None:
    assert [len(part) for part in split("😀" * LIMIT)] == [LIMIT // 2, LIMIT // 2]


def test_a_long_answer_is_cut_into_few_parts() -> None:
    text = "\n\n".join(["A sentence of some length that says something. " * 8] * 20)
    parts = split(text)
    assert len(parts) <= len(text) // LIMIT + 2
    assert all(part.endswith(".") for part in parts)


@pytest.mark.parametrize(
    ("sent", "listed"),
    [
        ("a\nb", "a\r\nb"),
        ("a \nb  ", "a\nb"),
        ("ol\u00e1", "ola\u0301"),
        ("“it’s” – so…", '"it\'s" - so...'),
        ("a\u00a0b\u200bc", "a bc"),
        ("a\x00b", "a\ufffdb"),
    ],
)
def test_what_providers_rewrite_is_compared_as_the_same(sent: str, listed: str) -> None:
    assert normalised(sent) == normalised(listed)


@pytest.mark.parametrize(("one", "other"), [("yes", "Yes"), ("a b", "ab"), ("a\nb", "a b"), ("1", "2"), ("", "a")])
def test_different_texts_stay_different(one: str, other: str) -> None:
    assert normalised(one) != normalised(other)


@settings(deadline=None)
@given(texts)
def test_normalising_twice_changes_nothing_more(text: str) -> None:
    assert normalised(normalised(text)) == normalised(text)


@settings(deadline=None)
@given(texts)
def test_what_is_compared_has_no_padding(text: str) -> None:
    assert not re.search(r"[^\S\n]+$", normalised(text), re.MULTILINE)
