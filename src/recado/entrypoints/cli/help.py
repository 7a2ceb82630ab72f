"""The help of commands: in colour on a terminal, in the language of the locale, and without loading anything heavy."""

import os
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import typer
from typer._click.formatting import HelpFormatter
from typer.core import TyperArgument, TyperGroup, TyperOption

from recado.entrypoints.cli.texts.language import say, speaks_portuguese

if TYPE_CHECKING:
    from typer._click import Command

_HEADINGS: Final[Mapping[str, str]] = {"Options": "Opções", "Commands": "Comandos", "Arguments": "Argumentos"}
_MARKS: Final[Mapping[str, str]] = {"default: ": "padrão: ", "required": "obrigatório"}
_PARAGRAPHS: Final = re.compile(r"\n\s*\n")


def in_colour() -> bool:
    """Return whether colours are wanted. What is no terminal gets none in any case."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def coloured(text: str, colour: str, *, bold: bool = False) -> str:
    """Return the text with the codes of a colour, which `typer.echo` takes away where no terminal is."""
    return typer.style(text, fg=colour, bold=bold) if in_colour() else text


class _Formatter(HelpFormatter):
    """Colours headings and names, and says the words that the library adds in the language of the locale."""

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        if prefix is None:
            prefix = "Uso: " if speaks_portuguese() else "Usage: "
        super().write_usage(prog, args, prefix)
        self.buffer = ["".join(self.buffer).replace(prefix, coloured(prefix, "yellow", bold=True), 1)]

    def write_heading(self, heading: str) -> None:
        if speaks_portuguese():
            heading = _HEADINGS.get(heading, heading)
        self.write(f"{'':>{self.current_indent}}{coloured(f'{heading}:', 'yellow', bold=True)}\n")

    def write_dl(self, rows: Sequence[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        super().write_dl([(coloured(name, "cyan"), _marked(say(text))) for name, text in rows], col_max, col_spacing)


def _marked(text: str) -> str:
    """Return the text of a row, with `[required]` or `[default: x]` at its end in the language of the locale."""
    start = text.find("[")
    if start < 0 or not text.endswith("]") or not speaks_portuguese():
        return text
    mark = text[start + 1 : -1]
    for english, portuguese in _MARKS.items():
        mark = mark.replace(english, portuguese)
    return f"{text[:start]}[{mark}]"


class HelpContext(typer.Context):
    """A context whose help is ours."""

    formatter_class = _Formatter


def dress(command: "Command") -> "Command":
    """Give a command and the commands below it our help, in the language of the locale."""
    command.context_class = HelpContext
    for each in command.params:
        if isinstance(each, TyperOption) and each.metavar is None and (each.min, each.max) != (None, None):
            each.metavar = "N"  # Not the name of its class; the range stands at the end of its line.
    portuguese = speaks_portuguese()
    if portuguese:
        _translate(command)
    if isinstance(command, TyperGroup):
        for below in command.commands.values():
            dress(below)
    return command


def _translate(command: "Command") -> None:
    command.help = None if command.help is None else say(_joined(command.help))
    for each in command.params:
        if isinstance(each, TyperOption | TyperArgument) and each.help:
            each.help = say(each.help)


def _joined(text: str) -> str:
    """Return the paragraphs of a docstring, each on one line: the name of a text must not depend on line breaks."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in _PARAGRAPHS.split(text.strip()))
