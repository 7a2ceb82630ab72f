"""What may leave an agent, and what is rubbish.

Agents are strangers: they may answer a megabyte, a NUL, half a character or another type altogether. Whatever passes
here can be stored in any database and sent through any channel.
"""

import unicodedata
from dataclasses import replace

from recado.conversation.ports import AgentResult, HandOff, NoReply, Reply, Usage

MAX_ANSWER = 20_000
MAX_REASON = 2_000
_MAX_MODEL = 200
_MAX_TOKENS = 2**31 - 1


class InvalidResult(Exception):
    """The answer cannot be used; the text says what is wrong with it and quotes nothing of it."""


def validated(result: object) -> AgentResult:
    """The result, with line breaks of one kind; raises `InvalidResult` if it is none."""
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
    """What a run says it consumed, whether its result can be used or not; None when it says nothing of use."""
    if not isinstance(result, Reply | HandOff | NoReply):
        return None
    try:
        usage = _usage(result.usage)
    except InvalidResult:
        return None
    return None if usage == Usage() else usage


def clean_text(text: str) -> str:
    """`text` without what no answer may contain, and with line breaks of one kind."""
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
    """Every text is true, "no" included, so only a truth value may close a conversation."""
    if not isinstance(flag, bool):
        raise InvalidResult(f"invalid result: closes of type {type(flag).__name__[:60]}")


def _usage(usage: object) -> Usage:
    """Counts feed budgets, so a strange one is refused instead of stored."""
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
    """Spaces of every width, line breaks, joiners and marks of direction: alone they are no message."""
    return unicodedata.category(letter) in {"Cc", "Cf", "Zs", "Zl", "Zp"}
