"""How a command ends that cannot do its work: one sentence on standard error, and with `--json` also a document.

    {"error": {"code": "core.not_found", "message": "there is no owner …"}}

The document is the only one on standard output, so a program that asked for JSON gets JSON whatever happens. A command
that has already printed its document (what `verify` found, what `queue retry` did) adds none.
"""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import typer

from recado.core.errors import ConfigurationError, DomainError
from recado.entrypoints.cli import output
from recado.entrypoints.cli.exit_codes import ExitCode
from recado.entrypoints.cli.help import coloured
from recado.entrypoints.cli.texts.language import said, say
from recado.entrypoints.cli.waiting import make_room

if TYPE_CHECKING:
    from typer._click.exceptions import ClickException

USAGE: Final = "cli.usage"
SYSTEM: Final = "cli.system"
INTERRUPTED: Final = "cli.interrupted"


def wants_json(words: Sequence[str]) -> bool:
    return "--json" in words


def warn_of(sentence: str) -> None:
    """Print an error on standard error, and go on."""
    make_room()
    typer.echo(f"{coloured(say('Error:'), 'red', bold=True)} {said(sentence)}", err=True)


def print_warning(sentence: str) -> None:
    """Print a warning on standard error: the command did its work, and something else is wrong."""
    make_room()
    typer.echo(f"{coloured(say('Warning:'), 'yellow', bold=True)} {said(sentence)}", err=True)


def fail(code: str, sentence: str, status: ExitCode, *, as_json: bool) -> ExitCode:
    """Say why a command failed, and return its status."""
    if as_json and not output.has_printed():
        output.print_document({"error": {"code": code, "message": sentence}})
        sys.stdout.flush()
    warn_of(sentence)
    return status


def fail_of(error: Exception, *, as_json: bool) -> ExitCode | None:
    """Say what kept a command from its work. Return None for an error that is a bug of ours."""
    if isinstance(error, DomainError):
        status = ExitCode.USAGE if isinstance(error, ConfigurationError) else ExitCode.FAILED
        return fail(error.code, str(error), status, as_json=as_json)
    from recado.entrypoints.cli.failures import operator_message

    message = operator_message(error)
    return None if message is None else fail(SYSTEM, message, ExitCode.FAILED, as_json=as_json)


def fail_of_usage(error: "ClickException", *, as_json: bool) -> ExitCode:
    """Say what is wrong with a command line."""
    message = error.format_message()
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        typer.echo(message, err=True)
        return ExitCode.USAGE
    if isinstance(context, typer.Context):
        typer.echo(context.get_usage(), err=True)
        typer.echo(say("Try '{command} --help' for help.", command=context.command_path) + "\n", err=True)
    return fail(USAGE, message, ExitCode.USAGE, as_json=as_json)
