"""`recado conversations`: what a person can do in a conversation, from a terminal."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias, TypeVar
from uuid import UUID

import typer

from recado.entrypoints.cli.listing import print_listing
from recado.entrypoints.cli.main import family
from recado.entrypoints.cli.options import AsJson, OwnerId, read_id
from recado.entrypoints.cli.output import Item, column, format_age, print_document, print_line, print_text
from recado.entrypoints.cli.running import operator, require_owner, run

if TYPE_CHECKING:
    from recado.bootstrap import Container
    from recado.conversation.people.handoff import HandOffService
    from recado.conversation.reading.conversations import ConversationItem
    from recado.conversation.reading.messages import TranscriptItem
    from recado.identity.principal import Principal

app = family("List, take, answer, release, assign and close conversations.")

PAGE: Final = 200
"""How many messages or conversations are read at a time."""
Shown = TypeVar("Shown")

ConversationId: TypeAlias = Annotated[
    UUID, typer.Argument(metavar="CONVERSATION_ID", parser=read_id, help="The id in `recado conversations list`.")
]
Act: TypeAlias = "Callable[[HandOffService, Principal], Awaitable[object]]"


@app.command("list")
def list_(
    owner: OwnerId,
    status: Annotated[str | None, typer.Option(help="active, open, idle, closed or all.")] = None,
    held_by: Annotated[str | None, typer.Option("--held-by", help="agent, person or nobody.")] = None,
    waiting: Annotated[bool, typer.Option("--waiting", help="Those that wait for a person, longest first.")] = False,
    text: Annotated[str | None, typer.Option("--text", help="Those with a message that has these words.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the conversations that are not closed, latest activity first, or those that other options choose."""

    async def find(container: "Container") -> AsyncIterator[Item]:
        from recado.conversation.reading.filters import ConversationFilters, valid_holder, valid_status

        await require_owner(container, owner)
        filters = ConversationFilters(
            status=valid_status(status), held_by=valid_holder(held_by), waiting=waiting, text=text
        )
        now = container.clock().now()
        async for some in _in_pages(container.conversation_reading().every(owner, filters)):
            if text is not None:  # Written down before any of them is shown.
                await container.transcripts().record_search(operator(owner), [each.id for each in some])
            for each in some:
                yield _view(each, now)

    columns = {
        "Id": column("id"),
        "Contact": column("contact"),
        "Held by": column("held_by"),
        "Status": column("status"),
        "Waits": _waits,
    }
    print_listing(find, columns, empty="There are no conversations.", as_json=as_json)


async def _in_pages(found: "AsyncIterator[ConversationItem]") -> "AsyncIterator[Sequence[ConversationItem]]":
    page: list[ConversationItem] = []
    async for each in found:
        page.append(each)
        if len(page) == PAGE:
            yield page
            page = []
    yield page


def _waits(item: Item) -> str:
    seconds = item["waiting_seconds"]
    return format_age(seconds) if isinstance(seconds, int) else "–"


@app.command()
def show(conversation_id: ConversationId, as_json: AsJson = False) -> None:
    """Show what was said in a conversation, and what became of each message. That it was read is written down."""
    if as_json:
        print_document({"messages": run(lambda container: _transcript(container, conversation_id, _message_view))})
        return
    for line in run(lambda container: _transcript(container, conversation_id, _message_line)):
        print_text(line)


async def _transcript(
    container: "Container", conversation_id: UUID, shape: "Callable[[TranscriptItem], Shown]"
) -> "list[Shown]":
    """Return every message of a conversation of any owner, the oldest first."""
    me = operator(await container.conversation_reading().owner_of(conversation_id))
    found: list[Shown] = []
    cursor: str | None = None
    while True:
        page = await container.transcripts().page(me, conversation_id, cursor, limit=PAGE)
        found += [shape(item) for item in page.items]
        if (cursor := page.next_cursor) is None:
            return found


def _message_view(item: "TranscriptItem") -> Item:
    return {
        "id": str(item.id),
        "author": item.author,
        "author_name": item.author_name,
        "text": item.text,
        "at": item.at.isoformat(),
        "state": item.state,
        "error": None if item.error is None else {"code": item.error.code, "text": item.error.text},
        "attachments": list(item.attachments),
    }


def _message_line(item: "TranscriptItem") -> str:
    who = item.author if item.author_name is None else f"{item.author} {item.author_name}"
    state = item.state if item.error is None else f"{item.state}: {item.error.text}"
    return f"{item.at:%Y-%m-%d %H:%M} {who}: {item.text} ({state})"


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
    """Say which user is to look after a conversation. Without --user no one is."""
    found = _act(conversation_id, lambda service, me: service.assign(me, conversation_id, user))
    _show(found, "The conversation is assigned." if user else "No user is assigned.", as_json=as_json)


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
