"""`recado conversations`: what a person can do in one, for operators who have no browser at hand."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, TypeAlias
from uuid import UUID

import typer

from recado.entrypoints.cli.main import family
from recado.entrypoints.cli.options import AsJson, OwnerId, read_id
from recado.entrypoints.cli.output import Item, column, format_age, print_document, print_items, print_line
from recado.entrypoints.cli.running import require_owner, run

if TYPE_CHECKING:
    from recado.bootstrap import Container
    from recado.conversation.handoff import HandOffService
    from recado.conversation.models import Conversation
    from recado.core.database.unit_of_work import UnitOfWork

app = family("Take, answer and give back conversations.")

ConversationId: TypeAlias = Annotated[
    UUID, typer.Argument(metavar="CONVERSATION_ID", parser=read_id, help="As `recado conversations list` shows it.")
]
Act: TypeAlias = "Callable[[HandOffService, UUID], Awaitable[object]]"


@dataclass(frozen=True, slots=True)
class Seen:
    """A conversation with what an operator needs to choose: who it is, and since when somebody waits for a person."""

    conversation: "Conversation"
    contact: str | None
    waiting_since: datetime | None


@app.command("list")
def list_(owner: OwnerId, as_json: AsJson = False) -> None:
    """List what is open or waits for a person, the liveliest first."""

    async def work(container: "Container") -> list[Item]:
        found = await container.handoff().list(await require_owner(container, owner))
        return await _views(container, owner, found)

    columns = {
        "Id": column("id"),
        "Contact": column("contact"),
        "Held by": column("held_by"),
        "Status": column("status"),
        "Waits": _waits,
    }
    print_items(run(work), columns, empty="There are no conversations.", as_json=as_json)


def _waits(item: Item) -> str:
    seconds = item["waiting_seconds"]
    return format_age(seconds) if isinstance(seconds, int) else "–"


@app.command()
def take(conversation_id: ConversationId, as_json: AsJson = False) -> None:
    """Hold a conversation in the agent's place.

    From now on no answer of the agent goes out.
    """
    found = _act(conversation_id, lambda service, owner: service.take(owner, conversation_id))
    _tell(found, "A person holds the conversation now.", as_json=as_json)


@app.command()
def reply(
    conversation_id: ConversationId,
    text: Annotated[str, typer.Option(help="What the customer is to read.")],
    as_json: AsJson = False,
) -> None:
    """Write to the customer as a person; that takes the conversation."""
    found = _act(conversation_id, lambda service, owner: service.reply(owner, conversation_id, text))
    _tell(found, "The reply is stored; a worker sends it.", as_json=as_json)


@app.command()
def release(conversation_id: ConversationId, as_json: AsJson = False) -> None:
    """Give a conversation back to the agent.

    The agent answers whatever nobody has answered yet.
    """
    found = _act(conversation_id, lambda service, owner: service.release(owner, conversation_id))
    _tell(found, "The agent holds the conversation again.", as_json=as_json)


def _act(conversation_id: UUID, act: Act) -> list[Item]:
    """Do something in a conversation, whoever's it is; how it looks afterwards."""
    from recado.conversation.repository import Conversations

    async def work(container: "Container") -> list[Item]:
        service = container.handoff()
        owner = await service.owner_of(conversation_id)
        await act(service, owner)
        found = await container.database().read(lambda uow: Conversations(uow).require(conversation_id), owner=owner)
        return await _views(container, owner, [found])

    return run(work)


def _tell(found: list[Item], words: str, *, as_json: bool) -> None:
    if as_json:
        print_document(found)
    else:
        print_line(words)


async def _views(container: "Container", owner_id: UUID, found: "Sequence[Conversation]") -> list[Item]:
    seen = await container.database().read(lambda uow: [_seen(uow, each) for each in found], owner=owner_id)
    now = container.clock().now()
    return [_view(each, now) for each in seen]


def _seen(uow: "UnitOfWork", conversation: "Conversation") -> Seen:
    from sqlalchemy import func, select

    from recado.conversation.repository import Contacts
    from recado.conversation.tables import inbox_items
    from recado.conversation.values import Address

    waiting = select(func.min(inbox_items.c.created_at)).where(
        inbox_items.c.owner_id == conversation.owner_id,
        inbox_items.c.conversation_id == conversation.id,
        inbox_items.c.resolved_at.is_(None),
    )
    addresses = Contacts(uow).addresses(conversation.contact_id)
    contact = Address(addresses[0]).masked if addresses else None
    return Seen(conversation, contact, uow.execute(waiting).scalar_one())


def _view(seen: Seen, now: datetime) -> Item:
    waited = None if seen.waiting_since is None else max(0, int((now - seen.waiting_since).total_seconds()))
    return {
        "id": str(seen.conversation.id),
        "lane": seen.conversation.lane,
        "held_by": seen.conversation.held_by,
        "status": seen.conversation.status,
        "contact": seen.contact,
        "waiting_seconds": waited,
    }
