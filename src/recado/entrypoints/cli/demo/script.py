"""A script of a conversation: what a customer writes, and what must be answered.

    customer: {name: Ana, address: "whatsapp:+5511987654321"}
    steps:
      - say: Oi, bom dia!
      - say: [Vocês abrem domingo?, E entregam?, Qual é a taxa?]     # a burst: answered once
        expect: [domingo, taxa]

A step waits for `answers` messages (one by default) that between them contain every text of `expect`; capitals and
accents do not matter.
"""

import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from recado.core.errors import InvalidInput
from recado.core.unicode import normalized
from recado.entrypoints.cli.files import read_text

MAX_BYTES = 256 * 1024


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


Texts = Annotated[list[str], BeforeValidator(_listed)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Customer(_Strict):
    """The customer who writes."""

    name: str = "Ana"
    address: str = "whatsapp:+5511987654321"


class ScriptStep(_Strict):
    """Messages that the customer writes at once, and the expected answer."""

    say: Annotated[Texts, Field(min_length=1)]
    answers: Annotated[int, Field(ge=0, le=20)] = 1
    expect: Texts = []


class Script(_Strict):
    """A whole conversation."""

    customer: Customer = Customer()
    steps: Annotated[list[ScriptStep], Field(min_length=1)]


def read_script(path: Path) -> Script:
    """Return the script in a file. Raises `InvalidInput` with the place of the mistake."""
    text = read_text(path, MAX_BYTES)
    try:
        loaded: Any = yaml.safe_load(text)
        return Script.model_validate(loaded)
    except (yaml.YAMLError, RecursionError) as error:
        raise InvalidInput(f"{path} is not YAML: {str(error)[:300]}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise InvalidInput(f"{path}: {place}: {first['msg'].lower()}") from error


def missing(expected: Sequence[str], answers: Sequence[str]) -> list[str]:
    """Return the expected texts that are in none of the answers."""
    answered = _folded("\n".join(answers))
    return [text for text in expected if _folded(text) not in answered]


def _folded(text: str) -> str:
    decomposed = normalized("NFKD", text.casefold())
    return "".join(character for character in decomposed if not unicodedata.combining(character))
