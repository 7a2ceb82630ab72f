"""The filled databases of a bench, one after the other, and keys to their API."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING
from uuid import UUID

import harness
from harness import Options, Workbench
from million.filling import Filled, filled
from million.rows import CONVERSATIONS

if TYPE_CHECKING:
    from tests.support.servers.postgres import PostgresServer

    from recado.bootstrap import Container

QUICK = 2_000


def databases(bench: Workbench, options: Options) -> Iterator[Filled]:
    """Yield each database that was asked for, while its server runs."""
    place = bench.home if options.place is None else options.place.absolute()
    place.mkdir(parents=True, exist_ok=True)
    conversations = QUICK if options.quick else CONVERSATIONS
    if options.only in (None, "sqlite"):
        yield filled("sqlite", f"sqlite:///{place / f'{conversations}.db'}", conversations)
    if options.only in (None, "postgres"):
        with harness.postgres(None if options.place is None else place / "postgres") as server:
            yield filled("postgres", _named(server, f"of_{conversations}"), conversations)


def _named(server: "PostgresServer", name: str) -> str:
    from psycopg.errors import DuplicateDatabase

    with suppress(DuplicateDatabase):
        server.command(f"CREATE DATABASE {name}")
    return server.named(name)


def api_keys(env: Mapping[str, str], owner: UUID, count: int) -> Sequence[str]:
    """Return new keys of an organisation. Each may make a thousand requests in ten seconds."""
    from recado.bootstrap import Container
    from recado.settings import load_settings

    return asyncio.run(_made(Container(settings=load_settings(env, purpose="serve")), owner, count))


async def _made(container: "Container", owner: UUID, count: int) -> list[str]:
    from recado.identity.access.api_keys import NewKey
    from recado.identity.principal import operator_of

    scopes = ["conversations.read", "contacts.read"]
    made = [
        await container.api_keys().create(operator_of(owner, "bench"), NewKey(f"bench {number}", scopes))
        for number in range(count)
    ]
    await container.database().close()
    return [each.text for each in made]
