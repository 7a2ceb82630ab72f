"""The output of commands: one JSON document for programs, tables and sentences for people.

Text of customers and providers is never read as markup, and its control characters never reach the terminal.
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeAlias

from recado.core.clock import Clock, SystemClock
from recado.entrypoints.cli.texts.language import said, say
from recado.entrypoints.cli.waiting import make_room, show_progress

if TYPE_CHECKING:
    from rich.console import Console

Json: TypeAlias = bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"] | None
Item: TypeAlias = Mapping[str, Json]

PROGRESS_SECONDS: Final = 2.0
MAX_SHOWN: Final = 1_000
"""A person is shown at most this many rows of a long list."""


_printed = False


def begin() -> None:
    """Forget what an earlier command of this process printed."""
    global _printed  # noqa: PLW0603 - standard output is one for the whole process
    _printed = False


def has_printed() -> bool:
    """Return whether this command has written a document, or has begun to."""
    return _printed


def _write(text: str) -> None:
    global _printed  # noqa: PLW0603
    _printed = True
    make_room()
    sys.stdout.write(text)


def print_document(value: Json | Mapping[str, object]) -> None:
    """Write the one JSON document to standard output."""
    _write(json.dumps(value, ensure_ascii=False) + "\n")


@contextmanager
def print_document_stream() -> Iterator[Callable[[Item], None]]:
    """Write a JSON list to standard output, item by item."""
    begun = False

    def add(item: Item) -> None:
        nonlocal begun
        _write((", " if begun else "[") + json.dumps(item, ensure_ascii=False))
        begun = True

    yield add
    _write("]\n" if begun else "[]\n")


class Progress:
    """Reports the progress of a long command: in the last line of a terminal, else as lines on standard error."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._said_at = self._clock.monotonic()

    def __call__(self, words: str) -> None:
        words = said(words)
        if show_progress(words):
            return
        if self._clock.monotonic() - self._said_at >= PROGRESS_SECONDS:
            self._said_at = self._clock.monotonic()
            sys.stderr.write(f"{words}\n")


def print_line(text: str) -> None:
    """Write a sentence of ours for people."""
    print_text(said(text))


def print_text(text: str) -> None:
    """Write a text for people as it is: what customers, agents and other people wrote."""
    make_room()
    _console().print(_printable(text), soft_wrap=True)


def print_note(text: str) -> None:
    """Write a line about the result for people, less bright than the result."""
    _console().print(_printable(text), soft_wrap=True, style="dim")


def print_result(value: Json, words: str, *, as_json: bool) -> None:
    """Print the result of a command: the JSON value or the words for people."""
    if as_json:
        print_document(value)
    else:
        print_line(words)


def print_items(
    found: Sequence[Item], columns: Mapping[str, Callable[[Item], str]], *, empty: str, as_json: bool
) -> None:
    """Print a list as JSON, or as a table whose first column is never wrapped."""
    if as_json:
        print_document(found)
    elif not found:
        print_line(empty)
    else:
        rows = [[cell(item) for cell in columns.values()] for item in found]
        print_table(list(columns), rows)


def print_table(headings: Sequence[str] | None, rows: Sequence[Sequence[str]]) -> None:
    """Print rows under headings. Without headings the first column holds the names."""
    from rich.table import Table

    shown = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold", show_header=headings is not None)
    for position, heading in enumerate(headings or [""] * len(rows[0])):
        shown.add_column(say(heading), no_wrap=position == 0, overflow="fold")
    for row in rows:
        shown.add_row(*(_printable(cell) for cell in row))
    _console().print(shown)


def print_fields(item: Item) -> None:
    """Print one item, a line for each field."""
    print_table(None, [[say(name.replace("_", " ")), _word(value)] for name, value in item.items()])


def column(name: str) -> Callable[[Item], str]:
    """Return a function that shows one field of an item in a cell."""
    return lambda item: _word(item[name])


def moment(name: str) -> Callable[[Item], str]:
    """Return a function that shows a time in a cell, to the minute; `--json` has the seconds and the zone."""
    return lambda item: _word(item[name]).replace("T", " ")[:16]


def format_age(seconds: float) -> str:
    """Return a duration in words: `40 s`, `12 min`, `3 h`, `2 d`."""
    for limit, unit, size in ((90, "s", 1), (5_400, "min", 60), (129_600, "h", 3_600)):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86_400:.0f} d"


def _word(value: Json) -> str:
    match value:
        case None:
            return "–"
        case bool():
            return say("yes" if value else "no")
        case str() | int() | float():
            return str(value)
        case Mapping():
            return ", ".join(f"{name} {_word(each)}" for name, each in value.items())
        case _:
            return ", ".join(_word(each) for each in value)


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() or letter == "\n" else "\N{REPLACEMENT CHARACTER}" for letter in text)


def _console() -> "Console":
    from rich.console import Console

    return Console(file=sys.stdout, markup=False, emoji=False, highlight=False)
