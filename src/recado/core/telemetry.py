"""Logs that can be shown to anybody: one JSON object a line, without customers' words, whole numbers or secrets.

Nobody remembers at each of a thousand log calls what must not be logged. So it is removed in one place, behind every
call, also those of other libraries: keys that name a text or a secret are dropped, phone numbers keep their last four
digits, and an exception is logged with its type and place but with what it quotes only if it is ours. A customer's bare
words inside a sentence cannot be recognised here: log ids, and count or measure the rest.
"""

import datetime as dt
import functools
import logging
import os
import re
import sys
from collections.abc import Iterator, Mapping, Set
from traceback import walk_tb
from types import TracebackType
from typing import Final, TextIO, TypeAlias

import structlog
from structlog.types import EventDict, Processor

from recado.core.clock import Clock
from recado.core.errors import ConfigurationError, DomainError

LEVELS: Final[Mapping[str, int]] = {"debug": 10, "info": 20, "warning": 30, "error": 40}

_QUIETED: Final[Mapping[str, int]] = {
    # They log whole URLs, which may contain an owner's key, and headers that cannot be read.
    **dict.fromkeys(("httpx2", "httpcore2", "opentelemetry.util.re"), logging.ERROR),
    # They tell each step of a start and a migration, of which our own lines tell the result.
    **dict.fromkeys(("alembic", "uvicorn"), logging.WARNING),
}

Loggable: TypeAlias = str | int | float | bool | list["Loggable"] | dict[str, "Loggable"] | None


def configure_logging(level: str, stream: TextIO, clock: Clock) -> None:
    """Send the log of this process, from `level` on, to `stream`: JSON lines, or colours on a terminal.

    Called once at start, before anything is logged; a second call replaces the first.
    """
    if level not in LEVELS:
        raise ConfigurationError(f"RECADO_LOG_LEVEL must be one of {', '.join(LEVELS)}, not {level!r}")
    chain = _chain(stream, clock)
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, _named, *chain],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=functools.partial(_LogWriter, stream),
    )
    root = logging.getLogger()
    for handler in [each for each in root.handlers if isinstance(each, _OtherLibraries)]:
        root.removeHandler(handler)
    root.addHandler(_OtherLibraries(_LogWriter(stream), chain))
    root.setLevel(LEVELS[level])
    for name, least in _QUIETED.items():
        logging.getLogger(name).setLevel(max(least, LEVELS[level]))


def _chain(stream: TextIO, clock: Clock) -> list[Processor]:
    def stamped(_logger: object, method: str, event: EventDict) -> EventDict:
        return {"at": clock.now().isoformat(timespec="milliseconds"), "level": method, **event}

    render: Processor = structlog.processors.JSONRenderer(ensure_ascii=False)
    if stream.isatty():
        render = structlog.dev.ConsoleRenderer(
            colors=not os.environ.get("NO_COLOR"),
            timestamp_key="at",
            exception_formatter=structlog.dev.plain_traceback,
            sort_keys=False,
        )
    return [_exceptions, scrub, stamped, render]


class _LogWriter:
    """Write finished lines to a stream. A closed stream drops them silently: logging must not raise."""

    def __init__(self, stream: TextIO, name: str | None = None) -> None:
        self._stream = stream
        self.name = name

    def msg(self, line: str) -> None:
        if not self._stream.closed:
            # One call, so that lines of several threads do not mix.
            self._stream.write(line + "\n")
            self._stream.flush()

    debug = info = warning = error = critical = exception = log = msg


class _OtherLibraries(logging.Handler):
    """Send what other libraries log in the standard way through the same processors."""

    def __init__(self, lines: _LogWriter, chain: list[Processor]) -> None:
        super().__init__()
        self._lines = lines
        self._chain = chain

    def emit(self, record: logging.LogRecord) -> None:
        event: EventDict = {"event": record.getMessage(), "logger": record.name, "exc_info": record.exc_info}
        for processor in self._chain:
            event = processor(self._lines, record.levelname.lower(), event)  # type: ignore[assignment]  # The last one renders.
        self._lines.msg(str(event))


def _named(logger: _LogWriter, _method: str, event: EventDict) -> EventDict:
    return event if logger.name is None else {**event, "logger": logger.name}


# --- What must not be told --------------------------------------------------------------------------------------------

_SECRET_WORDS: Final = frozenset(
    "authorization body content cookie form params password payload prompt secret signature text token".split()  # noqa: SIM905
)
_SECRET_NAMES: Final = frozenset(["api_key", "apikey", "authtoken", "internal_api_key", "secret_key", "wa_id", "waid"])
_TRACES: Final = frozenset(["trace", "trace_id", "span_id"])


