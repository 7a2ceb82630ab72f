"""`recado org`: organisations, and what they say when no agent speaks."""

import sys
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from recado.core.errors import InvalidInput
from recado.entrypoints.cli.main import family
from recado.entrypoints.cli.options import AsJson, OwnerId, comma_separated, secret_from_variable
from recado.entrypoints.cli.output import Item, answer, column, document, fields, items
from recado.entrypoints.cli.running import run

if TYPE_CHECKING:
    from recado.identity.models import Owner
    from recado.identity.service import OwnerChanges

org = family("Register organisations, and change how their customers are spoken to.")


@org.command()
def register(
    name: Annotated[str, typer.Option(help="The organisation's name.")],
    email: Annotated[str, typer.Option(help="The first user's e-mail address; they may do everything.")],
    password_env: Annotated[
        str | None,
        typer.Option(metavar="VAR", help="The environment variable that holds the password. Without it you are asked."),
    ] = None,
    locale: Annotated[str, typer.Option(help="The language of the product's own texts: pt-BR, es or en.")] = "pt-BR",
    as_json: AsJson = False,
) -> None:
    """Register an organisation and its first user.

    The user can sign in at once, and may do everything.
    """
    password = _asked() if password_env is None else secret_from_variable(password_env, "--password-env")
    from recado.identity.service import Registration

    form = Registration(name, email, password, locale)
    made = run(lambda container: container.identity().register_organization(form), secret_names=[password_env])
    answer(
        {"owner_id": str(made.owner_id), "user_id": str(made.user_id)},
        f"Registered {name}. Its id, for --owner: {made.owner_id}",
        as_json=as_json,
    )


def _asked() -> str:
    if not sys.stdin.isatty():
        raise InvalidInput("there is no terminal to ask for the password; name a variable with --password-env")
    asked: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    return asked


@org.command("set")
def set_(
    owner: OwnerId,
    name: Annotated[str | None, typer.Option(help="The organisation's name.")] = None,
    email: Annotated[str | None, typer.Option(help="Where the organisation is written to.")] = None,
    locale: Annotated[str | None, typer.Option(help="The language of the product's own texts.")] = None,
    apology: Annotated[
        str | None, typer.Option(help="What a customer reads when the agent failed; empty: the product's own.")
    ] = None,
    hand_off: Annotated[
        str | None, typer.Option(help="What a customer reads when a person is called; empty: the product's own.")
    ] = None,
    nudge: Annotated[
        str | None, typer.Option(help="What a customer reads who has fallen silent, once; empty: nothing.")
    ] = None,
    send_policy: Annotated[
        str | None,
        typer.Option(
            metavar="POLICY", help="When nobody can tell whether it was sent: prefer_silence or prefer_delivery."
        ),
    ] = None,
    stop_words: Annotated[
        str | None,
        typer.Option(metavar="WORD,…", help="Words that mean: write to me no more; empty: the product's own."),
    ] = None,
    start_words: Annotated[
        str | None, typer.Option(metavar="WORD,…", help="Words that take that back; empty: the product's own.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Change an organisation; what is not named stays as it is. Shows it as it is afterwards."""
    from recado.identity.service import UNSET, OwnerChanges

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
    shown = _view(run(lambda container: container.identity().set_owner(owner_id, changes)))
    if as_json:
        document(shown)
    else:
        fields(shown)


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
    }


@org.command("list")
def list_(as_json: AsJson = False) -> None:
    """Every organisation."""
    found = [_view(owner) for owner in run(lambda container: container.identity().owners())]
    columns = {"Id": column("owner_id"), "Name": column("name"), "E-mail": column("email")}
    items(found, columns, empty="Nobody is registered; begin with: recado org register", as_json=as_json)
