"""`recado events`: what happened, where it is sent, and sending it again."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, TypeAlias
from uuid import UUID

import typer

from recado.core.errors import InvalidInput
from recado.entrypoints.cli.events.endpoints import endpoints
from recado.entrypoints.cli.main import family
from recado.entrypoints.cli.options import AsJson, OwnerId, read_id
from recado.entrypoints.cli.output import Item, column, moment, print_document, print_items, print_line
from recado.entrypoints.cli.running import operator, require_owner, run
from recado.entrypoints.cli.texts.language import said

if TYPE_CHECKING:
    from recado.bootstrap import Container
    from recado.events.models import EventDelivery
    from recado.events.service import EndpointService
    from recado.identity.principal import Principal

app = family("Read what happened, see what was delivered, and send events again.")
app.add_typer(endpoints, name="endpoints")

EndpointId: TypeAlias = Annotated[
    UUID, typer.Option("--endpoint", metavar="ID", parser=read_id, help="`recado events endpoints list` shows the ids.")
]
Limit: TypeAlias = Annotated[int, typer.Option(min=1, max=500, help="How many at most.")]


@app.command("list")
def list_(
    owner: OwnerId,
    after: Annotated[str | None, typer.Option(metavar="ID", help="Only what happened after this event.")] = None,
    limit: Limit = 100,
    as_json: AsJson = False,
) -> None:
    """List what happened, the oldest first. Events are kept for 30 days."""

    async def work(container: "Container") -> list[Item]:
        from recado.events.wire.rendering import rendered

        await require_owner(container, owner)
        page = await container.event_reading().page(owner, after=after, limit=limit)
        return [rendered(event) for event in page.items]

    # What an event names fits on no terminal: --json prints it.
    columns = {"Id": column("id"), "Type": column("type"), "When": moment("timestamp")}
    print_items(run(work), columns, empty="Nothing has happened.", as_json=as_json)


@app.command()
def log(
    owner: OwnerId,
    endpoint: EndpointId,
    failed: Annotated[bool, typer.Option("--failed", help="Only what was not delivered.")] = False,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """List what was sent to an endpoint, the newest first, and how it ended."""

    async def work(container: "Container") -> list[Item]:
        reading = container.endpoint_reading()
        page = await reading.deliveries(owner, endpoint, undelivered=failed, limit=limit)
        return [_delivery(each) for each in page.items]

    columns = {
        "Event": column("event_id"),
        "When": lambda item: f"{moment('updated_at')(item)}\n{item['type']}",
        "Last answer": lambda item: f"{item['state']} ({item['attempts']})\n{said(str(item['last_answer'] or '–'))}",
    }
    print_items(run(work), columns, empty="Nothing was sent to it.", as_json=as_json)


@app.command()
def replay(
    owner: OwnerId,
    endpoint: EndpointId,
    event: Annotated[
        UUID | None, typer.Option(metavar="ID", parser=read_id, help="Send this event again, and no other.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Send again what happened since then: 2026-03-14T12:00:00Z.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Send events to an endpoint again, with the ids that they had: one of them, or all since a time."""
    if (event is None) == (since is None):
        raise InvalidInput("say what to send again: --event or --since")
    at = None if since is None else _moment(since)

    async def act(service: "EndpointService", me: "Principal") -> None:
        if event is not None:
            await service.resend(me, endpoint, event)
        elif at is not None:
            await service.replay(me, endpoint, since=at)

    _act(owner, act)
    if as_json:
        print_document({"endpoint_id": str(endpoint)})
    else:
        print_line("The events are stored; a worker sends them.")


def _act(owner: UUID, act: "Callable[[EndpointService, Principal], Awaitable[object]]") -> None:
    async def work(container: "Container") -> None:
        await act(container.endpoints(), operator(owner))

    run(work)


def _moment(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(f"{text[:40]!r} is no time; write it as 2026-03-14T12:00:00Z") from None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _delivery(found: "EventDelivery") -> Item:
    return {
        "id": str(found.id),
        "event_id": str(found.event_id),
        "type": found.type,
        "state": found.state,
        "attempts": found.attempts,
        "last_answer": found.error or found.status,
        "updated_at": found.updated_at.isoformat(),
    }
