"""`recado tick`: run due jobs for some seconds, without a running worker."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from recado.core.errors import InvalidInput
from recado.entrypoints.cli.options import AsJson
from recado.entrypoints.cli.output import print_result
from recado.entrypoints.cli.running import run

if TYPE_CHECKING:
    from recado.bootstrap import Container
    from recado.core.queue.running.bounded import BoundedRunReport


def tick(
    seconds: Annotated[float, typer.Option(help="The time limit of the run.")] = 25.0, as_json: AsJson = False
) -> None:
    """Requeue jobs of dead workers, create scheduled jobs, and run due jobs. For timers and tests."""
    from recado.core.queue.running.bounded import MAX_SECONDS, MIN_SECONDS

    if not MIN_SECONDS <= seconds <= MAX_SECONDS:
        raise InvalidInput(f"--seconds must be a number from {MIN_SECONDS:g} to {MAX_SECONDS:g}")
    ticked = run(lambda container: _bounded_run(container, seconds), purpose="worker")
    counts = asdict(ticked)
    words = f"{ticked.jobs} jobs run, {ticked.leases_freed} leases freed, {ticked.still_due} still due."
    print_result(counts, words, as_json=as_json)


async def _bounded_run(container: "Container", seconds: float) -> "BoundedRunReport":
    from recado.entrypoints.worker import close_container

    try:
        return await container.worker().run_bounded(seconds)
    finally:
        await close_container(container)
