"""Customers who write in bursts, and a Twilio that asks again.

Twilio's own habits (once more when no connection came about, then the fallback) are the emulator's; a webhook that
still got no 200 is asked again here under the same SID, some times, seconds apart. Whatever was answered 200 once is
accepted; who gets no 200 after all that is forgotten by everybody, as at Twilio.
"""

import heapq
import json
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPException
from typing import Final

from recado.core.clock import SystemClock
from recado.emulator.phone.client import EmulatorClient
from tests.chaos.torture.installation import SHOPS, Installation, Shop
from tests.chaos.torture.judging.journal import Tail, text
from tests.chaos.torture.outside.texts import PERSON, POISON, START, STOP, number_of, numbers_in

LANES: Final = {"Padaria": 160, "Oficina": 60, "Entregas": 80}
"""Customers of each shop; the first of a shop's also write to the others."""
FAULTS: Final = ("accept_then_500", "accept_then_hang", "accept_then_reset", "refuse_500", "throttle", "no_sid", "slow")
FAULTY: Final = 0.06
"""The share of messages whose answer meets a fault of the create call."""
DOUBLED: Final = 0.1
ASK_AGAIN_SECONDS: Final = 4.0
ASK_AGAIN_TIMES: Final = 8


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who writes to one shop, and how they are."""

    address: str
    shop: Shop
    habit: str


@dataclass(slots=True)
class _Letter:
    """A message on its way."""

    sid: str
    person: Person
    body: str
    asked_at: float
    asked: int = 1


def people(chance: random.Random) -> list[Person]:
    """Everybody; a few want a person, have enough, or say what breaks the model."""
    return [
        Person(f"{shop.number.partition('+')[0]}+55119{80_000_000 + n}", shop, _habit(shop, chance))
        for shop in SHOPS
        for n in range(LANES[shop.name])
    ]


def _habit(shop: Shop, chance: random.Random) -> str:
    drawn = chance.random()
    if shop.agent == "llm":
        return "wants a person" if drawn < 0.2 else "poisons" if drawn < 0.26 else "plain"
    return "stops" if drawn < 0.04 and shop.number.startswith("whatsapp:") else "plain"


class Load(threading.Thread):
    """Writes until it is told to stop; then waits for the answers to what it wrote."""

    def __init__(self, installation: Installation, rate: Callable[[], float]) -> None:
        super().__init__(name="torture-load", daemon=True)
        self._twilio: EmulatorClient = installation.emulator
        self._heard = Tail(installation.twilio_journal)
        self._journal = installation.load_journal.open("a", encoding="utf-8")
        self._chance = random.Random(f"load {installation.seed}")  # noqa: S311 - no secret
        self._people = people(self._chance)
        self._rate = rate
        self._planned: list[_Planned] = []
        self._waiting: dict[str, _Letter] = {}
        self._stopping = threading.Event()
        self._clock = SystemClock()
        self.written = 0
        self.accepted: set[str] = set()
        self.given_up = 0
        self.failure: Exception | None = None

    def run(self) -> None:
        try:
            begins = self._clock.monotonic()
            while not self._stopping.is_set():
                now = self._clock.monotonic()
                while begins <= now:
                    begins += self._plan_burst(begins)
                while self._planned and self._planned[0].due <= now:
                    line = heapq.heappop(self._planned)
                    self._write(line.person, line.body)
                self._ask_again()
                self._stopping.wait(0.05)
        except Exception as error:  # noqa: BLE001 - whatever it is, the run must hear of it
            self.failure = error

    def close(self, seconds: float, meanwhile: Callable[[], None]) -> None:
        """Write no more, and let what is on its way arrive or be given up."""
        self._stopping.set()
        self.join()
        end = self._clock.monotonic() + seconds
        pause = threading.Event()
        while self._waiting and self._clock.monotonic() < end:
            self._ask_again()
            meanwhile()
            pause.wait(0.2)
        self._journal.close()

    # --- Writing ------------------------------------------------------------------------------------------------------

    def _plan_burst(self, begins: float) -> float:
        """Somebody writes a few lines from `begins` on; the seconds until the next one does."""
        person = self._chance.choice(self._people)
        bodies = list(self._bodies(person, self._chance.choices((1, 2, 3, 4), (60, 20, 12, 8))[0]))
        for body in bodies:
            heapq.heappush(self._planned, _Planned(begins, person, body))
            begins += self._chance.uniform(0.0, 0.8)
        return self._chance.expovariate(self._rate() / len(bodies))

    def _bodies(self, person: Person, size: int) -> Iterator[str]:
        """One number a message; a word that means something to Twilio or us stands alone and has none."""
        if person.habit == "stops" and self._chance.random() < 0.4:
            yield self._chance.choice((STOP, START))
            return
        for _ in range(size):
            self.written += 1
            extra = ""
            if person.habit == "wants a person" and self._chance.random() < 0.5:
                extra = f" {PERSON}"
            if person.habit == "poisons" and self._chance.random() < 0.5:
                extra = f" {POISON}"
            yield f"pedido {number_of(self.written)}{extra}"

    def _write(self, person: Person, body: str) -> None:
        sid = f"SM{self._chance.getrandbits(128):032x}"
        if self._chance.random() < FAULTY:
            self._spoil(body)
        duplicates = self._chance.choice((1, 1, 2, 3)) if self._chance.random() < DOUBLED else 0
        letter = _Letter(sid, person, body, self._clock.monotonic())
        self._waiting[sid] = letter
        self._note(letter)
        self._post(letter, duplicates)

    def _spoil(self, body: str) -> None:
        """The create call of whatever answers this goes wrong."""
        kind = self._chance.choice(FAULTS)
        for number in numbers_in(body):
            self._safely(partial(self._twilio.fault, kind, body=number, seconds=3.0 if kind == "slow" else None))

    def _post(self, letter: _Letter, duplicates: int = 0) -> None:
        person = letter.person
        self._safely(
            lambda: self._twilio.send(
                person.address, person.shop.number, letter.body, duplicates=duplicates, sid=letter.sid
            )
        )

    def _safely(self, call: Callable[[], object]) -> None:
        """An emulator that stands still for long is asked again later, like everything else."""
        try:
            call()
        except (OSError, HTTPException):
            return

    def _note(self, letter: _Letter) -> None:
        person = letter.person
        record = {"event": "wrote", "at": self._clock.now().timestamp(), "sid": letter.sid, "body": letter.body}
        self._journal.write(json.dumps(record | {"from": person.address, "to": person.shop.number}) + "\n")
        self._journal.flush()

    # --- Asking again -------------------------------------------------------------------------------------------------

    def _ask_again(self) -> None:
        for record in self._heard.news():
            if record["event"] in ("webhook", "fallback") and record["status"] == 200:
                sid = text(record, "sid")
                self.accepted.add(sid)
                self._waiting.pop(sid, None)
        now = self._clock.monotonic()
        for letter in [each for each in self._waiting.values() if now - each.asked_at > ASK_AGAIN_SECONDS]:
            if letter.asked >= ASK_AGAIN_TIMES:
                del self._waiting[letter.sid]
                self.given_up += 1
                continue
            letter.asked += 1
            letter.asked_at = now
            self._post(letter)


@dataclass(frozen=True, slots=True, order=True)
class _Planned:
    """A line that will be written."""

    due: float
    person: Person = field(compare=False)
    body: str = field(compare=False)
