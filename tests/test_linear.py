"""Whatever reads a text from outside takes time that grows with the text and no faster.

Customers, providers, owners and their servers choose these texts. A pattern that looks at each character once for every
other one takes a second for 40,000 of them and an hour for a few megabytes.

Time is that of this thread alone, the best of several runs, and only what is far from a straight line is a failure:
four times the text may cost nine times as much, where the square would be sixteen.
"""

import contextlib
import importlib
import itertools
import pkgutil
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import ModuleType
from uuid import UUID

import pytest

import recado
from recado.agents.builtin import faq
from recado.agents.knowledge.documents import readable, split_document
from recado.agents.knowledge.words import content_words, coverage, terms
from recado.agents.prompts import tagged
from recado.agents.results import InvalidResult, clean_text, validated
from recado.channels.twilio.values import AccountSid
from recado.channels.twilio.webhook.form import parse
from recado.conversation.ports import Incoming, Reply
from recado.conversation.sending.splitting import normalised, split
from recado.conversation.values import Address
from recado.core.errors import DomainError
from recado.core.outbound.addresses import checked_url, literal_address
from recado.core.telemetry import scrub
from recado.core.unicode import normalized, storable
from recado.identity.models import Owner, normalized_email, valid_text, valid_words
from recado.identity.passwords import acceptable_password
from recado.settings import load_settings

SCREEN = 2_000
"""At this size the square is told from a straight line at a glance, so that thousands of texts can be tried."""
SIZES = (10_000, 20_000, 40_000)
FREE_SECONDS = 0.05
"""What takes no longer on the largest text is not worth a measurement: the square takes a second."""
MOST_GROWTH = 9.0

WITHIN_A_FUNCTION = re.compile(r"\s.*\bre\.(?:compile|subn?|match|search|split|findall|finditer|fullmatch)\(")

Read = Callable[[str], object]
Pattern = re.Pattern[str] | re.Pattern[bytes]


def seconds(read: Read, text: str) -> float:
    """The time of this thread, so that a busy machine changes little."""
    begun = time.thread_time()
    read(text)
    return time.thread_time() - begun


def grows_too_fast(read: Read, unit: Callable[[int], str]) -> str | None:
    """What was measured, if it is far from a straight line."""
    if seconds(read, unit(SIZES[-1])) < FREE_SECONDS:
        return None
    # Each text is a new one: some of what is tried remembers its last answers.
    best = [min(seconds(read, f"{unit(size)}{again}") for again in range(3)) for size in SIZES]
    if best[-1] < FREE_SECONDS or best[-1] < MOST_GROWTH * best[0]:
        return None
    return f"{[round(each, 4) for each in best]} s for {unit(40)!r} …"


# --- Patterns ---------------------------------------------------------------------------------------------------------


def modules() -> Iterator[ModuleType]:
    """Every module of the product but those that run when they are imported."""
    for found in pkgutil.walk_packages(recado.__path__, "recado."):
        if not found.name.endswith(".__main__") and not found.name.startswith("recado.migrations."):
            yield importlib.import_module(found.name)


def patterns() -> dict[str, Pattern]:
    """Every compiled pattern over text or bytes, by where it is."""
    found: dict[str, Pattern] = {}
    for module in modules():
        for name, value in vars(module).items():
            if isinstance(value, re.Pattern):
                found[f"{module.__name__}.{name}"] = value
    return found


def units_of(pattern: Pattern) -> list[str]:
    """What such a pattern may stumble over: the signs and words in it, and what every class holds."""
    source = pattern.pattern if isinstance(pattern.pattern, str) else str(pattern.pattern, "latin-1")
    signs = {sign for sign in source if not sign.isalnum()} & set("#<>!-=_*`~'\"\\[]().,:;|+%@/ ?…”")
    words = set(re.findall(r"[A-Za-z]{2,}", source)[:6])
    return sorted({*signs, *words, "a", "1", " ", "\n"})


def shapes(units: list[str]) -> Iterator[Callable[[int], str]]:
    """One or two units over and over, and one unit before many of another with something odd at the end."""
    for first, second in itertools.product(units, repeat=2):
        yield partial(repeated, first + second)
        yield partial(begun_and_broken_off, first, second)


