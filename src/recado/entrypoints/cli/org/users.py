"""`recado users`: the people of organisations, and what they may do."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeAlias
from uuid import UUID

import typer

from recado.entrypoints.cli.main import family
from recado.entrypoints.cli.options import AsJson, OwnerId, asked_password, read_id, secret_from_variable
from recado.entrypoints.cli.output import Item, column, print_document, print_items, print_line, print_result
from recado.entrypoints.cli.running import operator, run
from recado.entrypoints.cli.texts.language import say

if TYPE_CHECKING:
    from recado.bootstrap import Container
    from recado.identity.access.links import Issued
    from recado.identity.models import User
    from recado.identity.principal import Principal

users = family("Add, invite and list people, and say what they may do.")

UserId: TypeAlias = Annotated[
    UUID, typer.Argument(metavar="USER_ID", parser=read_id, help="The id in `recado users list`.")
]
Email: TypeAlias = Annotated[str, typer.Option(help="The e-mail address with which the person signs in.")]
RoleOption: TypeAlias = Annotated[str, typer.Option(metavar="ROLE", help="owner, admin, operator or viewer.")]
Name: TypeAlias = Annotated[str | None, typer.Option(help="The name that stands at what the person does.")]
PasswordEnv: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="VAR", help="The environment variable with the password. Without it you are asked."),
]
Change: TypeAlias = "Callable[[Container, Principal], Awaitable[User]]"


@users.command()
def add(
    owner: OwnerId,
    email: Email,
    role: RoleOption,
    name: Name = None,
    password_env: PasswordEnv = None,
    as_json: AsJson = False,
) -> None:
    """Add a user with a password. The user can sign in at once."""
    password = asked_password() if password_env is None else secret_from_variable(password_env, "--password-env")
    from recado.identity.users import NewUser

    form = NewUser(email, role, name)
    user = run(lambda container: container.users().add(operator(owner), form, password), secret_names=[password_env])
    print_result(_view(user), f"Added {user.email}. Their id: {user.id}", as_json=as_json)


@users.command()
def invite(owner: OwnerId, email: Email, role: RoleOption, name: Name = None, as_json: AsJson = False) -> None:
    """Add a user, who chooses a password by a link. The link is mailed, or printed where no mail can be sent."""
    from recado.identity.users import NewUser

    form = NewUser(email, role, name)
    _issue(lambda container: container.links().invite(operator(owner), form), as_json=as_json)


@users.command()
def reset(user_id: UserId, as_json: AsJson = False) -> None:
    """Send a user a link to choose a password. It is mailed, or printed where no mail can be sent."""

    async def work(container: "Container") -> "Issued":
        owner_id = await container.users().owner_of(user_id)
        return await container.links().renew(operator(owner_id), user_id)

    _issue(work, as_json=as_json)


@users.command()
def disable(user_id: UserId, as_json: AsJson = False) -> None:
    """Let a user in no more, and sign the user out everywhere."""
    user = _change(user_id, lambda container, me: container.users().disable(me, user_id))
    print_result(_view(user), f"{user.email} can sign in no more.", as_json=as_json)


@users.command()
def enable(user_id: UserId, as_json: AsJson = False) -> None:
    """Let a user in again."""
    user = _change(user_id, lambda container, me: container.users().enable(me, user_id))
    print_result(_view(user), f"{user.email} can sign in again.", as_json=as_json)


@users.command()
def role(
    user_id: UserId,
    new_role: Annotated[str, typer.Argument(metavar="ROLE", help="owner, admin, operator or viewer.")],
    as_json: AsJson = False,
) -> None:
    """Give a user another role, and sign the user out everywhere."""
    user = _change(user_id, lambda container, me: container.users().change_role(me, user_id, new_role))
    print_result(_view(user), f"{user.email} is now: {user.role}.", as_json=as_json)


@users.command("list")
def list_users(
    owner: Annotated[
        UUID | None, typer.Option("--owner", metavar="ID", parser=read_id, help="Only this organisation's users.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List users and their roles."""
    found = [_view(user) for user in run(lambda container: container.users().users(owner))]
    # Only one id fits on a terminal: the user's within one organisation, the owner's in the list of all.
    first = {"Owner": column("owner_id")} if owner is None else {"User": column("user_id")}
    columns = {**first, "E-mail": column("email"), "Role": _role}
    print_items(found, columns, empty="There are no users; begin with: recado org register", as_json=as_json)


def _role(item: Item) -> str:
    return f"{item['role']}" if item["active"] else say("{role} (disabled)", role=item["role"])


def _change(user_id: UUID, change: Change) -> "User":
    """Change a user of any owner, and return the user after it."""

    async def work(container: "Container") -> "User":
        return await change(container, operator(await container.users().owner_of(user_id)))

    return run(work)


def _issue(make: "Callable[[Container], Awaitable[Issued]]", *, as_json: bool) -> None:
    async def work(container: "Container") -> tuple["Issued", str | None]:
        from recado.bootstrap.parts import require_public_url
        from recado.identity.mail.letters import link_url

        settings = container.settings()
        # Asked before anything is stored: a link that cannot be told would have to be made again.
        public_url = require_public_url(settings.public_url) if settings.smtp_url is None else ""
        issued = await make(container)
        return issued, None if issued.token is None else link_url(public_url, issued.token)

    issued, link = run(work)
    if as_json:
        print_document({**_view(issued.user), "link": link})
    elif link is None:
        print_line(f"A worker mails {issued.user.email} a link to choose a password.")
    else:
        print_line(
            f"No mail can be sent from here. Hand this link to {issued.user.email}; it is shown only now:\n{link}"
        )


def _view(user: "User") -> Item:
    return {
        "user_id": str(user.id),
        "owner_id": str(user.owner_id),
        "email": user.email,
        "name": user.name,
        "role": user.role,
        "active": user.active,
        "invited": user.password_hash is None,
    }
