"""The send state machine against a provider that lies: any order of calls, crashes, callbacks, lists and people.

The rules are what can happen, the provider is the judge of every call (see `provider`), and the invariants are read
from the rows after each rule. When it is over the provider becomes honest, and everything must come to its end.
"""

import asyncio
import random
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from recado.channels.repository import AccountPauses
from recado.channels.router import ChannelRouter, InstalledChannel
from recado.channels.twilio.rules import rules_for
from recado.channels.twilio.values import PROVIDER
from recado.channels.twilio.webhook.dtos import RANK
from recado.conversation.ports import NotProcessed, Refused, Unknown
from recado.conversation.sending.handler import SendHandler
from recado.conversation.values import Address
from recado.core.clock import FrozenClock
from recado.core.errors import Conflict
from recado.core.ids import UuidV7
from recado.core.queue.job import Claim, Done, Replayed, StoredJob
from recado.core.queue.service import QueueService
from tests.chaos.models.inline import InlineDatabase
from tests.chaos.models.provider import Ending, Provider
from tests.world import ANA, BRUNO, LEASE, Lost, WorkerDied, World

T = TypeVar("T")

NOON = datetime(2026, 3, 14, 12, 0, tzinfo=UTC)
LONG = " ".join(["Uma frase de tamanho médio."] * 80)
"""Two parts."""

ENDINGS: tuple[Ending, ...] = (
    None,
    Lost(),
    Lost(listed=False),
    Lost(listed=False),
    Unknown("reset", "the connection was reset"),
    Unknown("500", ""),
    NotProcessed("20429", "later"),
    Refused("21610", "opted out", "opt_out"),
    Refused("63016", "outside the window", "window_closed"),
    Refused("21211", "no such number", "unreachable"),
)
STATUSES = ("queued", "sent", "delivered", "read", "undelivered", "failed", "heard-of-nowhere")

people = st.sampled_from([ANA, BRUNO])
which = st.integers(0, 7)