def repeated(unit: str, size: int) -> str:
    return (unit * (size // len(unit) + 1))[:size]


def begun_and_broken_off(first: str, unit: str, size: int) -> str:
    return f"{first}{repeated(unit, size)}\x01"


def readings(pattern: Pattern) -> Iterator[Read]:
    if isinstance(pattern.pattern, bytes):
        over_bytes: re.Pattern[bytes] = re.compile(pattern.pattern, pattern.flags)
        yield lambda text: sum(1 for _ in over_bytes.finditer(text.encode("latin-1", "replace")))
        yield lambda text: over_bytes.fullmatch(text.encode("latin-1", "replace"))
    else:
        over_text: re.Pattern[str] = re.compile(pattern.pattern, pattern.flags)
        yield lambda text: sum(1 for _ in over_text.finditer(text))
        yield over_text.fullmatch


def test_every_pattern_takes_time_that_grows_with_the_text() -> None:
    found = patterns()
    assert len(found) > 40
    for name, pattern in found.items():
        for read, unit in itertools.product(readings(pattern), list(shapes(units_of(pattern)))):
            if seconds(read, unit(SCREEN)) > 0.001:
                assert (grown := grows_too_fast(read, unit)) is None, f"{name}: {grown}"


def test_every_pattern_has_a_name_where_the_test_above_finds_it() -> None:
    strays = [
        f"{path.name}: {line.strip()}"
        for path in Path(recado.__path__[0]).rglob("*.py")
        for line in path.read_text("utf-8").splitlines()
        if WITHIN_A_FUNCTION.match(line)
    ]
    assert strays == []


# --- Functions --------------------------------------------------------------------------------------------------------


def tried(read: Read) -> Read:
    """A refusal is an answer too."""

    def reads(text: str) -> None:
        with contextlib.suppress(DomainError, InvalidResult, ValueError):
            read(text)

    return reads


NOW = datetime(2026, 3, 14, 12, tzinfo=UTC)
OWNER = Owner(id=UUID(int=1), name="Padaria", email="ana@padaria.example", created_at=NOW, stop_words=["fim"])
READERS: dict[str, Read] = {
    "a document": lambda text: split_document("a.md", readable("a.md", text)),
    "a document's bytes": lambda text: readable("a.md", text.encode("utf-8", "replace")),
    "words": terms,
    "coverage": lambda text: coverage(content_words(text[:2_000]), text),
    "questions": lambda text: faq._questions([Incoming(text, "text", NOW)]),
    "a wish for a person": lambda text: faq._wants_person(faq.fold_spaces(text)),
    "what is asked": faq._essence,
    "an answer": lambda text: (clean_text(text), validated(Reply(text))),
    "what a model is shown": lambda text: tagged("customer", text),
    "parts": split,
    "what is compared": normalised,
    "a form": lambda text: parse(text.encode("utf-8", "replace")),
    "what is stored": storable,
    "an address": Address.parse,
    "an account": AccountSid,
    "an e-mail address": normalized_email,
    "a password": acceptable_password,
    "an owner's text": valid_text,
    "an owner's words": lambda text: valid_words([text, "fim"]),
    "a stop word": OWNER.is_stop_word,
    "a URL": lambda text: checked_url("url", f"https://{text}", private=False),
    "a host": literal_address,
    "a setting": lambda text: load_settings({"RECADO_PUBLIC_URL": text, "RECADO_QUEUE_NAME": text}, purpose="serve"),
    "the name of a setting": lambda text: load_settings({f"RECADO_{text}": "1"}, purpose="demo"),
    "a log line": lambda text: scrub(None, "info", {"event": text, "why": ValueError(text), text: text}),
    "a normal form": lambda text: normalized("NFKD", text),
}
UNITS = [
    *(
        "a",
        "a ",
        " ",
        "\n",
        "1",
        "# ",
        "#",
        "# a #",
        "-",
        "- ",
        "|",
        "<!--",
        "-->",
        "**a ",
        "__a ",
        "*",
        "[",
        "[a](",
        "](",
    ),
    *(
        "(",
        "`",
        "P: ",
        "a? ",
        ". ",
        ".\n",
        '"',
        '\\"',
        "'",
        'body="',
        "text: '",
        "+1 ",
        "%2B",
        "%20",
        "=&",
        "&",
        "@",
        "a@",
    ),
    *("Á", "e\u0301\u0323", "\u0301\u0323", "\uff9e\u0301", "🙂", "\U0001f1e7", "\u200d", "\u00a0", "\x00", "\ud800"),
    *("quero falar com ", "vou te ", "nao a a quero "),
]


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_a_reader_takes_time_that_grows_with_the_text(read: Read) -> None:
    safe = tried(read)
    for unit in [partial(repeated, each) for each in UNITS] + [accents_out_of_order]:
        if seconds(safe, unit(SIZES[0])) > 0.02:
            assert (grown := grows_too_fast(safe, unit)) is None, grown


def accents_out_of_order(size: int) -> str:
    return "e" + "\u0301" * (size // 2) + "\u0323" * (size // 2)


def test_a_text_of_megabytes_is_cut_in_time_that_grows_with_it() -> None:
    quarter, whole = (min(seconds(split, "Sim, claro. " * size) for _ in range(3)) for size in (10_000, 40_000))
    assert whole < MOST_GROWTH * quarter
