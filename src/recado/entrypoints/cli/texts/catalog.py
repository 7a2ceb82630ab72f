"""The Portuguese texts of the command line, by their English ones, and the search for a finished sentence.

A key may hold {names}. A sentence that code put together (`there is no owner 0197…`, raised far below the command line)
is found by the form that fits it, so that services need not know in which language their errors are read.
"""

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from recado.entrypoints.cli.texts.errors import ERRORS
from recado.entrypoints.cli.texts.errors_services import ERRORS_SERVICES
from recado.entrypoints.cli.texts.help_events import HELP_EVENTS
from recado.entrypoints.cli.texts.help_machine import HELP_MACHINE
from recado.entrypoints.cli.texts.help_people import HELP_PEOPLE
from recado.entrypoints.cli.texts.help_work import HELP_WORK
from recado.entrypoints.cli.texts.sentences import SENTENCES
from recado.entrypoints.cli.texts.settings import SETTINGS

PARTS: Final = (HELP_MACHINE, HELP_WORK, HELP_EVENTS, HELP_PEOPLE, SENTENCES, ERRORS, ERRORS_SERVICES, SETTINGS)
PORTUGUESE: Final[Mapping[str, str]] = {english: text for part in PARTS for english, text in part.items()}

_LINE: Final = "\n  - "
_NAME: Final = re.compile(r"\{(\w+)\}")
_SENTENCES: Final = frozenset({"why", "problem", "reason", "sentences"})
"""Names that stand for sentences, which are translated too. All others are data: ids, files, what people wrote."""


def translated(sentence: str) -> str:
    """Return a finished sentence in Portuguese, or as it is if no form fits it."""
    if _LINE in sentence:  # Several problems of the settings.
        return _LINE.join(translated(each) for each in sentence.split(_LINE))
    exact = PORTUGUESE.get(sentence)
    if exact is not None:
        return exact
    for form, portuguese in _forms():
        found = form.read(sentence)
        if found is not None:
            return portuguese.format(**{name: _value(name, text) for name, text in found.items()})
    return sentence


def _value(name: str, text: str) -> str:
    return translated(text) if name in _SENTENCES else text


@dataclass(frozen=True, slots=True)
class _Form:
    """A key with {names}: fixed pieces, and between each two of them a name."""

    pieces: Sequence[str]
    names: Sequence[str]

    @classmethod
    def of(cls, key: str) -> "_Form":
        pieces = _NAME.split(key)
        return cls(pieces[::2], pieces[1::2])

    def read(self, sentence: str) -> Mapping[str, str] | None:
        """Return what stands for each name, or None if the sentence is not of this form.

        Each value ends where the next piece is first found, so the time grows with the sentence and no faster.
        """
        first, *others = self.pieces
        if not sentence.startswith(first) or not sentence.endswith(others[-1]):
            return None
        values: dict[str, str] = {}
        at, end = len(first), len(sentence) - len(others[-1])
        for number, (name, piece) in enumerate(zip(self.names, others, strict=True), start=1):
            until = end if number == len(others) else sentence.find(piece, at, end)
            if until < at or values.setdefault(name, sentence[at:until]) != sentence[at:until]:
                return None
            at = until + len(piece)
        return values


@functools.cache
def _forms() -> list[tuple[_Form, str]]:
    """Return the forms with names, those with the most fixed letters first."""
    named = [key for key in PORTUGUESE if _NAME.search(key)]
    named.sort(key=lambda key: len(_NAME.sub("", key)), reverse=True)
    return [(_Form.of(key), PORTUGUESE[key]) for key in named]