class Sends(RuleBasedStateMachine):
    """Two customers, one number, one worker at a time and any number of dead ones."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock = FrozenClock(NOON)
        self.database = InlineDatabase()
        ids = UuidV7(self.clock, random.Random(3).getrandbits)  # noqa: S311
        self.world = self.run(World.open(self.database, self.clock, ids))
        self.policy = "prefer_silence"
        self.provider = Provider(self.clock, self.database, lambda: self.policy == "prefer_delivery")
        chance = random.Random(5)  # noqa: S311
        channels = ChannelRouter({PROVIDER: InstalledChannel(self.provider, rules_for, finder=self.provider)})
        self.sends = SendHandler(
            self.database, self.clock, ids, chance, channels, AccountPauses(),
            crash=self.world._crash,
        )  # fmt: skip
        handlers = (self.world.replies, self.sends)
        self.queue = QueueService(self.database, self.clock, ids, chance, handlers, lease=LEASE)
        self.tasks: set[asyncio.Task[None]] = set()
        self.statuses: dict[bytes, int] = {}

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    @initialize(
        policy=st.sampled_from(["prefer_silence", "prefer_delivery"]),
        listed=st.booleans(),
        ending=st.sampled_from(ENDINGS),
    )
    def begin(self, policy: str, listed: bool, ending: Ending) -> None:
        """One send is unknown from the start, and another customer's ended somehow."""
        self.changes_policy(policy)
        self.a_customer_writes(BRUNO, LONG, [ending])
        self.a_customer_writes(ANA, "oi", [Lost(listed)])

    # --- Customers and people -----------------------------------------------------------------------------------------

    @rule(who=people, text=st.sampled_from(["oi", "oi", LONG]), endings=st.lists(st.sampled_from(ENDINGS), max_size=2))
    def a_customer_writes(self, who: Address, text: str, endings: list[Ending]) -> None:
        if self.opted_out(who):
            self.run(self.world.receives("START", who, opt="START"))
            self.passes(2)
        self.provider.endings += endings
        self.run(self.world.receives(text, who))
        self.passes(2)

    @rule(who=people, listed=st.booleans(), seconds=st.sampled_from([0, 10, 50, 150, 200]))
    def a_customer_is_answered_and_we_do_not_know(self, who: Address, listed: bool, seconds: int) -> None:
        """What the whole machine is about, so it need not wait for chance to bring it together."""
        self.a_customer_writes(who, "oi", [Lost(listed)])
        self.passes(seconds)

    @rule(who=people)
    def a_customer_opts_out(self, who: Address) -> None:
        """Until they write again."""
        self.run(self.world.receives("STOP", who, opt="STOP"))
        self.passes(2)

    @rule(policy=st.sampled_from(["prefer_silence", "prefer_delivery"]))
    def changes_policy(self, policy: str) -> None:
        self.policy = policy
        self.run(self.world.given_owner(send_policy=policy))

    @rule(who=people)
    def a_person_takes(self, who: Address) -> None:
        if (self.conversation(who) or (None, None))[1] == "agent":
            self.run(self.world.take(who))
        self.work()

    @rule()
    def people_release_everything(self) -> None:
        for id_, held_by in filter(None, map(self.conversation, (ANA, BRUNO))):
            if held_by != "agent":
                self.run(self.world.handoff.release(self.world.rita, id_))
        self.work()

    @rule(who=people)
    def a_person_says_something(self, who: Address) -> None:
        found = self.conversation(who)
        if found is not None:
            self.run(self.world.handoff.reply(self.world.rita, found[0], "aqui é a dona", take=True))
            self.work()

    @rule(number=which)
    def a_person_retries(self, number: int) -> None:
        dead = self.run(self.queue.dead())
        if not dead:
            return
        job: StoredJob = dead[number % len(dead)]
        answer = job.payload.get("answer_id")
        if isinstance(self.run(self.queue.retry(job.id)), Replayed) and isinstance(answer, str):
            self.provider.retried[bytes.fromhex(answer.replace("-", ""))] = self.clock.now()
        self.work()

    @rule(number=which)
    def a_person_discards(self, number: int) -> None:
        waiting = self.database.rows("SELECT id FROM message_queue WHERE status = 'waiting' ORDER BY id")
        if not waiting:
            return
        try:
            self.run(self.queue.discard(World.uuid(waiting[number % len(waiting)][0])))
        except Conflict:
            self.work()

    # --- Calls --------------------------------------------------------------------------------------------------------

    @rule(endings=st.lists(st.sampled_from(ENDINGS), min_size=1, max_size=3))
    def the_next_calls_end(self, endings: list[Ending]) -> None:
        self.provider.endings = list(endings)

    @rule()
    def the_next_call_hangs(self) -> None:
        self.provider.hold = True

    @precondition(lambda self: self.provider.hanging)
    @rule(number=which)
    def a_call_comes_back(self, number: int) -> None:
        self.provider.comes_back(number % len(self.provider.hanging))
        self.settle()
        self.work()

    @precondition(lambda self: self.provider.hanging)
    @rule(number=which)
    def a_worker_dies_in_its_call(self, number: int) -> None:
        self.provider.dies(number % len(self.provider.hanging))
        self.settle()

    @rule(point=st.sampled_from(["before_send", "after_send", "after_settle", "after_claim"]))
    def the_next_worker_dies_at(self, point: str) -> None:
        self.world.dies_at = point

    @rule()
    def leases_run_out(self) -> None:
        self.clock.advance(LEASE + timedelta(seconds=1))
        self.run(self.queue.free_ended_leases())
        self.work()

    # --- News ---------------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.provider.deliveries)
    @rule(number=which, statuses=st.lists(st.sampled_from(STATUSES), min_size=1, max_size=4))
    def the_provider_calls_back(self, number: int, statuses: list[str]) -> None:
        """In any order, repeated, and with words we do not know."""
        for status in statuses:
            self.calls_back(number, status)
            self.a_status_only_rises()
        self.work()

    @precondition(lambda self: self.provider.deliveries)
    @rule(number=which, listed=st.booleans())
    def the_list_shows(self, number: int, listed: bool) -> None:
        self.provider.taken[-1 - number % len(self.provider.taken)].listed = listed

    @rule(complete=st.booleans())
    def the_list_can_be_read_to_its_end(self, complete: bool) -> None:
        self.provider.complete = complete

    @rule(seconds=st.sampled_from([1, 6, 20, 60, 140, 700]))
    def time_passes(self, seconds: float) -> None:
        self.passes(seconds)

    # --- What always holds --------------------------------------------------------------------------------------------

    @invariant()
    def a_status_only_rises(self) -> None:
        for sid, status in self.database.rows("SELECT provider_message_id, status FROM sent_messages"):
            rank = RANK.get(status, -1)
            assert rank >= self.statuses.get(sid, -1), f"{status} after rank {self.statuses[sid]}"
            self.statuses[sid] = rank

    @invariant()
    def an_accepted_attempt_has_its_sid_and_its_part_is_accepted(self) -> None:
        bad = self.database.rows(
            """SELECT x.id FROM attempts x WHERE x.state = 'accepted' AND (
                NOT EXISTS (SELECT 1 FROM sent_messages s WHERE s.attempt_id = x.id AND s.part_id = x.part_id)
                OR NOT EXISTS (SELECT 1 FROM answer_parts p WHERE p.id = x.part_id AND p.state = 'accepted'))"""
        )
        assert bad == []
        assert (
            self.database.rows(
                "SELECT provider_message_id FROM sent_messages GROUP BY provider_message_id HAVING count(*) > 1"
            )
            == []
        )

    @invariant()
    def a_sid_that_was_called_back_is_its_own_attempts(self) -> None:
        bound = dict(self.database.rows("SELECT provider_message_id, attempt_id FROM sent_messages"))
        for each in self.provider.deliveries:
            if each.reported:
                assert bound[b"SM" + bytes.fromhex(each.taken.sid.value[2:])] == each.attempt.bytes

    @invariant()
    def one_attempt_at_most_is_in_flight_to_a_pair(self) -> None:
        sql = "SELECT lane FROM attempts WHERE state IN ('sending', 'unknown') GROUP BY lane HAVING count(*) > 1"
        assert self.database.rows(sql) == []

    def teardown(self) -> None:
        try:
            self.everything_comes_to_its_end()
        finally:
            for task in self.tasks:
                task.cancel()
            self.run(asyncio.sleep(0))
            self.run(self.database.close())
            self.runner.close()

    def everything_comes_to_its_end(self) -> None:
        """The provider is honest from here on, and calls back about all it ever took."""
        self.provider.endings, self.provider.hold, self.provider.complete = [], False, True
        self.world.dies_at = None
        for taken in self.provider.taken:
            taken.listed = True
        while self.provider.hanging:
            self.provider.comes_back(0)
        self.settle()
        self.leases_run_out()
        self.passes(1800)
        for number in range(len(self.provider.deliveries)):
            self.calls_back(number, "delivered")
        self.passes(1800)
        self.all_is_settled()

    def all_is_settled(self) -> None:
        open_answers = self.database.rows("SELECT id FROM answers WHERE settled_at IS NULL")
        unfinished = self.database.rows(
            "SELECT name, status, last_error FROM message_queue WHERE status IN ('collecting', 'waiting', 'running')"
        )
        assert (open_answers, unfinished) == ([], [])
        report = self.run(self.world.verify())
        twice = {each.part for each in self.provider.deliveries if len(self.provider.deliveries_of(each.part)) > 1}
        found = [each.why for each in report.violations]
        assert [why for why in found if not why.startswith("sent_twice")] == []
        assert len(found) == len(twice), "what went out twice (and was allowed to) is told, and nothing else"
        assert report.open == 0
        told = self.database.rows(
            """SELECT a.id FROM answers a WHERE a.state = 'unconfirmed' AND NOT EXISTS (
                SELECT 1 FROM answer_parts p WHERE p.answer_id = a.id AND p.state <> 'accepted')"""
        )
        assert told == [], "a late callback settles what was given up"
        assert self.database.rows("SELECT id FROM attempts WHERE state IN ('sending', 'unknown')") == []
        arrived = {part for (part,) in self.database.rows("SELECT id FROM answer_parts WHERE state = 'accepted'")}
        assert arrived == {each.part for each in self.provider.deliveries}

    # --- A worker -----------------------------------------------------------------------------------------------------

    def conversation(self, who: Address) -> tuple[UUID, str] | None:
        rows = self.database.rows(
            "SELECT id, held_by FROM conversations WHERE lane = ? AND status <> 'closed'",
            f"{self.world.address_id.hex}:{who.match_key}",
        )
        return (World.uuid(rows[0][0]), rows[0][1]) if rows else None

    def opted_out(self, who: Address) -> bool:
        sql = """SELECT 1 FROM contacts k JOIN conversations c ON c.contact_id = k.id
            WHERE c.lane = ? AND k.opted_out_at IS NOT NULL"""
        return bool(self.database.rows(sql, f"{self.world.address_id.hex}:{who.match_key}"))

    def calls_back(self, number: int, status: str) -> None:
        each = self.provider.deliveries[-1 - number % len(self.provider.deliveries)]
        self.run(self.world.calls_back(each.taken, status))
        each.reported = True

    def passes(self, seconds: float) -> None:
        until = self.clock.now() + timedelta(seconds=seconds)
        self.work()
        while (due := self.next_due()) is not None and due <= until:
            self.clock.advance(max(due - self.clock.now(), timedelta()))
            self.work()
        self.clock.advance(max(until - self.clock.now(), timedelta()))

    def next_due(self) -> datetime | None:
        [(due,)] = self.database.rows("SELECT min(next_due_at) FROM lanes")
        return None if due is None else datetime.fromtimestamp(due / 1_000_000, UTC)

    def work(self) -> None:
        """Claim and run what is due; a call that hangs or a worker that died leaves its job behind."""
        while claims := self.run(self.queue.claim(1, max_isolated=4)):
            self.run(self.begins(claims[0]))

    async def begins(self, claim: Claim) -> None:
        task = asyncio.create_task(self.attempt(claim))
        self.tasks.add(task)
        hanging = len(self.provider.hanging)
        while not task.done() and len(self.provider.hanging) == hanging:  # noqa: ASYNC110 - no time passes here
            await asyncio.sleep(0)
        self.reap()

    async def attempt(self, claim: Claim) -> None:
        self.world._crash("after_claim")
        result = await self.queue.handler(claim.job.name).run(claim)
        if not (isinstance(result, Done) and result.recorded):
            await self.queue.finish(claim, result)

    def settle(self) -> None:
        """Let every worker that can go on do so."""
        self.run(self.until_all_hang())

    async def until_all_hang(self) -> None:
        while sum(not task.done() for task in self.tasks) > len(self.provider.hanging):  # noqa: ASYNC110 - nor here
            await asyncio.sleep(0)
        self.reap()

    def reap(self) -> None:
        for task in [task for task in self.tasks if task.done()]:
            self.tasks.remove(task)
            error = task.exception()
            if error is not None and not isinstance(error, WorkerDied):
                raise error


QUICK = settings(
    max_examples=20,
    stateful_step_count=25,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)


def test_no_order_of_events_sends_a_part_twice_or_leaves_an_answer_open() -> None:
    run_state_machine_as_test(Sends, settings=QUICK)


@pytest.mark.slow
def test_nor_do_a_thousand_longer_ones() -> None:
    run_state_machine_as_test(Sends, settings=settings(QUICK, max_examples=1_000, stateful_step_count=45))
