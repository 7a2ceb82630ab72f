"""`recado worker`: runs jobs; start as many as you like, on as many processes as share the database."""

import asyncio
import os
import sys
from typing import Annotated

import typer

from recado.core.clock import SystemClock
from recado.core.telemetry import configure_logging
from recado.settings import load_settings


def worker(
    drain: Annotated[bool, typer.Option("--drain", help="Stop when no job is left.")] = False,
    suspects: Annotated[bool, typer.Option("--suspects", hidden=True)] = False,
) -> None:
    """Run jobs until told to stop: SIGTERM finishes what runs, and gives back the rest unharmed."""
    settings = load_settings(os.environ, purpose="worker")
    configure_logging(settings.log_level, sys.stderr, SystemClock())
    from recado.bootstrap import Container, metadata
    from recado.entrypoints.worker import Ending, replace_process, work, work_on_suspects
    from recado.migrations.starting import bring_up

    bring_up(settings.database_url, metadata)
    container = Container(settings=settings)
    if suspects:
        raise typer.Exit(asyncio.run(work_on_suspects(container)))
    if asyncio.run(work(container, drain=drain)) is Ending.WORN_OUT:
        replace_process()
