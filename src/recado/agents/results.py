"""Which results of an agent are valid.

An agent is foreign code: it may return a megabyte, a NUL, half a character or another type. A result that passes this
module can be stored in any database and sent through any channel.
"""

import unicodedata
from dataclasses import replace

from recado.conversation.ports import AgentResult, HandOff, NoReply, Reply, Usage

MAX_ANSWER = 20_000
MAX_REASON = 2_000
_MAX_MODEL = 200
_MAX_TOKENS = 2**31 - 1


class InvalidResult(Exception):
    """The result cannot be used. The text says why and quotes nothing of it."""


def validated(result: object) -> AgentResult:
    """Return the result with uniform line breaks. Raises `InvalidResult`."""
    match result:
        case Reply(text=text, usage=usage):
            _check_flag(result.closes)
            return replace(result, text=_text(text, MAX_ANSWER), usage=_usage(usage))
        case HandOff(reason=reason, notice=notice, usage=usage):
            notice = None if notice is None else _text(notice, MAX_ANSWER)
            return replace(result, reason=_text(reason, MAX_REASON, blank=True), notice=notice, usage=_usage(usage))
        case NoReply(reason=reason, usage=usage):
            return replace(result, reason=_text(reason, MAX_REASON, blank=True), usage=_usage(usage))
    raise InvalidResult(f"invalid result: {type(result).__name__[:60]} is no Reply, HandOff or NoReply")


def usage_of(result: object) -> Usage | None:
    """Return the usage that a run reports, even of an invalid result; None if it reports nothing valid."""
    if not isinstance(result, Reply | HandOff | NoReply):
        return None
    try:
        usage = _usage(result.usage)
    except InvalidResult:
        return None
    return None if usage == Usage() else usage


def clean_text(text: str) -> str:
    """Return `text` with uniform line breaks, without the characters that an answer must not contain."""
    return "".join(letter for letter in _unix(text) if not _unprintable(letter))


def _text(text: object, most: int, *, blank: bool = False) -> str:
    if not isinstance(text, str):
        raise InvalidResult(f"invalid result: text of type {type(text).__name__[:60]}")
    if len(text) > most:
        raise InvalidResult(f"invalid result: {len(text)} characters, {most} at most")
    text = _unix(text)
    if any(_unprintable(letter) for letter in text):
        raise InvalidResult("invalid result: control characters or half characters")
    if not blank and all(_invisible(letter) for letter in text):
        raise InvalidResult("invalid result: empty text")
    return text


def _check_flag(flag: object) -> None:
    """Every text counts as true, even "no", so only a bool may close a conversation."""
    if not isinstance(flag, bool):
        raise InvalidResult(f"invalid result: closes of type {type(flag).__name__[:60]}")


def _usage(usage: object) -> Usage:
    """Counts are used for budgets, so an invalid one is refused and not stored."""
    match usage:
        case Usage(model=str() | None, input_tokens=int(read), output_tokens=int(written)) if (
            0 <= read <= _MAX_TOKENS and 0 <= written <= _MAX_TOKENS and len(usage.model or "") <= _MAX_MODEL
        ):
            return replace(usage, model=None if usage.model is None else clean_text(usage.model))
    raise InvalidResult("invalid result: usage out of range")


def _unix(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _unprintable(letter: str) -> bool:
    return letter not in "\n\t" and unicodedata.category(letter) in {"Cc", "Cs"}


def _invisible(letter: str) -> bool:
    """Spaces of every width, line breaks, joiners and marks of direction. A text of these only is empty."""
    return unicodedata.category(letter) in {"Cc", "Cf", "Zs", "Zl", "Zp"}
