"""What commands say: one JSON document for programs, tables and sentences for people.

Cells are shown as they are: what customers and providers wrote is never read as markup, and control characters in it
never reach the terminal.
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeAlias

from recado.core.clock import Clock, SystemClock

if TYPE_CHECKING:
    from rich.console import Console

Json: TypeAlias = bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"] | None
Item: TypeAlias = Mapping[str, Json]

PROGRESS_SECONDS: Final = 3.0
MAX_SHOWN: Final = 1_000
"""How many of what may be very many a person is shown at once."""


def document(value: Json | Mapping[str, object]) -> None:
    """The one JSON document on standard output."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")


@contextmanager
def streamed_document() -> Iterator[Callable[[Item], None]]:
    """One JSON document that is a list, written item by item."""
    begun = False

    def add(item: Item) -> None:
        nonlocal begun
        sys.stdout.write((", " if begun else "[") + json.dumps(item, ensure_ascii=False))
        begun = True

    yield add
    sys.stdout.write("]\n" if begun else "[]\n")


class Progress:
    """Says how far something long has come, to people only: on standard error, every few seconds."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._said_at = self._clock.monotonic()

    def __call__(self, words: str) -> None:
        if self._clock.monotonic() - self._said_at >= PROGRESS_SECONDS:
            self._said_at = self._clock.monotonic()
            sys.stderr.write(f"{words}\n")


def sentence(text: str) -> None:
    """A line for a person."""
    _console().print(_printable(text), soft_wrap=True)


def answer(value: Json, words: str, *, as_json: bool) -> None:
    """The outcome of a command that does one thing."""
    if as_json:
        document(value)
    else:
        sentence(words)


def items(found: Sequence[Item], columns: Mapping[str, Callable[[Item], str]], *, empty: str, as_json: bool) -> None:
    """A list: the items as they are, or one row of a table each, whose first column is never folded."""
    if as_json:
        document(found)
    elif not found:
        sentence(empty)
    else:
        rows = [[cell(item) for cell in columns.values()] for item in found]
        table(list(columns), rows)


def table(headings: Sequence[str] | None, rows: Sequence[Sequence[str]]) -> None:
    """Rows under headings; without headings the first column names what the others say."""
    from rich.table import Table

    shown = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold", show_header=headings is not None)
    for position, heading in enumerate(headings or [""] * len(rows[0])):
        shown.add_column(heading, no_wrap=position == 0, overflow="fold")
    for row in rows:
        shown.add_row(*(_printable(cell) for cell in row))
    _console().print(shown)


def fields(item: Item) -> None:
    """One thing with many fields, a line each."""
    table(None, [[name.replace("_", " "), _word(value)] for name, value in item.items()])


def column(name: str) -> Callable[[Item], str]:
    """A cell that shows a field."""
    return lambda item: _word(item[name])


def format_age(seconds: float) -> str:
    """A span as people say it: `40 s`, `12 min`, `3 h`, `2 d`."""
    for limit, unit, size in ((90, "s", 1), (5_400, "min", 60), (129_600, "h", 3_600)):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86_400:.0f} d"


def _word(value: Json) -> str:
    match value:
        case None:
            return "–"
        case bool():
            return "yes" if value else "no"
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
