"""`python -m tests.chaos.torture`: see `--help`."""

import argparse
import random
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from recado.core.clock import SystemClock
from recado.core.telemetry import configure_logging
from recado.entrypoints.cli.output import print_document
from tests.chaos.torture.installation import BACKENDS
from tests.chaos.torture.judging.report import show
from tests.chaos.torture.parallel import OWN_DATABASE, side_by_side
from tests.chaos.torture.run import Plan, Torture
from tests.chaos.torture.servers import servers_for


def main() -> int:
    """Play, show, and clear up; 1 when the promise was broken."""
    asked = _parser().parse_args()
    configure_logging("warning", sys.stderr, SystemClock())
    asked.database = asked.database or OWN_DATABASE.get(asked.backend or "", "sqlite")
    asked.backend = asked.backend or asked.database
    if "," in asked.backend:
        return side_by_side(asked.backend.split(","), sys.argv[1:])
    if asked.backend not in BACKENDS.get(asked.database, ()):
        known = ", ".join(f"{backend} over {database}" for database, all_ in BACKENDS.items() for backend in all_)
        sys.stderr.write(f"{asked.backend} over {asked.database} cannot be tortured yet; there is {known}\n")
        return 2
    seed = random.randrange(1_000_000) if asked.seed is None else asked.seed  # noqa: S311 - no secret
    pace = (asked.cycles, seed, asked.lease, asked.rate, tuple(asked.every))
    plan = Plan(*pace, asked.backend, asked.database, asked.events)
    directory = Path(tempfile.mkdtemp(prefix=f"recado-torture-{seed}-"))
    sys.stderr.write(f"Seed {seed}; everything is in {directory}\n")
    for number in (signal.SIGINT, signal.SIGTERM):  # Also where a shell has told us to ignore them.
        signal.signal(number, signal.default_int_handler)
    teller = Teller()
    kept = False
    try:
        with servers_for(asked.backend, asked.database, seed) as servers:
            outcome = Torture(plan, directory, teller.say, servers).play()
        teller.end()
        print_document(outcome.document()) if asked.json else show(outcome)
        kept = outcome.kept
    finally:
        _clear_up(directory, kept=kept and not asked.keep)
    return 0 if kept else 1


def _clear_up(directory: Path, *, kept: bool) -> None:
    if kept:
        shutil.rmtree(directory, ignore_errors=True)
    else:
        sys.stderr.write(f"Journals, logs and the database are kept in {directory}\n")


class Teller:
    """Progress: a line that is written over on a terminal, a line every ten seconds elsewhere."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._told = 0

    def say(self, line: str) -> None:
        if self._terminal:
            sys.stderr.write(f"\r\x1b[K{line}")
        elif self._told % 10 == 0:
            sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
        self._told += 1

    def end(self) -> None:
        if self._terminal:
            sys.stderr.write("\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.torture", description="Kill Recado under load.")
    parser.add_argument("--cycles", type=int, default=60, help="kills (default 60)")
    parser.add_argument("--seed", type=int, help="repeats the faults and the load (default: drawn and named)")
    parser.add_argument(
        "--backend",
        help="who wakes the workers (default: the database itself); several with commas are played side by side, "
        "each over the database given or its own",
    )
    parser.add_argument("--database", help="where everything is stored (default: the backend's own, else sqlite)")
    parser.add_argument("--lease", type=float, default=30.0, help="RECADO_LEASE_SECONDS (default 30, the product's)")
    parser.add_argument("--rate", type=float, default=3.0, help="messages per start of a process (default 3)")
    parser.add_argument(
        "--every",
        type=float,
        nargs=2,
        default=(0.3, 2.7),
        metavar=("LEAST", "MOST"),
        help="between two kills, in starts of a process (default 0.3 2.7); a start counts as a second at least",
    )
    parser.add_argument("--events", action="store_true", help="also an endpoint and readers of events, and their judge")
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")
    parser.add_argument("--keep", action="store_true", help="keep the directory of a run that went well")
    return parser


if __name__ == "__main__":
    sys.exit(main())
