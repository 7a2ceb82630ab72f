"""The Portuguese of the command line: nothing is missing, nothing is left over, and data stays as it is."""

import ast
import json
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from recado.entrypoints.cli.exit_codes import MEANINGS
from recado.entrypoints.cli.main import COMMANDS
from recado.entrypoints.cli.texts.catalog import PARTS, PORTUGUESE, translated
from recado.entrypoints.cli.texts.usage import usage_in_portuguese
from tests.entrypoints.cli.conftest import NOBODY, Recado
from tests.test_docs import commands

SOURCE: Final = Path(__file__).parents[4] / "src" / "recado"


@pytest.fixture
def recado(recado: Recado) -> Recado:
    """Commands of a person whose locale is Portuguese."""
    return Recado({**recado.environment, "LC_ALL": "pt_BR.UTF-8"})


def texts_of_help() -> Iterator[str]:
    for entry in COMMANDS.values():
        yield entry.summary
    for _name, command in commands():
        if command.help:
            yield "\n\n".join(" ".join(each.split()) for each in re.split(r"\n\s*\n", command.help.strip()))
        for parameter in command.params:
            if help_ := getattr(parameter, "help", None):
                yield str(help_)


def test_every_text_of_help_has_a_translation() -> None:
    assert sorted(set(texts_of_help()) - set(PORTUGUESE)) == []


# --- What commands print ----------------------------------------------------------------------------------------------

TOLD: Final = {
    "print_line": 0,
    "print_warning": 0,
    "warn_of": 0,
    "progress": 0,
    "print_result": 1,
    "_show": 1,
    "_act": 2,
    "say": 0,
    "InvalidInput": 0,
    "NotFound": 0,
}
"""Which argument of a call is a sentence of ours."""


