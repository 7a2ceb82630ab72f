"""`recado verify`, `migrate`, `tick`, `backup` and `restored`: is everything as it should be, and what to do if not."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from recado.core.clock import SystemClock
from recado.core.errors import InvalidInput
from recado.entrypoints.cli.options import AsJson
from recado.entrypoints.cli.output import answer, document, sentence, table
from recado.entrypoints.cli.running import run, settings_for

if TYPE_CHECKING:
    from recado.bootstrap import Container
    from recado.core.queue.rounds import Ticked
    from recado.operations.restored import Silenced
    from recado.operations.verify import Report


def verify(as_json: AsJson = False) -> None:
    """Prove that every accepted message has exactly one outcome, or is on its way to one. Violations: exit 1."""
    report = run(lambda container: container.verifier().verify())
    if as_json:
        document(report.document())
    else:
        _tell(report)
    if not report.kept:
        count = len(report.violations) + report.more
        typer.echo(f"Error: {count} violation{'s' * (count != 1)} of the promise", err=True)
        raise typer.Exit(1)


_APART: Final[Mapping[str, str]] = {
    "more": "more violations",
    "orphans": "orphans",
    "paused_accounts": "paused accounts",
    "undelivered": "undelivered",
    "unknown_sends": "unknown sends",
    "unclaimed": "taken up by no worker",
}


def _tell(report: "Report") -> None:
    counts = report.document()
    rows = [["accepted", str(report.accepted)], ["open", str(report.open)]]
    for outcome, count in report.outcomes.items():
        rows.append([outcome, str(count)])
        if outcome == "suppressed":
            rows += [[f"  {reason}", str(of_it)] for reason, of_it in report.suppressed.items()]
    rows += [[words, str(counts[name])] for name, words in _APART.items() if counts[name]]
    table(None, rows)
    if report.violations:
        table(["Message", "Violation"], [[each.message_sid, each.why] for each in report.violations])
    else:
        sentence("No violations.")


def tick(
    seconds: Annotated[float, typer.Option(help="How long the round may take.")] = 25.0, as_json: AsJson = False
) -> None:
    """Do one round: free the leases of dead workers, start what is scheduled, run what is due. For timers and tests."""
    from recado.core.queue.rounds import LEAST_SECONDS, MOST_SECONDS

    if not LEAST_SECONDS <= seconds <= MOST_SECONDS:
        raise InvalidInput(f"--seconds must be a number from {LEAST_SECONDS:g} to {MOST_SECONDS:g}")
    ticked = run(lambda container: _one_round(container, seconds), purpose="worker")
    counts = asdict(ticked)
    words = f"{ticked.jobs} jobs run, {ticked.leases_freed} leases freed, {ticked.still_due} still due."
    answer(counts, words, as_json=as_json)


async def _one_round(container: "Container", seconds: float) -> "Ticked":
    from recado.entrypoints.worker import close

    try:
        return await container.worker().tick(seconds)
    finally:
        await close(container)


def migrate(as_json: AsJson = False) -> None:
    """Bring the database to this release's schema; an SQLite file that is not there is made, and no other command but
    `serve` makes one. On SQLite every later start migrates by itself."""
    settings = settings_for("cli")
    from recado.bootstrap import metadata
    from recado.migrations.starting import migrate as bring

    result = bring(settings.database_url, metadata)
    words = f"The database was at schema {result.before or 'none'} and is at {result.after} now."
    if not result.migrated:
        words = f"The database is at schema {result.after}, as this release wants it."
    answer(asdict(result), words, as_json=as_json)


# --- Backup -----------------------------------------------------------------------------------------------------------

_SAY_SECONDS: Final = 3.0


class _Share:
    """Says how far a long copy has come, to people only: on standard error."""

    def __init__(self) -> None:
        self._clock = SystemClock()
        self._said_at = self._clock.monotonic()

    def __call__(self, share: float) -> None:
        if self._clock.monotonic() - self._said_at >= _SAY_SECONDS:
            self._said_at = self._clock.monotonic()
            typer.echo(f"{share:.0%} copied", err=True)


def backup(
    file: Annotated[Path, typer.Argument(help="Where the copy goes; a file that is there is never overwritten.")],
    as_json: AsJson = False,
) -> None:
    """Copy the database to a file, while servers and workers go on. The copy is checked before it gets its name."""
    settings = settings_for("cli")
    from recado.migrations.starting import must_be_there
    from recado.operations.backup import back_up

    must_be_there(settings.database_url)
    made = back_up(settings.database_url, file, _Share())
    words = f"{made.file} holds the database: {made.bytes / 1_000_000:.1f} MB at schema {made.schema}."
    answer(asdict(made), words, as_json=as_json)


def restored(
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without, only say how much waits.")] = False,
    as_json: AsJson = False,
) -> None:
    """Silence a restored copy, before its workers start: what waits in it is dropped, and sweeps look back no further.

    What waits in a backup may have been answered since. Without this it is answered again.
    """
    silenced = run(lambda container: _silence(container, yes=yes))
    words = f"{silenced.dropped} jobs dropped, {silenced.left} sends left to be found out, {silenced.numbers} numbers."
    answer(asdict(silenced), words, as_json=as_json)


async def _silence(container: "Container", *, yes: bool) -> "Silenced":
    copy = container.restored_copy()
    if not yes:
        waiting = await copy.waiting()
        raise InvalidInput(
            f"{waiting} jobs wait to answer customers and would be dropped, and sweeps would look back no further than "
            "now: say --yes if that is meant"
        )
    return await copy.silence()
