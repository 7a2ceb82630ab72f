"""`recado audit`: who did or read what."""

from typing import TYPE_CHECKING, Annotated

import typer

from recado.entrypoints.cli.main import family
from recado.entrypoints.cli.options import AsJson, OwnerId
from recado.entrypoints.cli.output import Item, column, moment, print_items
from recado.entrypoints.cli.running import require_owner, run

if TYPE_CHECKING:
    from recado.bootstrap import Container
    from recado.identity.reading import AuditFilters, AuditItem

audit = family("Show who did or read what.")


@audit.callback()
def _several() -> None:
    """Keep `list` a word of its own: a group of one command would take its place."""


@audit.command("list")
def list_entries(
    owner: OwnerId,
    about: Annotated[
        str | None,
        typer.Option("--object", metavar="KIND[:ID]", help="Only about this kind of thing, or about this one thing."),
    ] = None,
    most: Annotated[int, typer.Option("--limit", min=1, help="The most entries to show.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List the newest entries: who, from where, what, and the thing it was done to."""

    async def work(container: "Container") -> list[Item]:
        await require_owner(container, owner)
        filters = _filters(about)
        found: list[Item] = []
        cursor: str | None = None
        while len(found) < most:
            limit = min(most - len(found), 200)
            page = await container.identity_reading().audit(owner, cursor, limit=limit, filters=filters)
            found += [_view(entry) for entry in page.items]
            if (cursor := page.next_cursor) is None:
                break
        return found

    columns = {"At": moment("at"), "Who": column("actor_name"), "Did": column("action"), "To": column("object_id")}
    print_items(run(work), columns, empty="There are no entries.", as_json=as_json)


def _filters(about: str | None) -> "AuditFilters":
    """Return the filters that `conversation` or `conversation:0197…` stands for."""
    from recado.identity.reading import AuditFilters

    kind, _, id_ = (about or "").partition(":")
    return AuditFilters(kind.strip() or None, id_.strip() or None)


def _view(entry: "AuditItem") -> Item:
    return {
        "id": str(entry.id),
        "at": entry.at.isoformat(timespec="seconds"),
        "actor_kind": entry.actor_kind,
        "actor_id": None if entry.actor_id is None else str(entry.actor_id),
        "actor_name": entry.actor_name,
        "source": entry.source,
        "action": entry.action,
        "object_kind": entry.object_kind,
        "object_id": entry.object_id,
        "detail": entry.detail,
    }
