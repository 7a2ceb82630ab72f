"""Find a provider's name where no provider may be known: in names and values, not in sentences for people.

Comments, docstrings and strings with a space in them are for people: they may say "Twilio" where that helps a reader.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.architecture.sql_builders import SOURCE

NEUTRAL: Final = ("core", "conversation", "operations", "agents", "identity")
"""The modules that know no provider."""
_PROVIDERS: Final = re.compile(r"twilio|whatsapp|account_?sid|message_?sid", re.IGNORECASE)
ALLOWED: Final = {
    "message_sid": "the queue's column and the JSON's key that users know",
    "whatsapp": "the scheme of an address, such as whatsapp:+5511987654321",
}


def problems(source: Path = SOURCE) -> list[str]:
    """Return a sentence for each provider's name in the code of a neutral module."""
    files = [file for module in NEUTRAL for file in sorted((source / module).rglob("*.py"))]
    return [problem for file in files for problem in _problems_of(file, source)]


def _problems_of(file: Path, source: Path) -> Iterator[str]:
    tree = ast.parse(file.read_text("utf-8"))
    for node in ast.walk(tree):
        for name in _names_of(node):
            if _PROVIDERS.search(name) and not _is_allowed(name):
                line = getattr(node, "lineno", 0)
                yield f"{file.relative_to(source)}:{line}: {name} names a provider; say it in channels/twilio"


def _is_allowed(name: str) -> bool:
    rest = re.sub("|".join(ALLOWED), "", name, flags=re.IGNORECASE)
    return not _PROVIDERS.search(rest)


def _names_of(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name) | ast.keyword(arg=str(name)):
            yield name
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.alias(name=name, asname=other):
            yield from filter(None, (name, other))
        case ast.ImportFrom(module=str(module)):
            yield module
        case ast.Constant(value=str(value)) if " " not in value.strip() or _is_sql(value):
            yield value


def _is_sql(value: str) -> bool:
    return re.search(r"\b(SELECT|INSERT|UPDATE|DELETE|JOIN|WHERE)\b", value) is not None
