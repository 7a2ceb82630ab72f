"""The command `recado`: every command by its name, and one place where errors become sentences.

Importing the product takes a second or two, which nobody should wait for who asks what there is to type. So names and
summaries are kept here as data, and the module of a command is imported when that command is typed. The modules
themselves import services inside their functions, so that the help of a command is as quick.
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
    """A command: what it is for, and where it is; a `typer.Typer` there is a family of commands, a function one."""

    summary: str
    where: str


_HERE: Final = "recado.entrypoints.cli"

COMMANDS: Final[Mapping[str, Entry]] = {
    "demo": Entry("Talk to a sample bakery in this terminal.", f"{_HERE}.demo.demo:demo"),
    "serve": Entry("Receive webhooks.", f"{_HERE}.processes.serve:serve"),
    "worker": Entry("Run jobs until told to stop.", f"{_HERE}.processes.worker:worker"),
    "emulator": Entry("A Twilio of our own: run one, write to it as a customer.", f"{_HERE}.demo.emulator:app"),
    "org": Entry("Register organisations, change what they say.", f"{_HERE}.org.org:org"),
    "users": Entry("The people of organisations.", f"{_HERE}.org.users:users"),
    "numbers": Entry("The numbers that customers write to.", f"{_HERE}.numbers.numbers:numbers"),
    "agents": Entry("Who answers an organisation's customers.", f"{_HERE}.agents.agents:agents"),
    "knowledge": Entry("The documents that agents answer from.", f"{_HERE}.agents.knowledge:knowledge"),
    "conversations": Entry("Take, answer and give back conversations.", f"{_HERE}.conversations.conversations:app"),
    "queue": Entry("What waits, and what was given up.", f"{_HERE}.queue.queue:app"),
    "cron": Entry("What comes round by itself, and when.", f"{_HERE}.queue.cron:app"),
    "orphans": Entry("Messages to numbers that belonged to nobody.", f"{_HERE}.numbers.orphans:orphans"),
    "verify": Entry("Prove that no message was lost and none answered twice.", f"{_HERE}.checks.verify:verify"),
    "tick": Entry("Do one round of what is due, without a running worker.", f"{_HERE}.processes.tick:tick"),
    "backup": Entry("Copy the database to a file while everything runs.", f"{_HERE}.database.backup:backup"),
    "restored": Entry("Keep a restored copy from answering anybody twice.", f"{_HERE}.database.restored:restored"),
    "doctor": Entry("Say what is wrong with the settings and the database.", f"{_HERE}.checks.doctor:doctor"),
    "migrate": Entry("Bring the database to this release's schema.", f"{_HERE}.database.migrate:migrate"),
}

SETTINGS_ARE_WRONG: Final = 2


class LazyGroup(TyperGroup):
    """Imports the command that was typed, and tells expected errors in one sentence."""

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

            told = operator_message(error)
            if told is None:
                raise
            _fail(told, 1)


def _load(name: str) -> "Command":
    module, _, attribute = COMMANDS[name].where.partition(":")
    found: object = getattr(import_module(module), attribute)
    if isinstance(found, typer.Typer):
        return get_group(found)
    if not callable(found):
        raise TypeError(f"{COMMANDS[name].where} is no command")
    alone = family(None)
    alone.command(name)(found)
    return get_command(alone)


def _fail(sentence: str, status: int) -> NoReturn:
    typer.echo(f"Error: {sentence}", err=True)
    raise typer.Exit(status)


def family(summary: str | None) -> typer.Typer:
    """A family of commands. Plain help, since Rich's takes a third of a second to import; what commands say is Rich."""
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


def _show_version(asked: bool) -> None:
    if asked:
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

    Settings are environment variables that begin with RECADO_; `recado doctor` says what is wrong with them.
    """
    if with_parent:
        from recado.entrypoints.shutdown import exit_with_parent

        exit_with_parent()


def _not_loaded() -> None:
    """Stands for a command until it is typed."""


for _name, _entry in COMMANDS.items():
    app.command(_name, help=_entry.summary)(_not_loaded)
