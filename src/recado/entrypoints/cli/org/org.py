"""`recado org`: organisations, and what they say when no agent speaks."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias
from uuid import UUID

import typer

from recado.core.errors import DomainError, InvalidInput
from recado.entrypoints.cli.files import write_lines
from recado.entrypoints.cli.main import family
from recado.entrypoints.cli.options import (
    AsJson,
    OwnerId,
    asked_password,
    comma_separated,
    secret_from_variable,
)
from recado.entrypoints.cli.output import (
    Item,
    Progress,
    column,
    print_document,
    print_fields,
    print_items,
    print_result,
)
from recado.entrypoints.cli.running import operator, operator_name, run

if TYPE_CHECKING:
    from recado.bootstrap import Container
    from recado.identity.models import Owner
    from recado.identity.owners import OwnerChanges
    from recado.operations.organizations.purge import Ordered, PurgeProgress

_POLL_SECONDS: Final = 0.5


class PurgeFailed(DomainError):
    """The job of a purge has become a dead letter."""

    code = "cli.purge_failed"


org = family("Register and change organisations.")


NewName: TypeAlias = Annotated[str, typer.Option(help="The organisation's name.")]
NewEmail: TypeAlias = Annotated[str, typer.Option(help="The e-mail address of the first user, who may do everything.")]
PasswordEnv: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="VAR", help="The environment variable with the password. Without it you are asked."),
]
NewLocale: TypeAlias = Annotated[str, typer.Option(help="The language of built-in texts: pt-BR, es or en.")]


@org.command()
def register(
    name: NewName,
    email: NewEmail,
    password_env: PasswordEnv = None,
    locale: NewLocale = "pt-BR",
    as_json: AsJson = False,
) -> None:
    """Register an organisation and its first user.

    The user can sign in at once, and may do everything.
    """
    password = asked_password() if password_env is None else secret_from_variable(password_env, "--password-env")
    from recado.identity.owners import Registration

    form = Registration(name, email, password, locale)
    made = run(
        lambda container: container.owners().register_organization(form, operator=operator_name()),
        secret_names=[password_env],
    )
    print_result(
        {"owner_id": str(made.owner_id), "user_id": str(made.user_id)},
        f"Registered {name}. Its id, for --owner: {made.owner_id}",
        as_json=as_json,
    )


Name: TypeAlias = Annotated[str | None, typer.Option(help="The organisation's name.")]
Email: TypeAlias = Annotated[str | None, typer.Option(help="The contact address of the organisation.")]
Locale: TypeAlias = Annotated[str | None, typer.Option(help="The language of built-in texts.")]
Apology: TypeAlias = Annotated[
    str | None, typer.Option(help="The message to a customer when the agent failed; empty: the built-in text.")
]
HandOff: TypeAlias = Annotated[
    str | None, typer.Option(help="The message to a customer when a person takes over; empty: the built-in text.")
]
Nudge: TypeAlias = Annotated[
    str | None, typer.Option(help="The message to a customer who stopped writing, sent once; empty: none.")
]
SendPolicy: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="POLICY", help="What to do when a send may have failed: prefer_silence or prefer_delivery."),
]
StopWords: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="WORD,…", help="Words that opt out of messages; empty: the built-in words."),
]
StartWords: TypeAlias = Annotated[
    str | None, typer.Option(metavar="WORD,…", help="Words that opt in again; empty: the built-in words.")
]


@org.command("set")
def set_(
    owner: OwnerId,
    name: Name = None,
    email: Email = None,
    locale: Locale = None,
    apology: Apology = None,
    hand_off: HandOff = None,
    nudge: Nudge = None,
    send_policy: SendPolicy = None,
    stop_words: StopWords = None,
    start_words: StartWords = None,
    as_json: AsJson = False,
) -> None:
    """Change an organisation, and show it. Options that are not given keep their value."""
    from recado.identity.models import UNSET
    from recado.identity.owners import OwnerChanges

    changes = OwnerChanges(
        name=UNSET if name is None else name,
        email=UNSET if email is None else email,
        locale=UNSET if locale is None else locale,
        apology_text=UNSET if apology is None else apology,
        handoff_text=UNSET if hand_off is None else hand_off,
        nudge_text=UNSET if nudge is None else nudge,
        send_policy=UNSET if send_policy is None else send_policy,
        stop_words=UNSET if stop_words is None else comma_separated(stop_words),
        start_words=UNSET if start_words is None else comma_separated(start_words),
    )
    _change(owner, changes, as_json=as_json)


def _change(owner_id: UUID, changes: "OwnerChanges", *, as_json: bool) -> None:
    shown = _view(run(lambda container: container.owners().set_owner(operator(owner_id), changes)))
    if as_json:
        print_document(shown)
    else:
        print_fields(shown)


def _view(owner: "Owner") -> Item:
    return {
        "owner_id": str(owner.id),
        "name": owner.name,
        "email": owner.email,
        "locale": owner.locale,
        "apology": owner.apology,
        "hand_off": owner.hand_off_notice,
        "nudge": owner.nudge_text,
        "send_policy": owner.send_policy,
        "stop_words": owner.stop_words,
        "start_words": owner.start_words,
        "closed_at": None if owner.closed_at is None else owner.closed_at.isoformat(),
        "purge_started_at": None if owner.purge_started_at is None else owner.purge_started_at.isoformat(),
        "purged_rows": owner.purged_rows,
    }


@org.command("list")
def list_(as_json: AsJson = False) -> None:
    """List all organisations."""
    found = [_view(owner) for owner in run(lambda container: container.owners().owners())]
    columns = {"Id": column("owner_id"), "Name": column("name"), "E-mail": column("email")}
    print_items(found, columns, empty="No organisation is registered; begin with: recado org register", as_json=as_json)


@org.command()
def close(owner: OwnerId, as_json: AsJson = False) -> None:
    """Close an organisation: its customers get no answers any more. Nothing is deleted."""
    closed = run(lambda container: container.owners().close_account(operator(owner)))
    print_result(_view(closed), f"{closed.name} is closed; recado org reopen takes it back.", as_json=as_json)


@org.command()
def reopen(owner: OwnerId, as_json: AsJson = False) -> None:
    """Open a closed organisation again. Messages that came meanwhile stay unanswered."""
    opened = run(lambda container: container.owners().reopen_account(operator(owner)))
    print_result(_view(opened), f"{opened.name} is open.", as_json=as_json)


ExportFile: TypeAlias = Annotated[Path, typer.Argument(metavar="FILE", help="The new file, one line of JSON a row.")]
Confirmed: TypeAlias = Annotated[bool, typer.Option("--yes", help="Confirm that everything is to be deleted.")]


@org.command()
def export(owner: OwnerId, file: ExportFile, as_json: AsJson = False) -> None:
    """Write everything of an organisation, without its secrets, to a file."""

    async def work(container: "Container") -> int:
        lines = await container.owner_export().begin(operator(owner))
        return await write_lines(file, lines)

    rows = run(work)
    view: Item = {"file": str(file), "rows": rows}
    print_result(view, f"{rows} rows are in {file}, which only you can read.", as_json=as_json)


Wait: TypeAlias = Annotated[bool, typer.Option("--wait", help="Show how far it is, and end when it is done.")]


@org.command()
def purge(owner: OwnerId, confirmed: Confirmed = False, wait: Wait = False, as_json: AsJson = False) -> None:
    """Delete everything of an organisation that was closed for 30 days, for good. A worker does it."""
    if not confirmed:
        raise InvalidInput("this deletes every row of the organisation and its keys: confirm it with --yes")
    ordered = run(lambda container: _purge(container, owner, wait=wait))
    words = "A worker deletes everything of the organisation; --wait shows how far it is."
    if wait:
        words = "Everything of the organisation is deleted."
    print_result(_view(ordered.owner), words, as_json=as_json)


async def _purge(container: "Container", owner: UUID, *, wait: bool) -> "Ordered":
    """Order the purge, and stay until it is over if that is wanted."""
    service = container.owner_purge()
    ordered = await service.order(operator(owner))
    progress, rows = Progress(), 0
    while wait:
        found = await service.progress(ordered)
        if found.status == "done":
            break
        if found.status == "dead":
            raise PurgeFailed(f"the purge has failed ({found.note}): give the order again")
        rows = found.rows or rows
        progress(_how_far(found, rows))
        await asyncio.sleep(_POLL_SECONDS)
    return ordered


def _how_far(found: "PurgeProgress", rows: int) -> str:
    if rows:
        return f"{rows:,} rows deleted"
    return found.note or "no worker has begun yet; one must run: recado worker"
