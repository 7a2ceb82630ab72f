"""`recado keys`: the API keys of programs."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, TypeAlias
from uuid import UUID

import typer

from recado.entrypoints.cli.listing import print_listing
from recado.entrypoints.cli.main import family
from recado.entrypoints.cli.options import AsJson, OwnerId, comma_separated, read_id
from recado.entrypoints.cli.output import Item, column, moment, print_result
from recado.entrypoints.cli.running import operator, require_owner, run
from recado.entrypoints.cli.texts.language import say

if TYPE_CHECKING:
    from recado.bootstrap import Container
    from recado.identity.access.api_keys import CreatedKey
    from recado.identity.access.models import IssuedKey
    from recado.identity.reading import KeyItem

keys = family("Create, list and revoke the API keys of programs.")

KeyId: TypeAlias = Annotated[
    UUID, typer.Argument(metavar="KEY_ID", parser=read_id, help="The id in `recado keys list`.")
]


@keys.command()
def create(
    owner: OwnerId,
    name: Annotated[str, typer.Option(help="What the key is for; it stands at what is done with it.")],
    scopes: Annotated[
        str | None,
        typer.Option(metavar="SCOPE,…", help="What the key may do; without it, all that a key may do."),
    ] = None,
    days: Annotated[int | None, typer.Option(min=1, max=3_650, help="The key ends after so many days.")] = None,
    as_json: AsJson = False,
) -> None:
    """Create an API key. It is shown now and never again."""
    from recado.identity.access.api_keys import NewKey

    async def work(container: "Container") -> "CreatedKey":
        await require_owner(container, owner)
        expires_at = None if days is None else container.clock().now() + timedelta(days=days)
        given = None if scopes is None else comma_separated(scopes) or []
        return await container.api_keys().create(operator(owner), NewKey(name, given, expires_at))

    made = run(work)
    value = {"key_id": str(made.key.id), "key": made.text}
    print_result(value, f"{made.text}\nThis key is shown only now. Its id: {made.key.id}", as_json=as_json)


@keys.command()
def revoke(key_id: KeyId, as_json: AsJson = False) -> None:
    """End an API key at once. A second call changes nothing."""

    async def work(container: "Container") -> "IssuedKey":
        service = container.api_keys()
        return await service.revoke(operator(await service.owner_of(key_id)), key_id)

    key = run(work)
    print_result(_view(key), f"The key {key.name} is revoked.", as_json=as_json)


@keys.command("list")
def list_keys(owner: OwnerId, as_json: AsJson = False) -> None:
    """List an organisation's API keys, revoked ones too."""

    async def find(container: "Container") -> AsyncIterator[Item]:
        await require_owner(container, owner)
        cursor: str | None = None
        while True:
            page = await container.identity_reading().keys(owner, cursor)
            for key in page.items:
                yield _view(key)
            if (cursor := page.next_cursor) is None:
                return

    columns = {"Id": column("key_id"), "Name": column("name"), "Scopes": _scopes, "Ends": _end}
    print_listing(find, columns, empty="There are no keys; make one with: recado keys create", as_json=as_json)


def _scopes(item: Item) -> str:
    return say("all") if item["scopes"] is None else column("scopes")(item)


def _end(item: Item) -> str:
    return say("revoked") if item["revoked_at"] is not None else moment("expires_at")(item)


def _view(key: "IssuedKey | KeyItem") -> Item:
    return {
        "key_id": str(key.id),
        "name": key.name,
        "scopes": None if key.scopes is None else list(key.scopes),
        "created_at": key.created_at.isoformat(),
        "created_by": key.created_by,
        "expires_at": None if key.expires_at is None else key.expires_at.isoformat(),
        "last_used_at": None if key.last_used_at is None else key.last_used_at.isoformat(),
        "revoked_at": None if key.revoked_at is None else key.revoked_at.isoformat(),
    }
