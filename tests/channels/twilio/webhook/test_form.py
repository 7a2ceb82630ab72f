"""The form parser drops, merges and trims nothing."""

from urllib.parse import parse_qsl, quote_from_bytes, quote_plus, urlencode

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from recado.channels.twilio.webhook.form import MAX_FIELDS, TooManyFields, parse
from recado.core.unicode import storable
from tests.channels.twilio.webhook.forms import PAYLOADS, raw


@pytest.mark.parametrize("name", [path.stem for path in sorted(PAYLOADS.rglob("*.form"))])
def test_reads_every_stored_request_like_the_standard_library(name: str) -> None:
    body = raw(name)
    assert parse(body) == tuple(parse_qsl(body.decode(), keep_blank_values=True))


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (b"", ()),
        (b"&&", ()),
        (b"a", (("a", ""),)),
        (b"a=&b=", (("a", ""), ("b", ""))),
        (b"a=1&a=1&a=2", (("a", "1"), ("a", "1"), ("a", "2"))),
        (b"a=++x+", (("a", "  x "),)),
        (b"a=%2B%26%3D%3d%25", (("a", "+&==%"),)),
        (b"a=b=c", (("a", "b=c"),)),
        (b"a=%41%c3%A3", (("a", "Aã"),)),
        (b"a=\\n\\x41\\\\", (("a", "\\n\\x41\\\\"),)),
        (b"a=\\%41%5Cn", (("a", "\\A\\n"),)),
        (b"a=%zz%4&b=100%", (("a", "%zz%4"), ("b", "100%"))),
        (b"a=%%26", (("a", "%&"),)),
        (b"a=\r\n\t", (("a", "\r\n\t"),)),
        ("a=olá".encode(), (("a", "olá"),)),
        (b"a=\xc3%A3", (("a", "ã"),)),
        ("a=Ħ%26Ľ%3D".encode(), (("a", "Ħ&Ľ="),)),
    ],
)
def test_reads(body: bytes, fields: tuple[tuple[str, str], ...]) -> None:
    assert parse(body) == fields


def test_bytes_that_are_no_utf8_can_be_had_back() -> None:
    fields = parse(b"Body=%FF%00ok\xfe&b=%zz%ff")
    assert fields == (("Body", "\udcff\x00ok\udcfe"), ("b", "%zz\udcff"))
    assert fields[0][1].encode("utf-8", "surrogateescape") == b"\xff\x00ok\xfe"


def test_too_many_fields_are_a_value() -> None:
    assert parse(b"&".join([b"a=1"] * (MAX_FIELDS + 1))) == TooManyFields(MAX_FIELDS + 1)
    assert len(tuple(parse(b"&".join([b"a=1"] * MAX_FIELDS)))) == MAX_FIELDS  # type: ignore[arg-type]


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@settings(deadline=None)
@given(st.lists(st.tuples(texts.filter(bool), texts), max_size=20))
def test_gives_back_what_was_encoded(fields: list[tuple[str, str]]) -> None:
    assert parse(urlencode(fields).encode()) == tuple(fields)


@settings(deadline=None)
@given(st.lists(st.tuples(st.binary(min_size=1, max_size=20), st.binary(max_size=20)), max_size=10))
def test_gives_back_any_bytes(fields: list[tuple[bytes, bytes]]) -> None:
    body = "&".join(f"{quote_from_bytes(name)}={quote_from_bytes(value)}" for name, value in fields)
    parsed = parse(body.encode())
    assert isinstance(parsed, tuple)
    back = [tuple(text.encode("utf-8", "surrogateescape") for text in pair) for pair in parsed]
    assert back == fields


@settings(deadline=None)
@given(st.binary(max_size=60) | st.text("ab%=&+\\x41ux0126zã").map(str.encode))
@example(b"a=%5cu0126")
@example(b"\\u0126=\\N{DIGIT ONE}")
def test_agrees_with_the_standard_library_on_anything(body: bytes) -> None:
    text = body.decode("latin-1")
    # Byte by byte: the standard library decodes before it joins a raw byte to an escaped one, so escape them all first.
    escaped = "".join(char if char.isascii() else quote_plus(char, encoding="latin-1") for char in text)
    expected = parse_qsl(escaped, keep_blank_values=True, errors="surrogateescape")
    assert parse(body) == tuple(expected)


@settings(deadline=None)
@given(st.binary(max_size=80))
def test_what_is_stored_has_neither_nul_nor_surrogates(value: bytes) -> None:
    text = storable(value.decode("utf-8", "surrogateescape"))
    assert "\x00" not in text
    assert text.encode().decode() == text


def test_stores_ordinary_text_as_it_is() -> None:
    assert storable("Olá 👋") == "Olá 👋"
    assert storable("a\x00b\udcff\ud83d") == "a\ufffdb\ufffd\ufffd"
