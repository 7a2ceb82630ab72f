"""`recado backup`: copy the database to a file while everything runs."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from recado.entrypoints.cli.options import AsJson
from recado.entrypoints.cli.output import Progress, print_result
from recado.entrypoints.cli.running import settings_for
from recado.entrypoints.cli.texts.language import say
from recado.entrypoints.cli.waiting import waiting


def backup(
    file: Annotated[Path, typer.Argument(help="The file for the copy. An existing file is never overwritten.")],
    as_json: AsJson = False,
) -> None:
    """Copy the database to a file while servers and workers run. The copy is checked before it gets its name."""
    settings = settings_for("cli")
    from recado.migrations.startup import require_database
    from recado.operations.backup import back_up

    require_database(settings.database_url)
    progress = Progress()
    with waiting():
        made = back_up(settings.database_url, file, lambda share: progress(say("{share} copied", share=f"{share:.0%}")))
    words = f"{made.file} holds the database: {made.bytes / 1_000_000:.1f} MB at schema {made.schema}."
    print_result(asdict(made), words, as_json=as_json)
