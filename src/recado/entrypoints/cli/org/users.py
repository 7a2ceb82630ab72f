"""`recado users`: the people of organisations."""

from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from recado.entrypoints.cli.main import family
from recado.entrypoints.cli.options import AsJson, read_id
from recado.entrypoints.cli.output import Item, column, items
from recado.entrypoints.cli.running import run

if TYPE_CHECKING:
    pass


users = family("The people of organisations.")


@users.command("list")
def list_users(
    owner: Annotated[
        UUID | None, typer.Option("--owner", metavar="ID", parser=read_id, help="Only this organisation's users.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Users and what they may do."""
    found: list[Item] = [
        {"user_id": str(user.id), "owner_id": str(user.owner_id), "email": user.email, "role": user.role}
        for user in run(lambda container: container.identity().users(owner))
    ]
    # Two ids do not fit beside each other on a terminal: of one organisation the users matter, of all theirs.
    first = {"Owner": column("owner_id")} if owner is None else {"User": column("user_id")}
    columns = {**first, "E-mail": column("email"), "Role": column("role")}
    items(found, columns, empty="There are no users; begin with: recado org register", as_json=as_json)
