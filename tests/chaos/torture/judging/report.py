"""What a torture says at its end: one table for people, one document for programs."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from recado.entrypoints.cli.output import print_table
from tests.chaos.torture.judging.events import EventVerdict
from tests.chaos.torture.judging.oracle import Verdict

SETTLED_WITHIN: Final = 240.0
"""Seconds in which a send whose fate is unknown should be settled."""


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Some durations, by their percentiles."""

    count: int
    p50: float
    p99: float
    most: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> "Percentiles":
        ordered = sorted(seconds)
        return cls(len(ordered), _at(ordered, 0.5), _at(ordered, 0.99), ordered[-1] if ordered else 0.0)

    def __str__(self) -> str:
        return f"p50 {self.p50:.1f} s, p99 {self.p99:.1f} s, max {self.most:.1f} s ({self.count})"


def _at(ordered: Sequence[float], share: float) -> float:
    """The nearest-rank percentile."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0


@dataclass(slots=True)
class Outcome:
    """Everything a run has found."""

    seed: int
    cycles: int
    backend: str
    database: str
    lease: float
    seconds: float = 0.0
    units: list[float] = field(default_factory=list)
    """Seconds that a start took, all the time: the pace was measured in these."""
    drained_in: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    written: int = 0
    unaccepted: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    verdict: Verdict = field(default_factory=Verdict)
    recovery: Percentiles = field(default_factory=lambda: Percentiles.of([]))
    unrecovered: int = 0
    unexplained: list[str] = field(default_factory=list)
    unknown: Percentiles = field(default_factory=lambda: Percentiles.of([]))
    unknown_left: int = 0
    sound: str = "not checked"
    violations: list[str] = field(default_factory=list)
    surprises: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    given_back: int = 0
    not_taken_back: int = 0
    interrupted: bool = False
    events: EventVerdict | None = None
    """None where nothing was told to anybody."""
    switched_on: int = 0

    @property
    def kept(self) -> bool:
        """Nobody was lost, nobody told twice, nothing is stuck, and the database is well."""
        broken = self.violations or self.surprises or self.unknown_left or self.unfinished or self.interrupted
        told = self.events is None or self.events.kept
        return self.verdict.kept and told and self.sound == "ok" and not broken

    def document(self) -> dict[str, object]:
        verdict = self.verdict
        return {
            "seed": self.seed,
            "cycles": self.cycles,
            "backend": self.backend,
            "database": self.database,
            "lease_seconds": self.lease,
            "seconds": round(self.seconds, 1),
            "start_seconds": _document(Percentiles.of(self.units)),
            "drained_in": round(self.drained_in, 1),
            "faults": dict(self.faults),
            "given_back": {"done": self.given_back, "refused": self.not_taken_back},
            "written": self.written,
            "unaccepted": self.unaccepted,
            "accepted": verdict.accepted,
            "outcomes": dict(sorted(verdict.outcomes.items())),
            "lost": verdict.lost,
            "answered_twice": verdict.twice,
            "resent": verdict.resent,
            "astray": verdict.astray,
            "untrue": verdict.untrue,
            "stuck": verdict.stuck,
            "recovery": _document(self.recovery),
            "unrecovered": self.unrecovered,
            "unexplained": self.unexplained,
            "unknown_sends": _document(self.unknown) | {"left": self.unknown_left},
            "integrity": self.sound,
            "violations": self.violations,
            "surprises": self.surprises,
            "interrupted": self.interrupted,
            "events": None if self.events is None else _events_document(self.events, self.switched_on),
            "kept": self.kept,
        }


def _document(spans: Percentiles) -> dict[str, float]:
    return {"count": spans.count, "p50": spans.p50, "p99": spans.p99, "max": spans.most}


def _events_document(found: EventVerdict, switched_on: int) -> dict[str, object]:
    return {
        "logged": found.logged,
        "posts": found.posts,
        "repeated": found.repeated,
        "moods": dict(found.moods),
        "switched_on": switched_on,
        "connections": found.connections,
        **found.broken,
    }


def show(outcome: Outcome) -> None:
    """The table, and what made it fail."""
    print_table(["", "Torture"], _rows(outcome))
    for title, found in _evidence(outcome).items():
        if found:
            print_table([f"{title}: {len(found)}"], [[each] for each in found[:20]])


def _rows(outcome: Outcome) -> list[list[str]]:
    verdict = outcome.verdict
    reasons = {name: count for name, count in sorted(verdict.outcomes.items()) if name.startswith("suppressed:")}
    rows = [
        ["seed", str(outcome.seed)],
        ["on", f"{outcome.backend} over {outcome.database}, lease {outcome.lease:g} s{_shortened(outcome.lease)}"],
        ["cycles", f"{outcome.cycles} in {outcome.seconds:.0f} s, of which {outcome.drained_in:.0f} s to settle"],
        ["pace", f"a start took {_range(outcome.units)}"],
        ["faults", ", ".join(f"{name} {count}" for name, count in sorted(outcome.faults.items()))],
        [
            "given back",
            f"{outcome.given_back} conversations by a person to the agent, refused {outcome.not_taken_back}",
        ],
        ["written", f"{outcome.written}, not accepted by anybody {outcome.unaccepted}"],
        ["webhooks", ", ".join(f"{_status(name)} {count}" for name, count in outcome.statuses.most_common())],
        ["accepted", str(verdict.accepted)],
        *([name, str(verdict.outcomes[name])] for name in ("answered", "superseded", "handed_off", "apologised")),
        *([name, str(count)] for name, count in reasons.items()),
        ["lost", str(len(verdict.lost))],
        ["answered twice", str(len(verdict.twice))],
        ["resent by policy", str(len(verdict.resent))],
        ["astray", str(len(verdict.astray))],
        ["untrue", str(len(verdict.untrue))],
        ["open when interrupted" if outcome.interrupted else "stuck", str(len(verdict.stuck))],
        ["recovery", f"{outcome.recovery}; not seen to recover {outcome.unrecovered}"],
        ["leases lost alive", str(len(outcome.unexplained))],
        ["unknown sends", f"settled {outcome.unknown}; left {outcome.unknown_left}"],
        ["database", outcome.sound],
        ["verify", "no violations" if not outcome.violations else f"{len(outcome.violations)} violations"],
        *([] if outcome.events is None else _event_rows(outcome.events, outcome.switched_on)),
    ]
    return [
        *rows,
        ["promise", "kept" if outcome.kept else "not played to its end" if outcome.interrupted else "BROKEN"],
    ]


def _event_rows(found: EventVerdict, switched_on: int) -> list[list[str]]:
    return [
        ["events", f"{found.logged}; posted {found.posts} times, of which {found.repeated} again"],
        ["endpoint", ", ".join(f"{mood} {count}" for mood, count in found.moods.most_common())],
        ["endpoint switched on", f"{switched_on} times"],
        ["readers", f"{found.connections} connections"],
        *([f"events {name}", str(len(ids))] for name, ids in found.broken.items()),
    ]


def _range(units: Sequence[float]) -> str:
    return f"{min(units):.1f} to {max(units):.1f} s, p50 {Percentiles.of(units).p50:.1f} s" if units else "no time"


def _shortened(lease: float) -> str:
    return "" if lease == 30 else " (shortened; 30 by default)"


def _status(name: str) -> str:
    return "no answer" if name == "None" else name


def _evidence(outcome: Outcome) -> Mapping[str, Sequence[str]]:
    verdict = outcome.verdict
    return {
        "Lost": verdict.lost,
        "Answered twice": verdict.twice,
        "Astray": verdict.astray,
        "Untrue": verdict.untrue,
        "Stuck": verdict.stuck,
        "Unfinished": outcome.unfinished,
        "Violations": outcome.violations,
        "Surprises": outcome.surprises,
        "Leases lost alive": outcome.unexplained,
        **({} if outcome.events is None else {f"Events {name}": ids for name, ids in outcome.events.broken.items()}),
    }
