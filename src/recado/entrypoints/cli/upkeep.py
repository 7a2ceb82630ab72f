"""`recado verify`, `doctor`, `migrate`, `tick` and `backup`: is everything as it should be, and what to do if not."""

import asyncio
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from recado.core.clock import SystemClock
from recado.core.database.engine import on_postgresql
from recado.core.errors import DomainError, InvalidInput
from recado.entrypoints.cli.options import AsJson
from recado.entrypoints.cli.output import answer, document, sentence, table
from recado.entrypoints.cli.running import run, settings_for

if TYPE_CHECKING:
    from recado.bootstrap import Container
    from recado.core.queue.delivery import BrokerState
    from recado.core.queue.rounds import Ticked
    from recado.operations.restored import Silenced
    from recado.operations.verify import Report
    from recado.settings import Settings


def verify(as_json: AsJson = False) -> None:
    """Prove that every accepted message has exactly one outcome, or is on its way to one. Violations: exit 1."""
    report = run(lambda container: container.verifier().verify(), looks=True)
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
    """Bring the database to this release's schema. On SQLite every start does it by itself."""
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
    silenced = run(lambda container: _silence(container, yes=yes), looks=True)
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


# --- Doctor -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    name: str
    ok: bool
    says: str


def doctor(as_json: AsJson = False) -> None:
    """Look at the settings, the database and the broker. Whatever keeps Recado from serving: exit 1."""
    findings = _examine()
    wrong = [each for each in findings if not each.ok]
    if as_json:
        document({"ok": not wrong, "findings": [asdict(each) for each in findings]})
    else:
        for each in findings:
            if each.ok:
                sentence(f"{each.name}: {each.says}")
    for each in wrong:
        typer.echo(f"Error: {each.says}", err=True)
    if wrong:
        raise typer.Exit(1)


def _examine() -> list[Finding]:
    settings, findings = _settings()
    if settings is None or not on_postgresql(settings.database_url):
        findings.append(_sqlite())
    if settings is not None:
        findings.append(_database(settings))
        findings += _broker(settings)
    return findings


def _settings() -> "tuple[Settings | None, list[Finding]]":
    """As for serving, which asks for most."""
    from recado.settings import InvalidSettings, load_settings

    try:
        settings = load_settings(os.environ, purpose="serve")
    except InvalidSettings as error:
        return None, [Finding("settings", False, problem.sentence) for problem in error.problems]
    return settings, [Finding("settings", True, "complete, as far as can be told without trying them")]


def _sqlite() -> Finding:
    from recado.core.database.sqlite import SAFE_SQLITE, sqlite_is_safe, sqlite_module

    version = sqlite_module().sqlite_version
    if sqlite_is_safe():
        return Finding("sqlite", True, f"version {version}")
    least = ".".join(str(number) for number in SAFE_SQLITE)
    return Finding(
        "sqlite", False, f"SQLite {version} can corrupt a database that several processes write: use {least}"
    )


def _database(settings: "Settings") -> Finding:
    from recado.migrations import HEAD
    from recado.migrations.runner import file_of, revision_of

    if on_postgresql(settings.database_url):
        return _postgres(settings)
    try:
        path = file_of(settings.database_url)
        found = revision_of(path)
    except DomainError as error:
        return Finding("database", False, str(error))
    if not path.exists():
        return _to_be_made(path)
    if not os.access(path, os.W_OK):
        return Finding("database", False, f"{path} cannot be written by this user: change its owner or its mode")
    if found != HEAD:
        schema = found or "none"
        return Finding("database", False, f"{path} is at schema {schema} instead of {HEAD}: run recado migrate")
    return Finding("database", True, f"{path} is at schema {found}")


def _postgres(settings: "Settings") -> Finding:
    from recado.migrations import HEAD
    from recado.migrations.postgres import revision_of

    try:
        found = revision_of(settings.database_url)
    except DomainError as error:
        return Finding("database", False, str(error))
    if found != HEAD:
        schema = found or "none"
        return Finding("database", False, f"PostgreSQL is at schema {schema} instead of {HEAD}: run recado migrate")
    return Finding("database", True, f"PostgreSQL is at schema {found}")


def _broker(settings: "Settings") -> list[Finding]:
    """Whether the broker can be reached, and what about it is not as it should be."""
    from recado.bootstrap import Container

    broker = Container(settings=settings).broker()
    if broker is None:
        return []

    async def look() -> "BrokerState":
        try:
            return await broker.state()
        finally:
            await broker.close()

    state = asyncio.run(look())
    if state.warnings:
        return [Finding(state.name, state.reachable, warning) for warning in state.warnings]
    detail = ", ".join(f"{name} {value}" for name, value in state.detail)
    return [Finding(state.name, True, f"reachable, {detail}")]


def _to_be_made(path: Path) -> Finding:
    if not os.access(path.parent, os.W_OK):
        return Finding("database", False, f"{path} cannot be made by this user: {path.parent} is not writable")
    return Finding("database", True, f"{path} is not there yet; the first start makes it")
