"""Compares what Twilio knows with what the database says: who was lost, who was told twice, who still waits.

Nothing here runs anything, so that a test can hand it journals in which all this has happened.

accepted        its webhook was answered 200 at least once, or its row exists (the 200 was lost on its way)
lost            answered 200 and no row; or called answered, and no text that speaks of it reached its customer; or
                called apologised, and no apology reached them
answered twice  two create calls that Twilio accepted speak of it; or one does, and it was apologised for; or a customer
                got more apologies than turns of theirs were apologised for
astray          a text that speaks of it reached somebody else
untrue          called suppressed or handed off, although a text that speaks of it reached its customer; `unconfirmed`
                does not count, for that is what the word means
stuck           no outcome at the end
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from recado.core.i18n import Text, translate
from tests.chaos.torture.judging.journal import Record, text
from tests.chaos.torture.judging.ledger import Row
from tests.chaos.torture.outside.texts import numbers_in

APOLOGY = translate("pt-BR", Text.APOLOGY)


@dataclass(frozen=True, slots=True)
class Heard:
    """An inbound message as Twilio knows it."""

    sid: str
    customer: str
    ours: str
    numbers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Told:
    """What a customer received: one create call that Twilio accepted, whatever it answered."""

    sid: str
    customer: str
    ours: str
    body: str


@dataclass(slots=True)
class Twilio:
    """The emulator's journal, sorted."""

    heard: dict[str, Heard] = field(default_factory=dict)
    answered: set[str] = field(default_factory=set)
    told: list[Told] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, records: Iterable[Record]) -> "Twilio":
        found = cls()
        for record in records:
            found._take(record)
        return found

    def _take(self, record: Record) -> None:
        sid, sender, to, body = (text(record, name) for name in ("sid", "from", "to", "body"))
        match record["event"]:
            case "inbound":
                self.heard[sid] = Heard(sid, sender, to, tuple(numbers_in(body)))
            case "webhook" | "fallback":
                self.statuses[str(record["status"])] += 1
                if record["status"] == 200:
                    self.answered.add(sid)
            case "create" | "reply":
                self.told.append(Told(sid, to, sender, body))


@dataclass(slots=True)
class Verdict:
    """The counts, and the SIDs behind those that must be zero."""

    accepted: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    resent: list[str] = field(default_factory=list)
    """Told twice where the owner prefers that to silence."""
    astray: list[str] = field(default_factory=list)
    untrue: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)

    @property
    def kept(self) -> bool:
        return not (self.lost or self.twice or self.astray or self.untrue or self.stuck)


def judge(twilio: Twilio, rows: Sequence[Row], prefers_delivery: Collection[str] = ()) -> Verdict:
    """`prefers_delivery` are the numbers of ours whose owners take a second message for a lost one."""
    verdict = Verdict()
    stored = {row.sid: row for row in rows}
    spoken_of = _spoken_of(twilio.told)
    for sid in sorted(twilio.answered | stored.keys()):
        verdict.accepted += 1
        row, heard = stored.get(sid), twilio.heard.get(sid)
        if row is None or heard is None:
            verdict.lost.append(sid)
            continue
        verdict.outcomes[f"suppressed:{row.reason}" if row.outcome == "suppressed" else row.outcome or "none"] += 1
        _judge_one(
            verdict, row, heard, [told for number in heard.numbers for told in spoken_of[number]], prefers_delivery
        )
    _judge_apologies(verdict, twilio, rows)
    return verdict


def _spoken_of(told: Iterable[Told]) -> Mapping[str, list[Told]]:
    found: defaultdict[str, list[Told]] = defaultdict(list)
    for each in told:
        for number in numbers_in(each.body):
            found[number].append(each)
    return found


def _judge_one(
    verdict: Verdict, row: Row, heard: Heard, told: Sequence[Told], prefers_delivery: Collection[str]
) -> None:
    mine = [each for each in told if (each.customer, each.ours) == (heard.customer, heard.ours)]
    sids = {each.sid for each in mine}
    if len(mine) < len(told):
        verdict.astray.append(row.sid)
    if len(sids) > 1 or (sids and row.outcome == "apologised"):
        (verdict.resent if heard.ours in prefers_delivery else verdict.twice).append(row.sid)
    match row.outcome:
        case None:
            verdict.stuck.append(row.sid)
        case "answered" | "superseded":
            if heard.numbers and not sids:
                verdict.lost.append(row.sid)
        case "handed_off":
            if sids:
                verdict.untrue.append(row.sid)
        case "suppressed":
            if sids and row.reason != "unconfirmed":
                verdict.untrue.append(row.sid)


def _judge_apologies(verdict: Verdict, twilio: Twilio, rows: Sequence[Row]) -> None:
    """Apologies bear no number, so they are counted: those a customer got, and the turns they were for."""
    got = Counter((told.customer, told.ours) for told in twilio.told if told.body == APOLOGY)
    turns: defaultdict[tuple[str, str], set[str | None]] = defaultdict(set)
    unsure: Counter[tuple[str, str]] = Counter()
    example: dict[tuple[str, str], str] = {}
    for row in rows:
        heard = twilio.heard.get(row.sid)
        if heard is None:
            continue
        lane = (heard.customer, heard.ours)
        if row.outcome == "apologised":
            turns[lane].add(row.turn)
            example[lane] = row.sid
        unsure[lane] += row.reason == "unconfirmed"
    for lane in got.keys() | turns.keys():
        if got[lane] < len(turns[lane]):
            verdict.lost.append(example[lane])
        elif got[lane] > len(turns[lane]) and not unsure[lane]:
            verdict.twice.append(example.get(lane, f"an apology to {lane[0]}"))
