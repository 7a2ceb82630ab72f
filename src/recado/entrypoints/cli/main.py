"""The command `recado`: the table of all commands, and the place where errors become one sentence.

Importing the product takes a second or two, too long for `--help`. So names and summaries are data here, and the module
of a command is imported when the command is typed. These modules import services inside their functions, so that the
help of a single command is fast too.
"""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer
from typer._click.exceptions import ClickException
from typer.core import TyperGroup
from typer.main import get_command, get_group

from recado.entrypoints.cli import output
from recado.entrypoints.cli.endings import INTERRUPTED, fail, fail_of, fail_of_usage, wants_json
from recado.entrypoints.cli.exit_codes import ExitCode, table
from recado.entrypoints.cli.help import dress
from recado.entrypoints.cli.texts.language import say

if TYPE_CHECKING:
    from typer._click import Command, Context


@dataclass(frozen=True, slots=True)
class Entry:
    """A command: its summary, and the function, or the group of commands (`typer.Typer`), that implements it."""

    summary: str
    where: str


COMPLETE_VARIABLE: Final = "_RECADO_COMPLETE"
_HERE: Final = "recado.entrypoints.cli"

COMMANDS: Final[Mapping[str, Entry]] = {
    "init": Entry(
        "Begin: write recado.env, make the database, an organisation and a number.", f"{_HERE}.setup.init:init"
    ),
    "demo": Entry("Talk to a sample bakery in this terminal.", f"{_HERE}.demo.demo:demo"),
    "serve": Entry("Receive webhooks.", f"{_HERE}.processes.serve:serve"),
    "worker": Entry("Run jobs until SIGTERM.", f"{_HERE}.processes.worker:worker"),
    "health": Entry("Tell whether a server answers and a worker lives.", f"{_HERE}.processes.health:health"),
    "emulator": Entry("Run an emulator of Twilio, or write to it as a customer.", f"{_HERE}.demo.emulator:app"),
    "org": Entry("Register and change organisations.", f"{_HERE}.org.org:org"),
    "users": Entry("Add, invite and list people, and say what they may do.", f"{_HERE}.org.users:users"),
    "keys": Entry("Create, list and revoke the API keys of programs.", f"{_HERE}.org.keys:keys"),
    "audit": Entry("Show who did or read what.", f"{_HERE}.org.audit:audit"),
    "numbers": Entry("Add, check and remove the numbers that customers write to.", f"{_HERE}.numbers.numbers:numbers"),
    "agents": Entry("Choose the agent that answers an organisation's customers.", f"{_HERE}.agents.agents:agents"),
    "knowledge": Entry("Add and search the documents that agents answer from.", f"{_HERE}.agents.knowledge:knowledge"),
    "conversations": Entry(
        "List, read, take, answer, release and close conversations.", f"{_HERE}.conversations.conversations:app"
    ),
    "events": Entry("Read events, and send them to servers of yours.", f"{_HERE}.events.events:app"),
    "contacts": Entry("List, name, block and opt out customers.", f"{_HERE}.contacts.contacts:app"),
    "queue": Entry("Show jobs and dead letters; retry or discard them.", f"{_HERE}.queue.queue:app"),
    "cron": Entry("List and change scheduled jobs.", f"{_HERE}.queue.cron:app"),
    "orphans": Entry("List and assign messages to numbers without an owner.", f"{_HERE}.numbers.orphans:orphans"),
    "verify": Entry("Check that no message was lost and none was answered twice.", f"{_HERE}.checks.verify:verify"),
    "tick": Entry("Run due jobs for some seconds, without a running worker.", f"{_HERE}.processes.tick:tick"),
    "backup": Entry("Copy the database to a file while everything runs.", f"{_HERE}.database.backup:backup"),
    "restored": Entry("Keep a restored copy from answering messages again.", f"{_HERE}.database.restored:restored"),
    "doctor": Entry("Find problems of the settings, the database and the broker.", f"{_HERE}.checks.doctor:doctor"),
    "completion": Entry("Print a script with which a shell completes commands.", f"{_HERE}.completion:completion"),
    "migrate": Entry("Create the database or bring it to this release's schema.", f"{_HERE}.database.migrate:migrate"),
}


class LazyGroup(TyperGroup):
    """Imports the command that was typed, and prints an expected error as one sentence."""

    def resolve_command(self, ctx: "Context", args: list[str]) -> tuple[str | None, "Command | None", list[str]]:
        name, found, rest = super().resolve_command(ctx, args)
        return name, found if name is None else _load(name), rest

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,  # noqa: ARG002 - the library's name
        windows_expand_args: bool = True,
        **extra: object,
    ) -> NoReturn:
        words = sys.argv[1:] if args is None else list(args)
        output.begin()
        self.epilog = table()
        dress(self)
        _allow_completion()
        # Not standalone, so that errors come here; the library would print them in its own way.
        run = partial(super().main, words, prog_name, complete_var, False, windows_expand_args, **extra)
        sys.exit(_status_of(run, as_json=wants_json(words)))


def _status_of(run: Callable[[], object], *, as_json: bool) -> ExitCode | int:
    """Run a command line, say what went wrong, and return the status of the process."""
    try:
        ended = run()
    except ClickException as error:
        return fail_of_usage(error, as_json=as_json)
    except typer.Abort:
        typer.echo(err=True)  # The question stands there still.
        ended = ExitCode.INTERRUPTED
    except Exception as error:
        status = fail_of(error, as_json=as_json)
        if status is None:
            raise
        return status
    if ended == ExitCode.INTERRUPTED:
        return fail(INTERRUPTED, say("interrupted"), ExitCode.INTERRUPTED, as_json=as_json)
    return ended if isinstance(ended, int) else ExitCode.DONE


def _allow_completion() -> None:
    """Let a shell ask for completions. The library does so only for applications with its own options for that."""
    if COMPLETE_VARIABLE in os.environ:
        from typer._completion_classes import completion_init

        completion_init()


def _load(name: str) -> "Command":
    module, _, attribute = COMMANDS[name].where.partition(":")
    found: object = getattr(import_module(module), attribute)
    if isinstance(found, typer.Typer):
        return dress(get_group(found))
    if not callable(found):
        raise TypeError(f"{COMMANDS[name].where} is not a command")
    alone = family(None)
    alone.command(name)(found)
    return dress(get_command(alone))


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
    context_settings={"help_option_names": ["--help", "-h"]},
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
