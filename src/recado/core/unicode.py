"""What databases accept as text, and Unicode's normal forms in time that grows linearly with the text.

The standard library sorts each run of combining marks by insertion, so one letter with a hundred thousand accents keeps
it busy for a minute. Runs are therefore cut to the thirty that Unicode calls stream-safe; no language needs more.
"""

import re
import unicodedata
from functools import lru_cache
from typing import Final, Literal, TypeAlias

NormalForm: TypeAlias = Literal["NFC", "NFKC", "NFKD"]

MAX_MARKS: Final = 30


def normalized(form: NormalForm, text: str) -> str:
    """Return `text` in a normal form, with at most `MAX_MARKS` marks on each letter."""
    return text if text.isascii() else unicodedata.normalize(form, _stream_safe(text))


def _stream_safe(text: str) -> str:
    if len(text) <= MAX_MARKS:
        return text
    kept: list[str] = []
    marks = 0
    for letter in text:
        marks = marks + 1 if _is_mark(letter) else 0
        if marks <= MAX_MARKS:
            kept.append(letter)
    return "".join(kept)


@lru_cache(maxsize=4_096)
def _is_mark(letter: str) -> bool:
    """Return whether a letter is a mark or becomes one, such as the sound mark of narrow katakana."""
    return unicodedata.combining(unicodedata.normalize("NFKD", letter)[0]) != 0


MAX_WORD: Final = 64
_WORD = re.compile(r"[^\W_]+")


def fold(text: str) -> str:
    """Return lower case without accents; ligatures and wide letters become plain ones."""
    # Decompose first: the sign ℠ contains two capitals.
    letters = normalized("NFKD", normalized("NFKD", text).casefold())
    return "".join(letter for letter in letters if unicodedata.category(letter) != "Mn")


def words(text: str) -> list[str]:
    """Return every word of `text`, folded."""
    return [word[:MAX_WORD] for word in _WORD.findall(fold(text))]


_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def storable(text: str) -> str:
    """Return the text as databases and JSON accept it: NUL and lone surrogates become U+FFFD."""
    if text.isascii() and "\x00" not in text:
        return text
    return _UNSTORABLE.sub("\ufffd", text)
