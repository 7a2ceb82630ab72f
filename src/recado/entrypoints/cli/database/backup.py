"""`recado backup`: copy the database to a file while everything runs."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

import typer

from recado.core.clock import SystemClock
from recado.entrypoints.cli.options import AsJson
from recado.entrypoints.cli.output import print_result
from recado.entrypoints.cli.running import settings_for

_PROGRESS_SECONDS: Final = 3.0


class _CopyProgress:
    """Reports the progress of a long copy on standard error."""

    def __init__(self) -> None:
        self._clock = SystemClock()
        self._said_at = self._clock.monotonic()

    def __call__(self, share: float) -> None:
        if self._clock.monotonic() - self._said_at >= _PROGRESS_SECONDS:
            self._said_at = self._clock.monotonic()
            typer.echo(f"{share:.0%} copied", err=True)


def backup(
    file: Annotated[Path, typer.Argument(help="The file for the copy. An existing file is never overwritten.")],
    as_json: AsJson = False,
) -> None:
    """Copy the database to a file while servers and workers run. The copy is checked before it gets its name."""
    settings = settings_for("cli")
    from recado.migrations.startup import require_database
    from recado.operations.backup import back_up

    require_database(settings.database_url)
    made = back_up(settings.database_url, file, _CopyProgress())
    words = f"{made.file} holds the database: {made.bytes / 1_000_000:.1f} MB at schema {made.schema}."
    print_result(asdict(made), words, as_json=as_json)