def calls(tree: ast.AST) -> Iterator[ast.expr | None]:
    """Yield what a command prints or raises: the sentences, the headings of tables, and the words for an empty one."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=name)) if name in TOLD and len(node.args) > TOLD[name]:
                yield node.args[TOLD[name]]
            case ast.Call(func=ast.Name(id="print_items" | "print_listing")):
                yield from (keyword.value for keyword in node.keywords if keyword.arg == "empty")
                yield from (key for each in node.args if isinstance(each, ast.Dict) for key in each.keys)
            case ast.Call(func=ast.Name(id="print_table"), args=[ast.List(elts=headings), *_]):
                yield from headings
            case ast.Assign(targets=[ast.Name(id="words")], value=value):
                yield value
            case ast.Dict(keys=keys, values=cells) if any(is_a_cell(each) for each in cells):
                yield from keys


def is_a_cell(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"column", "moment"}


def sentence_of(node: ast.expr | None, choice: int) -> str | None:
    """Return the text of an expression, with something in the place of each value; None for what is no fixed text."""
    match node:
        case ast.Constant(value=str() as text):
            return text
        case ast.BinOp(left=left, right=right):
            first, second = sentence_of(left, choice), sentence_of(right, choice)
            return None if first is None or second is None else first + second
        case ast.IfExp(body=body, orelse=orelse):
            return sentence_of((body, orelse)[choice], choice)
        case ast.JoinedStr(values=pieces):
            return "".join(value_of(piece, choice) for piece in pieces)
    return None


def value_of(piece: ast.expr, choice: int) -> str:
    match piece:
        case ast.Constant(value=str() as text):
            return text
        case ast.FormattedValue(value=ast.BinOp(left=ast.Constant(value=str() as letter), op=ast.Mult())):
            return letter * choice  # The letter of a plural.
    return "0197c2f4"


def printed() -> Iterator[str]:
    for path in sorted((SOURCE / "entrypoints" / "cli").rglob("*.py")):
        if "texts" in path.parts:
            continue
        for node in calls(ast.parse(path.read_text("utf-8"))):
            for choice in (0, 1):
                if (text := sentence_of(node, choice)) and any(letter.isalpha() for letter in text):
                    yield text


def test_every_sentence_and_heading_of_a_command_has_a_translation() -> None:
    """A value alone, and what two or three values make, have nothing to translate."""
    bare = {"0197c2f4", "0197c2f4: 0197c2f4", "0197c2f4: 0197c2f4: 0197c2f4", "  0197c2f4"}
    untold = {text for text in printed() if text not in PORTUGUESE and translated(text) == text}
    assert sorted(untold - bare) == []


def test_no_text_is_translated_in_two_places() -> None:
    counted = Counter(english for part in PARTS for english in part)
    assert [english for english, count in counted.items() if count > 1] == []


@cache
def source() -> str:
    """Every string of the code, with single blanks."""
    found = (
        node.value
        for path in sorted(SOURCE.rglob("*.py"))
        if "cli/texts" not in str(path)
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
    return "\0".join(" ".join(each.split()) for each in found)


LIBRARYS: Final = {"Show this message and exit."}


def pairs(english: str) -> list[str]:
    """Two words at a time of what is fixed in a text; the words alone of a text that has no two in a row."""
    pieces = [piece.split() for piece in re.split(r"\{\w+\}\w*", english)]
    found = [" ".join(words[at : at + 2]) for words in pieces for at in range(len(words) - 1)]
    return found or [word for words in pieces for word in words]


def test_every_translated_text_is_one_that_the_code_has() -> None:
    """Some are put together from pieces, so most of their words must stand in the code as they do in the text.

    The name of a field stands there with underscores.
    """
    strange = [
        english
        for english in sorted(set(PORTUGUESE) - LIBRARYS)
        if english.replace(" ", "_") not in source()
        and 2 * sum(each in source() for each in pairs(english)) < len(pairs(english))
    ]
    assert strange == []


def names_in(text: str) -> set[str]:
    return set(re.findall(r"\{(\w+)\}", text))


def test_a_translation_names_the_same_values() -> None:
    """Only the letter of an English plural may be missing."""
    assert [english for english, text in PORTUGUESE.items() if not names_in(text) <= names_in(english)] == []
    missing = {english: names_in(english) - names_in(text) for english, text in PORTUGUESE.items()}
    assert {english: names for english, names in missing.items() if not names <= {"s", "t"}} == {}


class TestASentence:
    def test_of_a_service_is_found_by_its_form(self, recado: Recado) -> None:
        said = recado.refuses("numbers", "list", "--owner", NOBODY)
        assert said == f"Erro: não existe a organização {NOBODY}\n"

    def test_stays_english_for_programs(self, recado: Recado) -> None:
        document = json.loads(recado("numbers", "list", "--owner", NOBODY, "--json").stdout)
        assert document["error"]["message"] == f"there is no owner {NOBODY}"

    def test_of_each_setting_is_translated(self, recado: Recado) -> None:
        said = recado.refuses("queue", "stats", status=2, RECADO_LEASE_SECONDS="0", RECADO_MAX_ATTEMPTS="0")
        assert "2 configurações precisam ser corrigidas:\n" in said
        assert "  - RECADO_LEASE_SECONDS é 0, mas precisa ser pelo menos 1.\n" in said

    def test_keeps_data_as_it_is(self) -> None:
        assert translated("No violations. was removed.") == "No violations. foi removido."

    def test_inside_of_another_is_translated_too(self) -> None:
        inner = "job 7 is done, not dead; only dead letters can be retried"
        assert translated(f"7 was not retried: {inner}").startswith("7 não foi tentado de novo: o job 7 está done")

    def test_without_a_translation_is_shown_as_it_is(self) -> None:
        assert (
            translated("something went wrong") == usage_in_portuguese("something went wrong") == "something went wrong"
        )


def test_what_people_wrote_is_never_translated(recado: Recado, owner: str) -> None:
    recado("agents", "set", "--owner", owner, "--agent", "http", "--url", "http://127.0.0.1:1/")
    recado("agents", "set", "--owner", owner, "--agent", "echo")
    assert recado.says("agents", "test", "--owner", owner, "x was removed.").startswith("echo: x was removed.\n")


def test_the_table_of_exit_codes_is_translated(recado: Recado) -> None:
    shown = recado.says("--help")
    assert "Códigos de saída:" in shown
    assert [meaning for meaning in MEANINGS.values() if meaning in shown] == []


def test_a_field_has_its_name_in_the_language(recado: Recado, owner: str) -> None:
    agent = ("agents", "set", "--owner", owner, "--agent", "echo")
    for words in (("org", "set", "--owner", owner), ("cron", "set", "sweep.turns", "--on"), agent):
        assert names_of_fields(recado.says(*words)) <= set(PORTUGUESE.values())


def names_of_fields(shown: str) -> set[str]:
    """Return the first column; a line that goes on from the one before has none."""
    return {line.split("  ")[0].strip() for line in shown.splitlines()} - {""}


def test_a_number_is_asked_for_as_one(recado: Recado) -> None:
    assert "--limit N " in recado.says("audit", "list", "--help")


def test_a_table_has_headings_in_the_language(recado: Recado) -> None:
    assert recado.says("queue", "stats").split()[:3] == ["Esperam", "Rodam", "Mortos"]
