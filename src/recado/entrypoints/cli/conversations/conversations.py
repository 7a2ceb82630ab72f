"""`recado conversations`: what a person can do in a conversation, from a terminal."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, TypeAlias
from uuid import UUID

import typer

from recado.entrypoints.cli.main import family
from recado.entrypoints.cli.options import AsJson, OwnerId, read_id
from recado.entrypoints.cli.output import Item, column, format_age, print_document, print_items, print_line
from recado.entrypoints.cli.running import operator, require_owner, run

if TYPE_CHECKING:
    from recado.bootstrap import Container
    from recado.conversation.people.handoff import HandOffService
    from recado.conversation.reading import ConversationItem
    from recado.identity.principal import Principal

app = family("List, take, answer, release, assign and close conversations.")

ConversationId: TypeAlias = Annotated[
    UUID, typer.Argument(metavar="CONVERSATION_ID", parser=read_id, help="The id in `recado conversations list`.")
]
Act: TypeAlias = "Callable[[HandOffService, Principal], Awaitable[object]]"


@app.command("list")
def list_(owner: OwnerId, as_json: AsJson = False) -> None:
    """List the conversations that are open or wait for a person, latest activity first."""

    async def work(container: "Container") -> list[Item]:
        await require_owner(container, owner)
        now = container.clock().now()
        return [_view(each, now) async for each in container.conversation_reading().every(owner)]

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
    """Take a conversation over from the agent. From now on no answer of the agent is sent."""
    found = _act(conversation_id, lambda service, me: service.take(me, conversation_id))
    _show(found, "A person holds the conversation now.", as_json=as_json)


@app.command()
def reply(
    conversation_id: ConversationId,
    text: Annotated[str, typer.Option(help="The message to the customer.")],
    as_json: AsJson = False,
) -> None:
    """Write to the customer as a person. This takes the conversation."""
    found = _act(conversation_id, lambda service, me: service.reply(me, conversation_id, text, take=True))
    _show(found, "The reply is stored; a worker sends it.", as_json=as_json)


@app.command()
def release(conversation_id: ConversationId, as_json: AsJson = False) -> None:
    """Give a conversation back to the agent, which answers every message that is still unanswered."""
    found = _act(conversation_id, lambda service, me: service.release(me, conversation_id))
    _show(found, "The agent holds the conversation again.", as_json=as_json)


@app.command()
def close(
    conversation_id: ConversationId,
    reason: Annotated[str | None, typer.Option(help="Why, for the history.")] = None,
    as_json: AsJson = False,
) -> None:
    """End a conversation. What waits for a person in it is not answered; the next message opens a new one."""
    found = _act(conversation_id, lambda service, me: service.close(me, conversation_id, reason))
    _show(found, "The conversation is closed.", as_json=as_json)


@app.command()
def assign(
    conversation_id: ConversationId,
    user: Annotated[
        UUID | None,
        typer.Option("--user", metavar="ID", parser=read_id, help="The user; `recado users list` shows their ids."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say which user is to look after a conversation. Without --user nobody is."""
    found = _act(conversation_id, lambda service, me: service.assign(me, conversation_id, user))
    _show(found, "The conversation is assigned." if user else "Nobody is assigned.", as_json=as_json)


def _act(conversation_id: UUID, act: Act) -> Item:
    """Do something in a conversation of any owner, and return the conversation after it."""

    async def work(container: "Container") -> Item:
        reading = container.conversation_reading()
        owner = await reading.owner_of(conversation_id)
        await act(container.handoff(), operator(owner))
        return _view(await reading.one(owner, conversation_id), container.clock().now())

    return run(work)


def _show(found: Item, words: str, *, as_json: bool) -> None:
    if as_json:
        print_document([found])
    else:
        print_line(words)


def _view(found: "ConversationItem", now: datetime) -> Item:
    waited = None if found.waiting_since is None else max(0, int((now - found.waiting_since).total_seconds()))
    return {
        "id": str(found.id),
        "lane": str(found.lane),
        "held_by": found.held_by,
        "status": found.status,
        "contact": found.contact,
        "waiting_seconds": waited,
    }
