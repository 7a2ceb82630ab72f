"""Play many worlds, or one of them again.

python -m tests.chaos.simulator --seeds 200 --jobs 2
python -m tests.chaos.simulator --seed 17 --trace
"""

import argparse
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence

from tests.chaos.simulator.mutations import MUTATIONS, Bite, bite, simulate_without
from tests.chaos.simulator.simulation import Verdict, simulate

MOST = 8
"""How many violations of one seed are told."""
REPLAY = "replay: python -m tests.chaos.simulator --seed {seed} --trace"


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when every world kept the promise."""
    options = _parser().parse_args(arguments)
    if options.teeth:
        return _show_teeth(range(options.start, options.start + options.seeds), options.jobs)
    if options.seed is not None:
        tell = _print if options.trace else None
        if options.mutate is None:
            verdict = simulate(options.seed, tell=tell)
        else:
            verdict = simulate_without(options.mutate, options.seed, alone=options.alone, tell=tell)
        _print(
            f"seed {verdict.seed}: {verdict.messages} messages, {verdict.days:.2f} days, {verdict.steps} steps, "
            f"{verdict.cpu:.2f}s, digest {verdict.digest:08x}, {dict(verdict.outcomes)}"
        )
        _print_violations(verdict)
        return 1 if verdict.violations else 0
    return _play_many(range(options.start, options.start + options.seeds), options.jobs)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.simulator", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many worlds")
    parser.add_argument("--start", type=int, default=1, help="the first seed")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes at once")
    parser.add_argument("--seed", type=int, help="play this one world")
    parser.add_argument("--trace", action="store_true", help="with --seed: tell every event")
    parser.add_argument("--teeth", action="store_true", help="take each fence away and see what happens")
    parser.add_argument("--mutate", choices=sorted(MUTATIONS), help="with --seed: without this fence and its wall")
    parser.add_argument("--alone", action="store_true", help="with --mutate: the wall stays")
    return parser


def _play_many(seeds: Sequence[int], jobs: int) -> int:
    began, total, failed = time.perf_counter(), Summary(), 0
    for verdict in _verdicts(seeds, jobs):
        total.add(verdict)
        if verdict.violations:
            failed += 1
            _print_violations(verdict)
        if total.seeds % 100 == 0:
            _print(f"… {total.seeds} seeds, {total.days:.0f} days, {failed} failed")
    total.print_summary(time.perf_counter() - began)
    _print(f"{failed} of {total.seeds} seeds broke the promise" if failed else "the promise was kept")
    return 1 if failed else 0


def _verdicts(seeds: Sequence[int], jobs: int) -> Iterator[Verdict]:
    if jobs == 1:
        yield from map(simulate, seeds)
        return
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap_unordered(simulate, seeds, chunksize=4)


def _show_teeth(seeds: Sequence[int], jobs: int) -> int:
    """Return 0 when every backstop held alone and every pair, once gone, was missed."""
    tasks = [(name, seeds, alone) for name in MUTATIONS for alone in (True, False)]
    bitten = True
    _print("| fence taken away | wall behind it | fence alone | fence and wall |")
    _print("|---|---|---|---|")
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        found = iter(pool.imap(bite, tasks, chunksize=1))
        for name, alone, both in zip(MUTATIONS, found, found, strict=True):
            _print(f"| {name} | {MUTATIONS[name].behind} | {_held(alone)} | {_missed(both)} |")
            bitten = bitten and alone.seed is None and both.seed is not None
            for unmatched in (*alone.unmatched, *both.unmatched):
                bitten = False
                _print(f"{name}: the edit {unmatched!r} met no statement")
    return 0 if bitten else 1


def _held(alone: Bite) -> str:
    if alone.seed is not None:
        return f"broken at seed {alone.seed}: {alone.violation}"
    return f"held for {alone.seeds} seeds" + (f", refused {alone.refusals} times" if alone.refusals else "")


def _missed(both: Bite) -> str:
    if both.seed is None:
        return f"nothing noticed in {both.seeds} seeds"
    return f"seed {both.seed} (the {both.seeds}.): {both.violation}"


class Summary:
    """Adds up what many worlds came to."""

    def __init__(self) -> None:
        self.seeds = self.messages = 0
        self.days = self.cpu = 0.0
        self.outcomes: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()

    def add(self, verdict: Verdict) -> None:
        self.seeds += 1
        self.messages += verdict.messages
        self.days += verdict.days
        self.cpu += verdict.cpu
        self.outcomes += verdict.outcomes
        self.counts += verdict.counts

    def print_summary(self, wall: float) -> None:
        minutes = wall / 60
        _print(
            f"{self.seeds} seeds, {self.messages} messages, {self.days:.1f} simulated days in {wall:.1f}s: "
            f"{self.seeds / minutes:.0f} seeds and {self.days / minutes:.0f} simulated days per minute, "
            f"{self.cpu / max(1, self.seeds):.3f}s of CPU a seed"
        )
        _print("outcomes: " + ", ".join(f"{name} {n}" for name, n in sorted(self.outcomes.items())))
        _print("faults: " + ", ".join(f"{name} {n}" for name, n in sorted(self.counts.items())))


def _print_violations(verdict: Verdict) -> None:
    if verdict.violations:
        _print(f"seed {verdict.seed} broke the promise:")
        for violation, times in list(Counter(verdict.violations).items())[:MOST]:
            _print(f"  {violation}" + (f" ({times} times)" if times > 1 else ""))
        _print("  " + REPLAY.format(seed=verdict.seed))


def _print(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - this is what it is for


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":  # Sets of strings must have one order, or a seed is not a replay.
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, "-m", "tests.chaos.simulator", *sys.argv[1:]])  # noqa: S606
    sys.exit(main())
