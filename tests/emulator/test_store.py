import json
import random
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from recado.emulator.archive import Outgoing, Search
from recado.emulator.clock import SidGenerator
from recado.emulator.forms import InboundRequest
from recado.emulator.journal import Journal
from recado.emulator.messages import EmulatedMessage
from recado.emulator.rules.faults import Fault
from recado.emulator.rules.validation import read_create_request
from recado.emulator.settings import EmulatorSettings, Number, Policies
from recado.emulator.store import Store
from tests.emulator.world import ANA, BAKERY, BOB, SHOP, SID, TOKEN

DAY = 86_400.0
CALLBACK = "https://bot.example.com/status"


@dataclass
class World:
    """A store whose time stands still until a test moves it."""

    policies: Policies = field(default_factory=lambda: Policies(callback_delay=1.0))
    keep: int = 1000
    journal: Journal = field(default_factory=lambda: Journal(None))
    time: float = 1_800_000_000.0
    store: Store = field(init=False)

    def __post_init__(self) -> None:
        chance = random.Random(3)  # noqa: S311
        settings = EmulatorSettings(
            accounts={SID: TOKEN},
            numbers=(Number(SHOP, SID, "https://bot.example.com/inbox"),),
            policies=self.policies,
            keep=self.keep,
        )
        self.store = Store(
            settings, now=lambda: self.time, ids=SidGenerator(chance), chance=chance, journal=self.journal
        )

    def create(self, to: str = BOB, sender: str = SHOP, body: str = "Hello", **more: str) -> EmulatedMessage:
        draft = read_create_request(
            [("To", to), ("From", sender), ("Body", body), ("StatusCallback", CALLBACK), *more.items()]
        )
        message = self.store.create(SID, draft)
        assert isinstance(message, EmulatedMessage)
        return message

    def receive(self, sender: str = BOB, to: str = SHOP, body: str = "hi") -> EmulatedMessage:
        message = self.store.receive(InboundRequest(sender=sender, to=to, body=body))
        assert isinstance(message, EmulatedMessage)
        return message

    def pass_time(self, seconds: float) -> list[Outgoing]:
        self.time += seconds
        return self.store.advance()


def said(told: list[Outgoing]) -> list[str]:
    return [dict(outgoing.form).get("MessageStatus", "webhook") for outgoing in told]


def test_nothing_happens_before_its_time() -> None:
    world = World()
    message = world.create()
    assert (said(world.pass_time(0.9)), message.status) == ([], "queued")
    assert (said(world.pass_time(0.1)), message.status) == (["sent"], "sent")
    assert (said(world.pass_time(1.0)), message.status) == (["delivered"], "delivered")
    assert world.store.next_due() is None


def test_the_same_seed_tells_the_same_story() -> None:
    assert World().create().sid == World().create().sid


def test_the_window_closes_after_a_day() -> None:
    world = World(Policies(enforce_window=True, callback_delay=1.0))
    world.receive(ANA, BAKERY)
    world.time += DAY - 1
    inside = world.create(ANA, BAKERY)
    world.time += 1
    outside = world.create(ANA, BAKERY)
    world.pass_time(10)
    assert (inside.status, outside.status, outside.error_code) == ("read", "failed", 63016)


def test_a_delayed_webhook_waits_for_its_time() -> None:
    world = World(Policies(inbound_delay=5.0))
    world.receive()
    assert world.pass_time(4) == []
    assert said(world.pass_time(1)) == ["webhook"]


def test_a_scheduled_message_leaves_at_its_hour() -> None:
    world = World()
    service = {"MessagingServiceSid": "MG" + "5" * 32, "ScheduleType": "fixed"}
    later = world.create(sender="", SendAt="2027-01-15T09:00:00Z", **service)
    assert later.status == "scheduled"
    assert said(world.pass_time(3599)) == []
    assert said(world.pass_time(5)) == ["queued", "sent", "delivered"]


def test_chances_decide_about_callbacks() -> None:
    world = World(Policies(callback_drop=0.5, callback_delay=1.0))
    for _ in range(100):
        world.create()
    told = said(world.pass_time(10))
    assert 60 < len(told) < 140
    assert {message.status for message in world.store.messages_after(0)} == {"delivered"}


@pytest.mark.parametrize(
    ("policies", "early", "later"),
    [
        (Policies(callback_duplicate=1.0), [], ["sent", "sent", "delivered", "delivered"]),
        (Policies(callback_reorder=1.0), [], ["delivered", "sent"]),
        (Policies(callback_early=1.0), ["sent"], ["delivered"]),
    ],
)
def test_a_chance_of_one_is_a_habit(policies: Policies, early: list[str], later: list[str]) -> None:
    world = World(policies)
    message = world.create()
    assert said(world.store.hurry(message)) == early
    assert said(world.pass_time(10)) == later


def test_two_faults_can_hit_one_message() -> None:
    world = World()
    world.store.faults.add(Fault(kind="accept_then_500"))
    world.store.faults.add(Fault(kind="callbacks_dropped"))
    world.create()
    assert world.pass_time(10) == []
    assert [fault.kind for fault in world.store.faults.waiting()] == ["accept_then_500"]


def test_the_oldest_messages_are_forgotten() -> None:
    world = World(keep=3)
    sids = [world.create(body=f"{number}").sid for number in range(5)]
    assert [message.sid for message in world.store.messages_after(0)] == sids[2:]
    assert [message.sid for message in world.store.search(SID, Search(to=BOB))] == sids[:1:-1]
    assert world.store.message(SID, sids[0]) is None


def test_the_journal_holds_an_accepted_message_at_once(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with closing(Journal(path)) as journal:
        world = World(journal=journal)
        created, received = world.create(), world.receive()
        lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["event"], line["sid"]) for line in lines] == [("create", created.sid), ("inbound", received.sid)]
    assert (lines[0]["to"], lines[0]["from"], lines[0]["body"]) == (BOB, SHOP, "Hello")


def test_a_reset_forgets_everything_but_the_settings() -> None:
    world = World()
    world.create()
    world.store.policies = Policies(list_lag=60)
    world.store.reset()
    assert (world.store.messages_after(0), world.store.next_due()) == ([], None)
    assert (world.store.policies, list(world.store.numbers)) == (world.policies, [SHOP])
