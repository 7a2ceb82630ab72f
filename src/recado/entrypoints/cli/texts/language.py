"""The language of the command line: Portuguese where the locale says so, else English.

The English text stands where it is used and is its own name in the catalog, so code reads as what it prints, and a text
without a translation is shown in English. The Portuguese ones are all in this folder.
"""

import os
from typing import Final

_VARIABLES: Final = ("LC_ALL", "LC_MESSAGES", "LANG")


def speaks_portuguese() -> bool:
    """Return whether the first variable that names a locale names a Portuguese one."""
    return next((os.environ[name] for name in _VARIABLES if os.environ.get(name)), "").startswith("pt")


def say(english: str, **values: object) -> str:
    """Return the text in the language of this process; `values` fill its {names}."""
    text = english
    if speaks_portuguese():
        # The catalog is imported only where it is read: help must be fast.
        from recado.entrypoints.cli.texts.catalog import PORTUGUESE

        text = PORTUGUESE.get(english, english)
    return text.format(**values) if values else text


def said(sentence: str) -> str:
    """Return a finished sentence in the language of this process, if the catalog has a form that fits it."""
    if not speaks_portuguese():
        return sentence
    from recado.entrypoints.cli.texts.catalog import translated
    from recado.entrypoints.cli.texts.usage import usage_in_portuguese

    found = translated(sentence)
    return found if found != sentence else usage_in_portuguese(sentence)
