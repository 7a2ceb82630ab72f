"""`recado restored`: keep a restored copy from answering anybody twice."""

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
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without, only say how much waits.")] = False,
    as_json: AsJson = False,
) -> None:
    """Silence a restored copy, before its workers start: what waits in it is dropped, and sweeps look back no further.

    What waits in a backup may have been answered since. Without this it is answered again.
    """
    silenced = run(lambda container: _silence(container, yes=yes))
    words = f"{silenced.dropped} jobs dropped, {silenced.left} sends left to be found out, {silenced.numbers} numbers."
    print_result(asdict(silenced), words, as_json=as_json)


async def _silence(container: "Container", *, yes: bool) -> "SilenceReport":
    copy = container.restored_copy()
    if not yes:
        waiting = await copy.waiting()
        raise InvalidInput(
            f"{waiting} jobs wait to answer customers and would be dropped, and sweeps would look back no further than "
            "now: say --yes if that is meant"
        )
    return await copy.silence()
