"""`recado worker`: runs jobs; start as many as you like, on as many processes as share the database."""

import asyncio
import os
import sys
from typing import Annotated

import typer

from recado.core.clock import SystemClock
from recado.core.telemetry import configure_logging
from recado.entrypoints.shutdown import Farewell, leave
from recado.settings import load_settings


def worker(
    drain: Annotated[bool, typer.Option("--drain", help="Stop when no job is left.")] = False,
    grace: Annotated[
        float, typer.Option(min=0.0, metavar="SECONDS", help="How long what runs may go on after SIGTERM.")
    ] = 10.0,
    suspects: Annotated[bool, typer.Option("--suspects", hidden=True)] = False,
) -> None:
    """Run jobs until told to stop: SIGTERM finishes what runs, and gives back the rest unharmed."""
    farewell = Farewell()
    settings = load_settings(os.environ, purpose="worker")
    configure_logging(settings.log_level, sys.stderr, SystemClock())
    from recado.bootstrap import Container, metadata
    from recado.entrypoints.worker import Ending, work, work_on_suspects
    from recado.migrations.starting import Creation, bring_up

    bring_up(settings.database_url, metadata, creation=Creation.AWAITED)
    container = Container(settings=settings)
    if suspects:
        leave(asyncio.run(work_on_suspects(container, farewell)))
    ending = asyncio.run(work(container, farewell, drain=drain, grace_seconds=grace))
    if ending is Ending.WORN_OUT:
        farewell.replace_process()
    leave()
