"""What is asked of a bench, and the table that it prints."""

import argparse
import math
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, slots=True)
class Options:
    """`rounds` is how often everything is measured; `quick` is for trying the bench itself, not for figures.

    `place` is where what takes long to make is kept, and `only` the database to measure, for benches that say so.
    """

    rounds: int
    quick: bool
    place: Path | None = None
    only: str | None = None


def options(doc: str | None, *, keeps: bool = False) -> Options:
    """Read the command line; a bench's docstring is its help."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    if keeps:
        parser.add_argument("--place", type=Path, help="a folder that keeps the filled databases for the next time")
        parser.add_argument("--only", choices=["sqlite", "postgres"], help="one of the databases")
    parser.add_argument("--rounds", type=int, default=5, help="how often each contestant is measured (default 5)")
    parser.add_argument("--quick", action="store_true", help="small loads and two rounds: does the bench still run?")
    given = parser.parse_args()
    rounds = min(given.rounds, 2) if given.quick else max(1, given.rounds)
    return Options(rounds, given.quick, *((given.place, given.only) if keeps else ()))


def give_up(sentence: str) -> NoReturn:
    """End the bench with one clear sentence."""
    raise SystemExit(sentence)


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def percentile(values: Sequence[float], percent: float) -> float:
    """The value that `percent` of all are not above (nearest rank: with few samples it never flatters)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the result: what was measured, the median, how far the rounds were apart, and the target."""

    what: str
    values: Sequence[float]
    unit: str
    target: str = ""
    met: bool | None = None
    digits: int = 0
    note: str = ""

    @property
    def median(self) -> float:
        return median(self.values)

    def shown(self, value: float) -> str:
        return f"{value:,.{self.digits}f} {self.unit}".strip()


def at_least(what: str, values: Sequence[float], least: float, unit: str = "x", digits: int = 2) -> Figure:
    """A figure that should not be below `least`."""
    met = median(values) >= least
    return Figure(what, values, unit, f"≥ {least:g} {unit}", met, digits)


def at_most(what: str, values: Sequence[float], most: float, unit: str, digits: int = 0) -> Figure:
    """A figure that should not be above `most`."""
    return Figure(what, values, unit, f"≤ {most:g} {unit}", median(values) <= most, digits)


def show(title: str, figures: Sequence[Figure], *, remarks: Sequence[str] = ()) -> None:
    """Print the table, then say in words what missed its target."""
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    table = Table(title=title, title_justify="left", title_style="bold")
    for column, justify in (("", "left"), ("median", "right"), ("lowest – highest", "right"), ("target", "left")):
        table.add_column(column, justify="right" if justify == "right" else "left")
    table.add_column("")
    for figure in figures:
        spread = f"{figure.shown(min(figure.values))} – {figure.shown(max(figure.values))}"
        verdict = {True: "met", False: "MISSED", None: ""}[figure.met]
        table.add_row(figure.what, figure.shown(figure.median), spread, figure.target, verdict or figure.note)
    console.print(table)
    for remark in remarks:
        console.print(f"  {remark}", markup=False)
    for figure in figures:
        if figure.met is False:
            console.print(f"  Target missed: {figure.what} is {figure.shown(figure.median)}, not {figure.target}.")
    console.print()


def progress(text: str) -> None:
    """Print a progress line to standard error; the table goes to standard output."""
    print(f"  {text}", file=sys.stderr, flush=True)
