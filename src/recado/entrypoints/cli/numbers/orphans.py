"""`recado orphans`: messages to numbers without an owner."""

from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from recado.entrypoints.cli.main import family
from recado.entrypoints.cli.options import AsJson, OwnerId
from recado.entrypoints.cli.output import (
    MAX_SHOWN,
    Item,
    column,
    moment,
    print_document_stream,
    print_items,
    print_line,
    print_result,
)
from recado.entrypoints.cli.running import operator, require_owner, run

if TYPE_CHECKING:
    from recado.bootstrap import Container
    from recado.channels.models import SignedOrphan


orphans = family("List and assign messages to numbers without an owner. No agent answers them before.")


@orphans.command("list")
def list_orphans(as_json: AsJson = False) -> None:
    """List the messages that are not assigned yet, the oldest first."""
    if as_json:
        run(_print_all)
        return
    shown, count = run(_first_of_all)
    columns = {"Message": column("message_sid"), "To": column("to"), "Received": moment("received_at")}
    print_items(shown, columns, empty="There are no orphans.", as_json=False)
    if count > len(shown):
        print_line(f"These are the oldest {len(shown):,} of {count:,}; --json lists them all.")


async def _first_of_all(container: "Container") -> tuple[list[Item], int]:
    waiting = container.orphans()
    shown: list[Item] = []
    async for page in waiting.pages():
        shown += [_orphan(found) for found in page]
        if len(shown) >= MAX_SHOWN:
            break
    return shown[:MAX_SHOWN], await waiting.count()


async def _print_all(container: "Container") -> None:
    with print_document_stream() as add:
        async for page in container.orphans().pages():
            for found in page:
                add(_orphan(found))


def _orphan(found: "SignedOrphan") -> Item:
    return {
        "message_sid": found.orphan.provider_message_id,
        "to": found.orphan.to_address,
        "received_at": found.orphan.received_at.isoformat(),
        "account_ref": found.orphan.account_ref,
        "signed_by": sorted(str(owner) for owner in found.owners),
    }


@orphans.command()
def assign(
    message_sid: Annotated[str, typer.Argument(help="The SID in `recado orphans list`.")],
    owner: OwnerId,
    account_sid: Annotated[
        str | None, typer.Option(metavar="AC…", help="The account, if two accounts sent a message with this SID.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Accept a message for an organisation.

    The organisation must own the number by now. The message is then handled like any other; if it is older than a day,
    no agent answers it.
    """

    async def work(container: "Container") -> UUID:
        await container.orphans().assign(operator(await require_owner(container, owner)), message_sid, account_sid)
        return owner

    run(work)
    words = f"{message_sid} was accepted; a worker will handle it."
    print_result({"message_sid": message_sid, "owner_id": str(owner)}, words, as_json=as_json)
