"""`recado restored`: keep a restored copy from answering messages again."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from recado.core.errors import InvalidInput
from recado.entrypoints.cli.options import AsJson
from recado.entrypoints.cli.output import print_result
from recado.entrypoints.cli.running import run

if TYPE_CHECKING:
    from recado.bootstrap import Container
    from recado.operations.restored import SilenceReport


def restored(
    yes: Annotated[bool, typer.Option("--yes", help="Do it. Without it the command only counts the jobs.")] = False,
    as_json: AsJson = False,
) -> None:
    """Drop the waiting jobs of a restored copy before its workers start, and let sweeps ignore earlier messages.

    Messages that wait in a backup may have been answered since. Without this command they are answered again.
    """
    silenced = run(lambda container: _silence(container, yes=yes))
    words = f"{silenced.dropped} jobs dropped, {silenced.left} sends left to look up, {silenced.numbers} numbers."
    print_result(asdict(silenced), words, as_json=as_json)


async def _silence(container: "Container", *, yes: bool) -> "SilenceReport":
    copy = container.restored_copy()
    if not yes:
        waiting = await copy.waiting()
        raise InvalidInput(
            f"{waiting} jobs wait to answer customers and would be dropped, and sweeps would ignore messages before "
            "now: confirm with --yes"
        )
    return await copy.silence()
