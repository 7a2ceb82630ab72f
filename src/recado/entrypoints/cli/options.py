"""Options and arguments that several commands share."""

import sys
from collections.abc import Sequence
from typing import Annotated, TypeAlias
from uuid import UUID

import typer

from recado.core.errors import InvalidInput
from recado.entrypoints.cli.texts.language import say
from recado.entrypoints.environment import environment


def read_id(text: str) -> UUID:
    """Parse an id as people paste it. Raises `BadParameter` for any other text."""
    try:
        return UUID(text.strip())
    except ValueError:
        raise typer.BadParameter(
            f"{text[:60]!r} is not an id; ids look like 0197c2f4-8e5a-7c3b-9d21-4f6a8b0c1d2e"
        ) from None


AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of words.")]
OwnerId: TypeAlias = Annotated[
    UUID,
    typer.Option("--owner", metavar="ID", parser=read_id, help="The organisation; `recado org list` shows their ids."),
]


def secret_from_variable(variable: str, option: str) -> str:
    """Return the secret in an environment variable. So neither the process list nor the shell history shows it."""
    value = environment().get(variable)
    if not value:
        raise InvalidInput(f"the environment variable {variable}, which {option} names, is not set")
    return value


def asked_password() -> str:
    """Ask for a new password on the terminal, twice and without showing it."""
    if not sys.stdin.isatty():
        raise InvalidInput("there is no terminal to ask for the password; name a variable with --password-env")
    asked: str = typer.prompt(say("Password"), hide_input=True, confirmation_prompt=say("The same again"), err=True)
    return asked


def comma_separated(text: str | None) -> Sequence[str] | None:
    """Split a text at its commas. Returns None for an empty text, which resets to the built-in words."""
    words = [word.strip() for word in (text or "").split(",")]
    return [word for word in words if word] or None
