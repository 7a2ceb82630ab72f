"""Split a long answer into parts that a channel accepts, and compare texts with those that a provider lists.

Lengths are counted in UTF-16 units, as providers do: an emoji counts as two or more. The comparison errs on the side
of "the same", because a text that is not recognised in the provider's list would be sent again.
"""

import re
import unicodedata

from recado.core.unicode import normalized

LIMIT = 1_600
"""The longest text that is accepted in one message on any channel."""

_SENTENCE_END = re.compile(r"[.!?…。！？][\"'”’»)\]*_]*(?=\s)")
_PARAGRAPH_END = re.compile(r"\S(?=[^\S\n]*\n\s*\n)")
_LINE_END = re.compile(r"\S(?=[^\S\n]*\n)")
_WORD_END = re.compile(r"\S(?=\s)")
_VISIBLE = re.compile(r"\S")
_BEYOND = 16
"""How many characters behind a part are searched, because its pause may start right behind it."""


def split(text: str, limit: int = LIMIT) -> list[str]:
    """Return the text in parts of at most `limit` UTF-16 units, none of them empty.

    A part ends at a paragraph, else at a sentence, a line or a word. Only a single word that is longer than a part is
    cut, between two visible characters. Nothing is lost but the whitespace at both ends of a part.
    """
    if limit < 2:
        raise ValueError("a part must have room for one character: two UTF-16 units")
    parts: list[str] = []
    at, end = _visible(text, 0), len(text.rstrip())
    while at < end:
        near = text[at : min(end, at + limit + _BEYOND + 1)]  # Never the whole rest: that would copy it for each part.
        window = _fitting(near, limit)
        if at + window < end:
            window = _pause(near, window)
        parts.append(near[:window].rstrip())
        at = _visible(text, at + window)
    return parts


def _visible(text: str, at: int) -> int:
    """Return where the next part begins."""
    found = _VISIBLE.search(text, at)
    return len(text) if found is None else found.start()


def utf16_length(text: str) -> int:
    """Return the length of a text as a channel counts it."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _fitting(text: str, limit: int) -> int:
    """Return how many characters of the text fit into `limit` units."""
    count = min(len(text), limit)
    while (excess := utf16_length(text[:count]) - limit) > 0:
        count -= (excess + 1) // 2  # Dropping n characters frees at most 2n units, so this never drops too many.
    return count


def _pause(text: str, window: int) -> int:
    """Return where to end a part that may hold `window` characters, at the largest pause there is.

    A pause in the first third is not used: the part would be too short for a message of its own. The end of a word is
    used wherever it is, because that is better than cutting the word.
    """
    for pattern, least in ((_PARAGRAPH_END, window // 3), (_SENTENCE_END, window // 3), (_LINE_END, window // 3)):
        if (end := _last_end(pattern, text, window)) > least:
            return end
    return _last_end(_WORD_END, text, window) or _between_characters(text, window)


def _last_end(pattern: re.Pattern[str], text: str, window: int) -> int:
    ends = [match.end() for match in pattern.finditer(text, 0, window + _BEYOND) if match.end() <= window]
    return ends[-1] if ends else 0


def _between_characters(text: str, window: int) -> int:
    """Return the last place up to `window` that is not inside what a reader sees as one character."""
    for end in range(window, max(window - 64, 0), -1):
        if not _glued(text, end):
            return end
    return window


_ZERO_WIDTH_JOINER = "\u200d"


def _glued(text: str, at: int) -> bool:
    """Return whether the characters before and after `at` belong together: accents, joined emoji, skin tones, flags."""
    before, after = text[at - 1], text[at]
    if _ZERO_WIDTH_JOINER in (before, after) or unicodedata.category(after).startswith("M"):
        return True
    if "\U0001f3fb" <= after <= "\U0001f3ff" or "\U000e0020" <= after <= "\U000e007f":
        return True
    return _is_flag_letter(after) and _flag_letters_before(text, at) % 2 == 1


def _is_flag_letter(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"


def _flag_letters_before(text: str, at: int) -> int:
    start = at
    while start > 0 and _is_flag_letter(text[start - 1]):
        start -= 1
    return at - start


# Providers may rewrite these: look-alikes that spare an SMS the larger encoding, and characters that are not visible.
_LOOK_ALIKES = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u00b4", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb", '"'),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-"),
        **dict.fromkeys("\u00a0\u2002\u2003\u2007\u2009\u200a\u202f", " "),
        **dict.fromkeys("\u200b\u2060\ufeff", None),
        **dict.fromkeys(map(chr, (0, *range(0xD800, 0xE000))), "\ufffd"),
        "\u2026": "...",
    }
)


def normalised(text: str) -> str:
    """Return a text for comparison: in NFC, with LF, plain punctuation and no whitespace at the ends of lines."""
    folded = normalized("NFC", text).translate(_LOOK_ALIKES)
    lines = folded.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return "\n".join(line.rstrip() for line in lines).strip()
