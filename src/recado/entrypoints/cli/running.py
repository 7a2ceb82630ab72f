"""Open the container for a command, run the command, and close everything again.

Commands work on the same database as servers and workers, whether these run or not. What a command starts (a retry, a
person's reply) is stored, and a worker does it. So no command needs to reach Twilio.
"""

import asyncio
import getpass
import os
import sys
from collections.abc import Awaitable, Callable, Collection
from typing import TYPE_CHECKING, TypeVar
from uuid import UUID

from recado.core.clock import SystemClock
from recado.core.tracing import NoTraces
from recado.entrypoints.cli.waiting import waiting
from recado.entrypoints.environment import environment
from recado.identity.principal import Principal, operator_of
from recado.settings import LogLevel, Purpose, Settings, load_settings

if TYPE_CHECKING:
    from recado.bootstrap import Container
    from recado.identity.principal import Principal

T = TypeVar("T")


WAIT_SECONDS = 2.0
"""A command waits this long for PostgreSQL, because a person waits for the command."""


def run(
    work: "Callable[[Container], Awaitable[T]]",
    purpose: Purpose = "cli",
    *,
    secret_names: Collection[str | None] = (),
    log_level: LogLevel = "warning",
) -> T:
    """Return the result of `work` for a container over the configured database, after migrating it if necessary.

    A missing SQLite file is an error and is not created. `secret_names` are the variables that options name for
    secrets. They are no settings, even if their names look like it.
    """
    settings = settings_for(purpose, secret_names=secret_names, log_level=log_level)
    with waiting():
        from recado.bootstrap import Container, metadata
        from recado.migrations.startup import prepare_database

        prepare_database(settings.database_url, metadata, wait_seconds=WAIT_SECONDS)
        container = Container(settings=settings)
        if purpose == "cli":  # Such a command runs no job and needs no tracer.
            container.traces.override(NoTraces())
        return asyncio.run(_closing(container, work))


def settings_for(
    purpose: Purpose, *, secret_names: Collection[str | None] = (), log_level: LogLevel = "warning"
) -> Settings:
    """Return the settings of this environment, and configure logging: most commands log warnings and errors only."""
    from recado.core.telemetry import configure_logging

    settings = load_settings(
        {name: text for name, text in environment().items() if name not in secret_names}, purpose=purpose
    )
    level = settings.log_level if "RECADO_LOG_LEVEL" in os.environ else log_level
    configure_logging(level, sys.stderr, SystemClock())
    return settings


def settings_with(purpose: Purpose, **other: str) -> Settings:
    """Return the settings of this environment with some variables changed."""
    changed = {f"RECADO_{name}": value for name, value in other.items()}
    return load_settings({**environment(), **changed}, purpose=purpose)


def operator_name() -> str:
    """Return the name of the person at the command line, as this machine knows it."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # A container may run as a number that has no name.
        return "unknown"


def operator(owner_id: UUID) -> Principal:
    """Return the person at the command line, acting for an owner."""
    return operator_of(owner_id, operator_name())


async def require_owner(container: "Container", owner_id: UUID) -> UUID:
    """Return the id of an existing owner. Raises `NotFound`."""
    return (await container.owners().owner(owner_id)).id


async def _closing(container: "Container", work: "Callable[[Container], Awaitable[T]]") -> T:
    try:
        return await work(container)
    finally:
        await container.database().close()
