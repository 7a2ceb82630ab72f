"""`recado verify`: is the promise kept?"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import typer

from recado.entrypoints.cli.endings import warn_of
from recado.entrypoints.cli.options import AsJson
from recado.entrypoints.cli.output import print_document, print_line, print_table
from recado.entrypoints.cli.running import run
from recado.entrypoints.cli.texts.language import say

if TYPE_CHECKING:
    from recado.operations.verify import VerificationReport


def verify(as_json: AsJson = False) -> None:
    """Check that every accepted message has exactly one outcome, or will get one. Exit 1 on violations."""
    report = run(lambda container: container.verifier().verify())
    if as_json:
        print_document(report.document())
    else:
        _tell(report)
    if not report.kept:
        count = len(report.violations) + report.more
        warn_of(f"{count} violation{'s' * (count != 1)} of the promise")
        raise typer.Exit(1)


_APART: Final[Mapping[str, str]] = {
    "more": "more violations",
    "orphans": "orphans",
    "paused_accounts": "paused accounts",
    "undelivered": "undelivered",
    "resent": "parts that arrived twice by policy",
    "unknown_sends": "unknown sends",
    "unclaimed": "not claimed by any worker",
}


def _tell(report: "VerificationReport") -> None:
    counts = report.document()
    rows = [[say("accepted"), str(report.accepted)], [say("open"), str(report.open)]]
    for outcome, count in report.outcomes.items():
        rows.append([outcome, str(count)])
        if outcome == "suppressed":
            rows += [[f"  {reason}", str(of_it)] for reason, of_it in report.suppressed.items()]
    rows += [[say(words), str(counts[name])] for name, words in _APART.items() if counts[name]]
    print_table(None, rows)
    if report.violations:
        print_table(["Message", "Violation"], [[each.message_sid, each.why] for each in report.violations])
    else:
        print_line("No violations.")


# --- Backup -----------------------------------------------------------------------------------------------------------
