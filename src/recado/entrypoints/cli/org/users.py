"""`recado users`: the people of organisations."""

from typing import Annotated
from uuid import UUID

import typer

from recado.entrypoints.cli.main import family
from recado.entrypoints.cli.options import AsJson, read_id
from recado.entrypoints.cli.output import Item, column, print_items
from recado.entrypoints.cli.running import run

users = family("List the people of organisations.")


@users.command("list")
def list_users(
    owner: Annotated[
        UUID | None, typer.Option("--owner", metavar="ID", parser=read_id, help="Only this organisation's users.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List users and their roles."""
    found: list[Item] = [
        {"user_id": str(user.id), "owner_id": str(user.owner_id), "email": user.email, "role": user.role}
        for user in run(lambda container: container.users().users(owner))
    ]
    # Only one id fits on a terminal: the user's within one organisation, the owner's in the list of all.
    first = {"Owner": column("owner_id")} if owner is None else {"User": column("user_id")}
    columns = {**first, "E-mail": column("email"), "Role": column("role")}
    print_items(found, columns, empty="There are no users; begin with: recado org register", as_json=as_json)