def scrub(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Return the event without bodies, tokens and whole phone numbers, as plain JSON values."""
    return {_masked_key(key): _clean(value, key) for key, value in event.items() if not _is_secret(key)}


@functools.lru_cache(maxsize=1_000)
def _is_secret(key: str) -> bool:
    """Return whether a key names a text or a secret, by itself or by its last word (`message_body`,
    `X-Twilio-Signature`).
    """
    name = key.lower().replace("-", "_")
    return name in _SECRET_NAMES or name.rpartition("_")[2] in _SECRET_WORDS


def _clean(value: object, key: str = "", depth: int = 0) -> Loggable:
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth >= 8:
        return f"<{type(value).__name__}>"
    if isinstance(value, Mapping):
        pairs = ((str(name), each) for name, each in value.items())
        return {_masked_key(name): _clean(each, name, depth + 1) for name, each in pairs if not _is_secret(name)}
    if isinstance(value, list | tuple | Set):
        return [_clean(each, key, depth + 1) for each in value]
    text = _as_text(value)
    return text if key in _TRACES else _masked(text)


def _as_text(value: object) -> str:
    match value:
        case bytes() | bytearray() | memoryview():
            return f"<{len(value)} bytes>"
        case dt.datetime():
            return value.isoformat()
        case BaseException():
            return _error_text(value)
        case _:
            return str(value)


_GAP: Final = r"(?:[ ().\-\u00a0]|%20)"
_PHONE: Final = re.compile(rf"(?:\+|%2[Bb]){_GAP}*\d(?:{_GAP}{{0,3}}\d){{7,}}")
# WaId is a number without its plus sign. Ids, fractions and times do not stand alone like this.
_BARE_PHONE: Final = re.compile(r"(?<![\w.+%-])[1-9]\d{10,14}(?![\w-])")
_AUTH_TOKEN: Final = re.compile(r"(?<!\w)[0-9a-fA-F]{32}(?!\w)")
_BEARER: Final = re.compile(r"\b(Bearer|Basic)\s+[\w.~+/=-]+", re.IGNORECASE)
# An unfinished quotation is hidden up to the end of the line. The possessive match never starts again inside a
# quotation, which took seconds for 20 kB of quoted `\"`.
_QUOTED: Final = r"""b?"(?:(?:[^"\\]|\\.)*+"|[^\n]*)|b?'(?:(?:[^'\\]|\\.)*+'|[^\n]*)"""
_NO_DIGIT: Final = re.compile(r"%2[0Bb]|\D")
# `text='…'` in the repr of an object, `"body": "…"` in JSON, `Body=…` in a form; without quotes, up to the end of the
# line.
_NAMED_SECRET: Final = re.compile(
    r"(?<![A-Za-z])((?:body|text|authtoken|token|password|signature|authorization|secret|api_?key|secret_key|input_value)"
    rf"[\"']?\s*[=:]\s*)(?:{_QUOTED}|[^\s\"'][^\n]*)",
    re.IGNORECASE | re.DOTALL,
)


def _masked(text: str) -> str:
    """Return `text` with its phone numbers cut to four digits and its secrets hidden."""
    if "=" in text or ":" in text:
        text = _NAMED_SECRET.sub(r"\1[hidden]", text)
    text = _BEARER.sub(r"\1 [hidden]", text)
    text = _AUTH_TOKEN.sub("[hidden]", text)
    text = _PHONE.sub(_last_four, text)
    return _BARE_PHONE.sub(_last_four, text)


_masked_key = functools.lru_cache(maxsize=1_000)(_masked)


def _last_four(match: re.Match[str]) -> str:
    return "+…" + _NO_DIGIT.sub("", match[0])[-4:]


# --- Exceptions -------------------------------------------------------------------------------------------------------

_QUOTATION: Final = re.compile(rf"(?<![A-Za-z0-9])(?:{_QUOTED})", re.DOTALL)
_MAX_QUOTED: Final = 10_000


def _exceptions(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Replace `exc_info` by a text: the type and the place of the error, without values."""
    rest = {key: value for key, value in event.items() if key != "exc_info"}
    error = _exception_in(event.get("exc_info"))
    return rest if error is None else {**rest, "exception": "\n".join(_described(error))}


def _exception_in(exc_info: object) -> BaseException | None:
    match exc_info:
        case BaseException():
            return exc_info
        case (_, BaseException() as error, _):
            return error
        case True:
            return sys.exception()
        case _:
            return None


def _described(error: BaseException, depth: int = 0) -> Iterator[str]:
    """Yield the lines for the error, for its cause, and for the members of a group."""
    yield f"{type(error).__qualname__}: {_error_text(error)}"
    yield from _frames(error.__traceback__)
    if depth >= 8:
        return
    origin = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if origin is not None:
        yield "from:"
        yield from _described(origin, depth + 1)
    if isinstance(error, BaseExceptionGroup):
        for member in error.exceptions:
            yield "with:"
            yield from _described(member, depth + 1)


def _frames(traceback: TracebackType | None) -> Iterator[str]:
    for frame, line in walk_tb(traceback):
        yield f"  {frame.f_code.co_filename}:{line} in {frame.f_code.co_name}"


def _error_text(error: BaseException) -> str:
    """Return the error's message.

    Errors of others quote what they were given, and a driver adds parameters below: both go.
    """
    text = str(error)
    if isinstance(error, DomainError | OSError):
        return text
    return _QUOTATION.sub("'…'", text.partition("\n")[0][:_MAX_QUOTED])[:200]
