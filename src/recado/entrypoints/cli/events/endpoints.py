"""`recado events endpoints`: where an organisation's events are sent."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeAlias, TypeVar
from uuid import UUID

import typer

from recado.entrypoints.cli.main import family
from recado.entrypoints.cli.options import AsJson, OwnerId, comma_separated, read_id
from recado.entrypoints.cli.output import Item, column, print_items, print_result
from recado.entrypoints.cli.running import operator, require_owner, run

if TYPE_CHECKING:
    from recado.bootstrap import Container
    from recado.events.models import Endpoint
    from recado.events.service import EndpointService
    from recado.identity.principal import Principal

T = TypeVar("T")

endpoints = family("Add, change and remove the servers of yours to which events are sent.")

EndpointId: TypeAlias = Annotated[
    UUID,
    typer.Argument(metavar="ENDPOINT_ID", parser=read_id, help="The id in `recado events endpoints list`."),
]
Types: TypeAlias = Annotated[
    str | None, typer.Option(metavar="TYPES", help="Only these types, with commas between them. All without it.")
]


@endpoints.command("list")
def list_(owner: OwnerId, as_json: AsJson = False) -> None:
    """List the endpoints of an organisation, and how they are."""

    async def work(container: "Container") -> list[Item]:
        await require_owner(container, owner)
        return [_view(each) for each in await container.endpoint_reading().endpoints(owner)]

    columns = {"Id": column("endpoint_id"), "URL": column("url"), "Types": column("types"), "State": _state}
    print_items(run(work), columns, empty="There are no endpoints.", as_json=as_json)


@endpoints.command()
def add(
    owner: OwnerId,
    url: Annotated[str, typer.Option(metavar="URL", help="Where events are posted: https://…")],
    types: Types = None,
    allow_private: Annotated[
        bool, typer.Option("--allow-private", help="The URL may lead into a private network, or to this machine.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Add an endpoint. It is sent what happens from now on. The secret that signs is shown once."""

    async def work(service: "EndpointService", me: "Principal") -> Item:
        from recado.events.service import NewEndpoint

        added = await service.add(me, NewEndpoint(url, comma_separated(types), allow_private))
        return {"endpoint_id": str(added.endpoint.id), "secret": added.secret}

    made = _act(owner, work)
    words = f"Endpoint {made['endpoint_id']} is added. Its secret, shown only now: {made['secret']}"
    print_result(made, words, as_json=as_json)


@endpoints.command("set")
def set_(
    owner: OwnerId,
    endpoint_id: EndpointId,
    url: Annotated[str | None, typer.Option(metavar="URL", help="Where events are posted from now on.")] = None,
    types: Types = None,
    as_json: AsJson = False,
) -> None:
    """Change where an endpoint is, or what it is sent. `--types ""` sends every type."""

    async def work(service: "EndpointService", me: "Principal") -> Item:
        from recado.identity.models import UNSET

        wanted = UNSET if types is None else comma_separated(types)
        return _view(await service.change(me, endpoint_id, url=url or UNSET, types=wanted))

    print_result(_act(owner, work), "The endpoint is changed.", as_json=as_json)


@endpoints.command()
def disable(owner: OwnerId, endpoint_id: EndpointId, as_json: AsJson = False) -> None:
    """Switch an endpoint off. Nothing more is sent to it."""
    found = _act(owner, lambda service, me: _viewed(service.disable(me, endpoint_id)))
    print_result(found, "The endpoint is switched off.", as_json=as_json)


@endpoints.command()
def enable(owner: OwnerId, endpoint_id: EndpointId, as_json: AsJson = False) -> None:
    """Switch an endpoint on again. It is sent what has happened since."""
    found = _act(owner, lambda service, me: _viewed(service.enable(me, endpoint_id)))
    print_result(found, "The endpoint is switched on.", as_json=as_json)


@endpoints.command()
def rotate(owner: OwnerId, endpoint_id: EndpointId, as_json: AsJson = False) -> None:
    """Make a new secret, and show it once. The old one signs beside it for 24 hours."""

    async def work(service: "EndpointService", me: "Principal") -> Item:
        rotated = await service.rotate(me, endpoint_id)
        return {"endpoint_id": str(rotated.endpoint.id), "secret": rotated.secret}

    made = _act(owner, work)
    words = f"The new secret, shown only now: {made['secret']}. The old one is valid for 24 hours more."
    print_result(made, words, as_json=as_json)


@endpoints.command()
def remove(owner: OwnerId, endpoint_id: EndpointId, as_json: AsJson = False) -> None:
    """Remove an endpoint, with the log of what was sent to it."""

    async def work(service: "EndpointService", me: "Principal") -> Item:
        await service.remove(me, endpoint_id)
        return {"endpoint_id": str(endpoint_id)}

    print_result(_act(owner, work), "The endpoint is removed.", as_json=as_json)


def _state(item: Item) -> str:
    return ": ".join(str(item[key]) for key in ("state", "disabled_reason") if item[key] is not None)


def _act(owner: UUID, act: "Callable[[EndpointService, Principal], Awaitable[T]]") -> T:
    async def work(container: "Container") -> T:
        await require_owner(container, owner)
        return await act(container.endpoints(), operator(owner))

    return run(work)


async def _viewed(changing: "Awaitable[Endpoint]") -> Item:
    return _view(await changing)


def _view(found: "Endpoint") -> Item:
    return {
        "endpoint_id": str(found.id),
        "url": found.url,
        "types": "all" if found.types is None else list(found.types),
        "state": found.state,
        "disabled_reason": found.disabled_reason,
        "failing_since": None if found.failing_since is None else found.failing_since.isoformat(),
    }
