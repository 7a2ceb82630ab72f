"""The command `recado`: the table of all commands, and the place where errors become one sentence.

Importing the product takes a second or two, too long for `--help`. So names and summaries are data here, and the module
of a command is imported when the command is typed. These modules import services inside their functions, so that the
help of a single command is fast too.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer
from typer.core import TyperGroup
from typer.main import get_command, get_group

from recado.core.errors import ConfigurationError, DomainError

if TYPE_CHECKING:
    from typer._click import Command, Context


@dataclass(frozen=True, slots=True)
class Entry:
    """A command: its summary, and the function, or the group of commands (`typer.Typer`), that implements it."""

    summary: str
    where: str


_HERE: Final = "recado.entrypoints.cli"

COMMANDS: Final[Mapping[str, Entry]] = {
    "demo": Entry("Talk to a sample bakery in this terminal.", f"{_HERE}.demo.demo:demo"),
    "serve": Entry("Receive webhooks.", f"{_HERE}.processes.serve:serve"),
    "worker": Entry("Run jobs until SIGTERM.", f"{_HERE}.processes.worker:worker"),
    "emulator": Entry("Run an emulator of Twilio, or write to it as a customer.", f"{_HERE}.demo.emulator:app"),
    "org": Entry("Register and change organisations.", f"{_HERE}.org.org:org"),
    "users": Entry("List the people of organisations.", f"{_HERE}.org.users:users"),
    "numbers": Entry("Add and list the numbers that customers write to.", f"{_HERE}.numbers.numbers:numbers"),
    "agents": Entry("Choose the agent that answers an organisation's customers.", f"{_HERE}.agents.agents:agents"),
    "knowledge": Entry("Add and search the documents that agents answer from.", f"{_HERE}.agents.knowledge:knowledge"),
    "conversations": Entry(
        "List, read, take, answer, release and close conversations.", f"{_HERE}.conversations.conversations:app"
    ),
    "queue": Entry("Show jobs and dead letters; retry or discard them.", f"{_HERE}.queue.queue:app"),
    "cron": Entry("List and change scheduled jobs.", f"{_HERE}.queue.cron:app"),
    "orphans": Entry("List and assign messages to numbers without an owner.", f"{_HERE}.numbers.orphans:orphans"),
    "verify": Entry("Check that no message was lost and none was answered twice.", f"{_HERE}.checks.verify:verify"),
    "tick": Entry("Run due jobs for some seconds, without a running worker.", f"{_HERE}.processes.tick:tick"),
    "backup": Entry("Copy the database to a file while everything runs.", f"{_HERE}.database.backup:backup"),
    "restored": Entry("Keep a restored copy from answering messages again.", f"{_HERE}.database.restored:restored"),
    "doctor": Entry("Find problems of the settings, the database and the broker.", f"{_HERE}.checks.doctor:doctor"),
    "migrate": Entry("Create the database or bring it to this release's schema.", f"{_HERE}.database.migrate:migrate"),
}

SETTINGS_ARE_WRONG: Final = 2


class LazyGroup(TyperGroup):
    """Imports the command that was typed, and prints an expected error as one sentence."""

    def resolve_command(self, ctx: "Context", args: list[str]) -> tuple[str | None, "Command | None", list[str]]:
        name, found, rest = super().resolve_command(ctx, args)
        return name, found if name is None else _load(name), rest

    def invoke(self, ctx: "Context") -> object:
        try:
            return super().invoke(ctx)
        except DomainError as error:
            _fail(str(error), SETTINGS_ARE_WRONG if isinstance(error, ConfigurationError) else 1)
        except Exception as error:
            from recado.entrypoints.cli.failures import operator_message

            message = operator_message(error)
            if message is None:
                raise
            _fail(message, 1)


def _load(name: str) -> "Command":
    module, _, attribute = COMMANDS[name].where.partition(":")
    found: object = getattr(import_module(module), attribute)
    if isinstance(found, typer.Typer):
        return get_group(found)
    if not callable(found):
        raise TypeError(f"{COMMANDS[name].where} is not a command")
    alone = family(None)
    alone.command(name)(found)
    return get_command(alone)


def _fail(sentence: str, status: int) -> NoReturn:
    typer.echo(f"Error: {sentence}", err=True)
    raise typer.Exit(status)


def family(summary: str | None) -> typer.Typer:
    """Return a group of commands. Its help is plain text, because importing Rich takes a third of a second."""
    return typer.Typer(
        help=summary,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )


app = typer.Typer(
    name="recado",
    cls=LazyGroup,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _show_version(requested: bool) -> None:
    if requested:
        from importlib.metadata import version

        sys.stdout.write(f"recado {version('recado')}\n")
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool, typer.Option("--version", help="Show the version and stop.", callback=_show_version, is_eager=True)
    ] = False,
    with_parent: Annotated[bool, typer.Option("--with-parent", hidden=True)] = False,
) -> None:
    """Receives WhatsApp and SMS messages through Twilio, has agents answer them, and never loses or doubles one.

    Settings are environment variables that begin with RECADO_; `recado doctor` finds problems in them.
    """
    if with_parent:
        from recado.entrypoints.shutdown import exit_with_parent

        exit_with_parent()


def _not_loaded() -> None:
    """Placeholder of a command until it is typed."""


for _name, _entry in COMMANDS.items():
    app.command(_name, help=_entry.summary)(_not_loaded)
