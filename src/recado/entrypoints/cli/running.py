"""Opens what a command works with, runs the command, and closes everything again.

Commands act on the same database as servers and workers, which may be running or not: what they start (a retry, a
person's reply) is stored, and a worker sends it. So no command needs to know how to reach Twilio.
"""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Collection
from typing import TYPE_CHECKING, TypeVar
from uuid import UUID

from recado.core.clock import SystemClock
from recado.core.tracing import NoTraces
from recado.settings import Purpose, Settings, load_settings

if TYPE_CHECKING:
    from recado.bootstrap import Container

T = TypeVar("T")


WAIT_SECONDS = 2.0
"""How long a command waits for PostgreSQL; a person is waiting for the command."""


def run(
    work: "Callable[[Container], Awaitable[T]]",
    purpose: Purpose = "cli",
    *,
    secret_names: Collection[str | None] = (),
) -> T:
    """What `work` gives for a container over the configured database, whose schema is brought up first.

    An SQLite file that is not there is a mistake and is not made. `secret_names` are variables that options name for
    secrets: theirs to choose, even where they look like settings.
    """
    settings = settings_for(purpose, secret_names=secret_names)
    from recado.bootstrap import Container, metadata
    from recado.migrations.startup import prepare_database

    prepare_database(settings.database_url, metadata, wait_seconds=WAIT_SECONDS)
    container = Container(settings=settings)
    if purpose == "cli":  # It runs no job, so it need not load a tracer.
        container.traces.override(NoTraces())
    return asyncio.run(_closing(container, work))


def settings_for(purpose: Purpose, *, secret_names: Collection[str | None] = ()) -> Settings:
    """The settings of this environment, and logs on standard error: for commands only what is worth a person's eye."""
    from recado.core.telemetry import configure_logging

    settings = load_settings(
        {name: text for name, text in os.environ.items() if name not in secret_names}, purpose=purpose
    )
    level = settings.log_level if "RECADO_LOG_LEVEL" in os.environ else "warning"
    configure_logging(level, sys.stderr, SystemClock())
    return settings


def settings_with(purpose: Purpose, **other: str) -> Settings:
    """The settings of this environment, but for some variables."""
    environment = {**os.environ, **{f"RECADO_{name}": value for name, value in other.items()}}
    return load_settings(environment, purpose=purpose)


async def require_owner(container: "Container", owner_id: UUID) -> UUID:
    """The id of an owner that exists; raises `NotFound`."""
    return (await container.identity().owner(owner_id)).id


async def _closing(container: "Container", work: "Callable[[Container], Awaitable[T]]") -> T:
    try:
        return await work(container)
    finally:
        await container.database().close()
