"""`recado orphans`: messages to numbers that belonged to nobody."""

from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from recado.entrypoints.cli.main import family
from recado.entrypoints.cli.options import AsJson, OwnerId
from recado.entrypoints.cli.output import MAX_SHOWN, Item, answer, column, items, sentence, streamed_document
from recado.entrypoints.cli.running import require_owner, run

if TYPE_CHECKING:
    from recado.bootstrap import Container
    from recado.channels.models import SignedOrphan


orphans = family("Messages to numbers that belonged to nobody: nothing answers them until they are assigned.")


@orphans.command("list")
def list_orphans(as_json: AsJson = False) -> None:
    """Messages that wait to be assigned, the oldest first."""
    if as_json:
        run(_print_all)
        return
    shown, count = run(_first_of_all)
    columns = {"Message": column("message_sid"), "To": column("to"), "Received": _received}
    items(shown, columns, empty="There are no orphans.", as_json=False)
    if count > len(shown):
        sentence(f"These are the oldest {len(shown):,} of {count:,}; --json lists them all.")


async def _first_of_all(container: "Container") -> tuple[list[Item], int]:
    waiting = container.orphans()
    shown: list[Item] = []
    async for page in waiting.pages():
        shown += [_orphan(found) for found in page]
        if len(shown) >= MAX_SHOWN:
            break
    return shown[:MAX_SHOWN], await waiting.count()


async def _print_all(container: "Container") -> None:
    with streamed_document() as add:
        async for page in container.orphans().pages():
            for found in page:
                add(_orphan(found))


def _orphan(found: "SignedOrphan") -> Item:
    return {
        "message_sid": found.orphan.message_sid,
        "to": found.orphan.to_address,
        "received_at": found.orphan.received_at.isoformat(),
        "account_sid": found.orphan.account_sid,
        "signed_by": sorted(str(owner) for owner in found.owners),
    }


def _received(item: Item) -> str:
    return str(item["received_at"])[:16].replace("T", " ")


@orphans.command()
def assign(
    message_sid: Annotated[str, typer.Argument(help="As `recado orphans list` shows it.")],
    owner: OwnerId,
    account_sid: Annotated[
        str | None, typer.Option(metavar="AC…", help="Which account's, if two sent a message of that SID.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Accept a message for an organisation.

    The number it was sent to must be that organisation's by now. From there it goes the road of any other message; if
    it is older than a day, no agent answers it.
    """

    async def work(container: "Container") -> UUID:
        await container.orphans().assign(message_sid, await require_owner(container, owner), account_sid)
        return owner

    run(work)
    words = f"{message_sid} was accepted; a worker takes it from here."
    answer({"message_sid": message_sid, "owner_id": str(owner)}, words, as_json=as_json)
