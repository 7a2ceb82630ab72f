"""`recado contacts`: the customers of organisations, and whether they want messages."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeAlias
from uuid import UUID

import typer

from recado.entrypoints.cli.listing import print_listing
from recado.entrypoints.cli.main import family
from recado.entrypoints.cli.options import AsJson, OwnerId, read_id
from recado.entrypoints.cli.output import Item, column, print_result
from recado.entrypoints.cli.running import operator, require_owner, run
from recado.entrypoints.cli.texts.language import say

if TYPE_CHECKING:
    from recado.bootstrap import Container
    from recado.conversation.people.contacts import ContactService
    from recado.conversation.reading.contacts import ContactItem
    from recado.identity.principal import Principal

app = family("List, name, block and opt out customers.")

ContactId: TypeAlias = Annotated[
    UUID, typer.Argument(metavar="CONTACT_ID", parser=read_id, help="The id in `recado contacts list`.")
]
Act: TypeAlias = "Callable[[ContactService, Principal], Awaitable[object]]"


@app.command("list")
def list_(
    owner: OwnerId,
    address: Annotated[
        str | None, typer.Option(help="Only the contact of this address, such as +5511987654321.")
    ] = None,
    blocked: Annotated[bool, typer.Option("--blocked", help="Only those that are blocked.")] = False,
    opted_out: Annotated[bool, typer.Option("--opted-out", help="Only those that want no messages.")] = False,
    as_json: AsJson = False,
) -> None:
    """List contacts, the newest first."""

    async def find(container: "Container") -> AsyncIterator[Item]:
        from recado.conversation.reading.contacts import ContactFilters
        from recado.conversation.values import Address

        await require_owner(container, owner)
        parsed = None if address is None else Address.parse(address)
        filters = ContactFilters(address=parsed, blocked=blocked, opted_out=opted_out)
        async for each in container.contact_reading().every(owner, filters):
            yield _view(each)

    columns = {"Id": column("id"), "Name": column("name"), "Addresses": column("contact"), "State": _state}
    print_listing(find, columns, empty="There are no contacts.", as_json=as_json)


def _state(item: Item) -> str:
    states = {"blocked": item["blocked_at"], "opted out": item["opted_out_at"]}
    return ", ".join(say(name) for name, since in states.items() if since) or "–"


@app.command()
def rename(
    contact_id: ContactId,
    name: Annotated[str | None, typer.Option(help="The name; without it the customer's profile counts again.")] = None,
    as_json: AsJson = False,
) -> None:
    """Give a contact a name that the customer's profile does not change."""
    _act(contact_id, lambda service, me: service.rename(me, contact_id, name), "The name is stored.", as_json=as_json)


@app.command()
def block(contact_id: ContactId, as_json: AsJson = False) -> None:
    """Answer a contact no more. Nothing is sent to it either, not even what waits to be sent."""
    _act(contact_id, lambda service, me: service.block(me, contact_id), "The contact is blocked.", as_json=as_json)


@app.command()
def unblock(contact_id: ContactId, as_json: AsJson = False) -> None:
    """Answer a contact again, from the next message on."""
    _act(contact_id, lambda service, me: service.unblock(me, contact_id), "The contact is unblocked.", as_json=as_json)


@app.command("opt-out")
def opt_out(contact_id: ContactId, as_json: AsJson = False) -> None:
    """Store that a contact wants no messages."""
    _act(contact_id, lambda service, me: service.opt_out(me, contact_id), "The opt-out is stored.", as_json=as_json)


@app.command("opt-in")
def opt_in(contact_id: ContactId, as_json: AsJson = False) -> None:
    """Store that a contact wants messages again."""
    _act(contact_id, lambda service, me: service.opt_in(me, contact_id), "The opt-out is lifted.", as_json=as_json)


def _act(contact_id: UUID, act: Act, words: str, *, as_json: bool) -> None:
    """Change a contact of any owner, and print it after that."""

    async def work(container: "Container") -> Item:
        reading = container.contact_reading()
        owner = await reading.owner_of(contact_id)
        await act(container.contact_service(), operator(owner))
        return _view(await reading.one(owner, contact_id))

    print_result(run(work), words, as_json=as_json)


def _view(found: "ContactItem") -> Item:
    from recado.conversation.values import Address

    return {
        "id": str(found.id),
        "name": found.name,
        "named_by": found.named_by,
        "contact": [Address(address).masked for address in found.addresses],
        "blocked_at": None if found.blocked_at is None else found.blocked_at.isoformat(),
        "blocked_by": found.blocked_by,
        "opted_out_at": None if found.opted_out_at is None else found.opted_out_at.isoformat(),
        "opted_out_by": found.opted_out_by,
    }
