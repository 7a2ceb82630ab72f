"""Compares what the shops' own programs were given with the log of events, and the log with what it tells of.

Nothing here runs anything, so that a test can hand it journals in which all this has happened.

untold       a message that no event says was received, or whose outcome is not what its last event says
unnumbered   an event that no reader can see
missing      an event that the endpoint never took; or that a reader was never given
unknown      something that was sent and is in no log, as what is told before its transaction and then rolled back
unordered    an endpoint was sent an event for the first time before an earlier one of the same customer; a reader was
             given anything but the log
forged       what was sent was not signed with the endpoint's secret
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from tests.chaos.torture.judging.journal import Record, text


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """An event as stored. `number` is None where nobody has numbered it."""

    id: str
    shop: str
    lane: str
    number: int | None


@dataclass(frozen=True, slots=True)
class Told:
    """A message as stored, and what the events about it say: whether it was received, and its outcome at last."""

    message: str
    outcome: str | None
    was_received: bool
    last_told: str | None


@dataclass(frozen=True, slots=True)
class ReadBy:
    """What a reader was given, in order."""

    name: str
    shop: str
    ids: Sequence[str]
    connections: int = 1


@dataclass(slots=True)
class EventVerdict:
    """The counts, and the ids behind those that must be zero."""

    logged: int = 0
    posts: int = 0
    repeated: int = 0
    moods: Counter[str] = field(default_factory=Counter)
    connections: int = 0
    untold: list[str] = field(default_factory=list)
    unnumbered: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    unordered: list[str] = field(default_factory=list)
    forged: list[str] = field(default_factory=list)

    @property
    def broken(self) -> Mapping[str, Sequence[str]]:
        """Return what must be empty, by its name."""
        names = ("untold", "unnumbered", "missing", "unknown", "unordered", "forged")
        return {name: getattr(self, name) for name in names}

    @property
    def kept(self) -> bool:
        return not any(self.broken.values())


def judge_events(
    log: Sequence[LoggedEvent], told: Iterable[Told], received: Iterable[Record], readers: Iterable[ReadBy]
) -> EventVerdict:
    """Return what holds. `log` is in the order of its numbers."""
    verdict = EventVerdict(logged=len(log))
    verdict.unnumbered = [event.id for event in log if event.number is None]
    verdict.untold = [each.message for each in told if not each.was_received or each.outcome != each.last_told]
    _judge_endpoint(verdict, log, list(received))
    for reader in readers:
        _judge_reader(verdict, [event.id for event in log if event.shop == reader.shop], reader)
    return verdict


def _judge_endpoint(verdict: EventVerdict, log: Sequence[LoggedEvent], received: Sequence[Record]) -> None:
    known = {(event.shop, event.id): event for event in log}
    taken = {(text(each, "shop"), text(each, "id")) for each in received if each["taken"]}
    sent: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for each in received:
        event = known.get((text(each, "shop"), text(each, "id")))
        verdict.moods[text(each, "mood")] += 1
        if not each["signed"]:
            verdict.forged.append(text(each, "id"))
        if event is None:
            verdict.unknown.append(text(each, "id"))
        else:
            sent[event.lane].setdefault(event.id)
    verdict.posts = len(received)
    verdict.repeated = len(received) - sum(len(ids) for ids in sent.values()) - len(verdict.unknown)
    verdict.missing += [event.id for key, event in known.items() if key not in taken]
    place = {event.id: number for number, event in enumerate(log)}
    for ids in sent.values():
        first = [place[id_] for id_ in ids]
        verdict.unordered += [log[late].id for early, late in pairwise(first) if late < early]


def _judge_reader(verdict: EventVerdict, expected: Sequence[str], reader: ReadBy) -> None:
    verdict.connections += reader.connections
    given, wanted = set(reader.ids), set(expected)
    verdict.missing += [f"{id_} ({reader.name})" for id_ in expected if id_ not in given]
    verdict.unknown += [f"{id_} ({reader.name})" for id_ in reader.ids if id_ not in wanted]
    of_log = [id_ for id_ in expected if id_ in given]
    got = [id_ for id_ in reader.ids if id_ in wanted]
    verdict.unordered += [
        f"{got[n] if n < len(got) else 'the end'} ({reader.name})"
        for n in range(max(len(got), len(of_log)))
        if got[n : n + 1] != of_log[n : n + 1]
    ][:1]
