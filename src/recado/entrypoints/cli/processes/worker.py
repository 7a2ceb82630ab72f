"""`recado worker`: run jobs. Any number of workers may share a database."""

import asyncio
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from recado.core.clock import SystemClock
from recado.core.telemetry import configure_logging
from recado.entrypoints.cli.texts.language import say
from recado.entrypoints.cli.waiting import waiting
from recado.entrypoints.environment import environment
from recado.entrypoints.shutdown import ShutdownSignals, exit_now
from recado.settings import load_settings


def worker(
    drain: Annotated[bool, typer.Option("--drain", help="Stop when no job is left.")] = False,
    grace: Annotated[
        float, typer.Option(min=0.0, metavar="SECONDS", help="The time that running jobs get after SIGTERM.")
    ] = 10.0,
    health_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A file to touch while the worker lives; see `recado health`.")
    ] = None,
    isolated: Annotated[bool, typer.Option("--isolated", hidden=True)] = False,
) -> None:
    """Run jobs until SIGTERM. Running jobs get some time to finish; the others are requeued."""
    signals = ShutdownSignals()
    settings = load_settings(environment(), purpose="worker")
    configure_logging(settings.log_level, sys.stderr, SystemClock())
    with waiting() if sys.stdin.isatty() else nullcontext():  # The worker of a server says nothing of its own.
        from recado.bootstrap import Container, metadata
        from recado.entrypoints.worker import WorkerEnding, run_isolated_jobs, run_worker
        from recado.migrations.startup import Creation, prepare_database

        prepare_database(settings.database_url, metadata, creation=Creation.AWAITED)
    if sys.stdin.isatty():
        typer.echo(say("The worker runs jobs; stop it with Ctrl-C."), err=True)
    container = Container(settings=settings)
    if isolated:
        exit_now(asyncio.run(run_isolated_jobs(container, signals)))
    ending = asyncio.run(run_worker(container, signals, drain=drain, grace_seconds=grace, health_file=health_file))
    if ending is WorkerEnding.NEEDS_RECYCLING:
        signals.replace_process()
    exit_now()
