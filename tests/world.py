"""A small world to try the product in: the real road from accept to settle, with fakes only where it leaves us.

    world = await World.open(database, clock, ids)
    sid = await world.receives("oi")
    await world.passes(2)
    assert world.sent_texts() == ["echo: oi"]

Time moves only here. `advance` moves the clock and nothing happens; `passes` lets everything happen that falls due on
the way. `work` does what a worker does, one job after the other, and lets surprises through instead of trying again.
"""

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeAlias
from uuid import UUID

from argon2 import PasswordHasher
from sqlalchemy import RowMapping, TextClause, bindparam, func, select, text

from recado.channels.repository import AccountPauses, NumbersInUse
from recado.channels.router import ChannelRouter, InstalledChannel
from recado.channels.twilio.accounts import NewNumber, NumberService
from recado.channels.twilio.rules import rules_for
from recado.channels.twilio.values import PROVIDER, AccountSid, MessageSid
from recado.channels.twilio.webhook.dtos import FAILED, advances
from recado.conversation.models import Conversation, Message
from recado.conversation.people.contacts import ContactService
from recado.conversation.people.handoff import HandOffService
from recado.conversation.people.messages import MessageService
from recado.conversation.ports import (
    Agent,
    AgentResult,
    ListedMessage,
    OutboundText,
    OwnersAgents,
    Pull,
    Reply,
    SendResult,
    Sent,
    TurnContext,
    Unknown,
)
from recado.conversation.replying.accept import Accepted, AcceptService, BurstWindow, Duplicate, InboundMessage
from recado.conversation.replying.handler import ReplyHandler
from recado.conversation.replying.open import ReplyLimits
from recado.conversation.repository import Conversations, Messages
from recado.conversation.sending.handler import SendHandler
from recado.conversation.sending.provider_messages import DeliveryReport, DeliveryReportService, Recorded
from recado.conversation.sending.results import SendRules
from recado.conversation.sending.splitting import split
from recado.conversation.tables import messages
from recado.conversation.values import Address, customer_lane
from recado.core.clock import FrozenClock
from recado.core.database.changes import Changes
from recado.core.database.engine import Database
from recado.core.database.types import Id, Moment
from recado.core.event_log.numbering import Numbering
from recado.core.ids import UuidV7
from recado.core.metrics import Meters
from recado.core.queue.job import Claim, Done, StoredJob
from recado.core.queue.lane import Lane
from recado.core.queue.running.instrumentation import JobInstrumentation
from recado.core.queue.service import QueueService
from recado.core.queue.storage.tables import lanes
from recado.events.delivering import EventDeliveryHandler
from recado.events.fanout import Fanout
from recado.events.publishing import EventPublisher
from recado.events.service import EndpointService
from recado.identity.owners import OwnerChanges, OwnerService, Registration
from recado.identity.passwords import Passwords
from recado.identity.principal import Principal, operator_of
from recado.identity.users import UserService
from recado.operations.dead_letters.bulk import BulkHandler
from recado.operations.dead_letters.service import DeadLetterService
from recado.operations.verify import VerificationReport, Verifier
from tests.support.endpoints import ScriptedEndpoint
from tests.support.keys import KEY_RING, key_ring
from tests.support.pigeon import PIGEON, installed

ACCOUNT = AccountSid("AC" + "a" * 32)
OURS = Address("whatsapp:+5511900000000")
ANA = Address("whatsapp:+5511987654321")
BRUNO = Address("whatsapp:+5521987650000")

LEASE = timedelta(seconds=30)
DEADLINE = timedelta(seconds=300)

Step: TypeAlias = AgentResult | Exception | Callable[[TurnContext], Awaitable[AgentResult]]


class WorkerDied(BaseException):
    """What kill -9 looks like from inside: nothing catches it, and nothing is tidied up."""


# --- The fakes at the ports -------------------------------------------------------------------------------------------


class ScriptedAgents:
    """Answers from a script; when that is over, with an echo. A function in the script is the run itself."""

    abandoned = 0

    def __init__(self) -> None:
        self._script: deque[Step] = deque()
        self.of_numbers: dict[UUID, Agent] = {}
        """The agents of numbers that have another one."""
        self.history = 20
        """How many earlier messages a run is given."""
        self.turns: list[TurnContext] = []
        """What every run was given."""

    def will(self, *steps: Step) -> None:
        self._script.extend(steps)

    async def agents_of(self, owner_id: UUID) -> OwnersAgents:  # noqa: ARG002 - the port's name
        return self

    def for_number(self, address_id: UUID) -> Agent:
        return self.of_numbers.get(address_id, self)

    def history_limit(self, agent: Agent) -> int:  # noqa: ARG002 - the port's name
        return self.history

    async def run(self, agent: Agent, turn: TurnContext, timeout: float) -> AgentResult:  # noqa: ARG002
        return await agent.respond(turn)

    async def respond(self, turn: TurnContext) -> AgentResult:
        self.turns.append(turn)
        step = self._script.popleft() if self._script else Reply(f"echo: {turn.text}")
        if isinstance(step, Exception):
            raise step
        return await step(turn) if callable(step) else step


@dataclass(slots=True)
class Taken:
    """A message the provider has taken, whatever it answered us; `listed` says whether its list shows it."""

    message: OutboundText
    sid: MessageSid
    at: datetime
    listed: bool = True


@dataclass(frozen=True, slots=True)
class Lost:
    """The provider took the message, and its answer was lost on the way to us."""

    listed: bool = True


Ending: TypeAlias = SendResult | Lost
Happening: TypeAlias = Callable[[Taken | None], Awaitable[object]]


class ScriptedChannel:
    """A provider that takes everything and remembers it, unless its script says otherwise.

    `Unknown` in the script is a call that failed before the provider took the message, `Lost` one that failed after.
    """

    def __init__(self, clock: FrozenClock) -> None:
        self.clock = clock
        self._script: deque[Ending] = deque()
        self._meanwhile: deque[Happening] = deque()
        self.taken: list[Taken] = []
        self.calls = 0
        self.polls = 0
        self.looked_for: list[OutboundText] = []
        self.complete = True
        """Whether its list can be read to the end."""
        self.during_polls: Callable[[], Awaitable[object]] | None = None
        """What happens while its list is being read."""

    def will(self, *endings: Ending) -> None:
        self._script.extend(endings)

    def meanwhile(self, happening: Happening) -> None:
        """Let something happen during the next call, after the provider took the message and before it answers."""
        self._meanwhile.append(happening)

    async def send(self, message: OutboundText) -> SendResult:
        self.calls += 1
        ending = self._script.popleft() if self._script else None
        taken = self._take(message, ending)
        if self._meanwhile:
            await self._meanwhile.popleft()(taken)
        if isinstance(ending, Lost):
            return Unknown("timeout", "the answer never came")
        return Sent(taken.sid.value) if ending is None and taken else ending or Unknown("", "")

    async def find(self, message: OutboundText, *, created_after: datetime, created_before: datetime) -> Pull:
        self.polls += 1
        self.looked_for.append(message)
        if self.during_polls is not None:
            await self.during_polls()
        spellings = {spelling.value for spelling in message.to_address.spellings}
        found = [
            ListedMessage(
                taken.sid.value,
                taken.message.to_address.value,
                OURS.value,
                taken.message.text,
                taken.at,
                "sent",
                None,
            )
            for taken in self.taken
            if taken.listed
            and taken.message.to_address.value in spellings
            and created_after <= taken.at <= created_before
        ]
        return Pull(found, self.complete)

    def _take(self, message: OutboundText, ending: Ending | None) -> Taken | None:
        if ending is not None and not isinstance(ending, Sent | Lost):
            return None
        sid = MessageSid(ending.provider_message_id if isinstance(ending, Sent) else f"SM{len(self.taken) + 1:032x}")
        taken = Taken(message, sid, self.clock.now(), ending.listed if isinstance(ending, Lost) else True)
        self.taken.append(taken)
        return taken


# --- The world --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class World:
    """One owner with one number, its customers, a worker, and everything between them."""

    database: Database
    clock: FrozenClock
    ids: UuidV7
    window: BurstWindow = field(default_factory=BurstWindow)
    meters: Meters = field(default_factory=Meters)
    owner_id: UUID = field(init=False)
    address_id: UUID = field(init=False)
    lane_salt: bytes = field(init=False)
    dies_at: str | None = None
    """The crash point at which the worker dies, once."""

    agents: ScriptedAgents = field(init=False)
    channel: ScriptedChannel = field(init=False)
    channels: ChannelRouter = field(init=False)
    owners: OwnerService = field(init=False)
    users: UserService = field(init=False)
    numbers: NumberService = field(init=False)
    acceptance: AcceptService = field(init=False)
    reports: DeliveryReportService = field(init=False)
    replies: ReplyHandler = field(init=False)
    sends: SendHandler = field(init=False)
    rules: SendRules = field(init=False)
    endpoint: ScriptedEndpoint = field(init=False)
    fanout: Fanout = field(init=False)
    publisher: EventPublisher = field(init=False)
    endpoints: EndpointService = field(init=False)
    handoff: HandOffService = field(init=False)
    messages: MessageService = field(init=False)
    contacts: ContactService = field(init=False)
    queue: QueueService = field(init=False)
    bulk: BulkHandler = field(init=False)
    dead_letters: DeadLetterService = field(init=False)
    instrumentation: JobInstrumentation = field(init=False)
    verifier: Verifier = field(init=False)
    _received: int = 0
    _running: Claim | None = None

    @classmethod
    async def open(
        cls,
        database: Database,
        clock: FrozenClock,
        ids: UuidV7,
        window: BurstWindow | None = None,
        meters: Meters | None = None,
    ) -> "World":
        world = cls(database, clock, ids, window or BurstWindow(), meters or Meters())
        await world.given_owner()
        return world

    def __post_init__(self) -> None:
        database, clock, ids = self.database, self.clock, self.ids
        chance = random.Random(7)  # noqa: S311 - jitter that repeats is the point
        self.agents, self.channel = ScriptedAgents(), ScriptedChannel(clock)
        twilio = InstalledChannel(self.channel, rules_for, finder=self.channel)
        self.channels = ChannelRouter({PROVIDER: twilio, PIGEON: installed(self.channel)})
        weak = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
        self.owners = OwnerService(database, clock, ids, Passwords(weak), key_ring)
        self.users = UserService(database, clock, ids, Passwords(weak))
        self.numbers = NumberService(database, KEY_RING, clock, ids)
        self.acceptance = AcceptService(database, ids, self.window, max_attempts=3)
        self.reports = DeliveryReportService(database, clock, ids, advances, FAILED)
        limits = ReplyLimits(answer=DEADLINE, burst=self.window.most)
        self.replies = ReplyHandler(
            database,
            clock,
            ids,
            chance,
            self.agents,
            self.channels,
            split,
            limits,
            crash=self._crash,
            meters=self.meters,
        )
        self.sends = SendHandler(database, clock, ids, chance, self.channels, AccountPauses(), crash=self._crash)
        self.rules = SendRules(self.channels, AccountPauses())
        self.endpoint = ScriptedEndpoint()
        self.fanout = Fanout(database, clock, ids)
        self.publisher = EventPublisher(Numbering(database), self.fanout, Changes())
        self.endpoints = EndpointService(database, clock, ids, key_ring, self.fanout)
        deliveries = EventDeliveryHandler(database, clock, ids, chance, key_ring, self.endpoint, self.fanout)
        self.handoff = HandOffService(database, clock, ids, split, self.rules, DEADLINE, 3)
        self.messages = MessageService(database, clock, ids, split, self.rules, NumbersInUse(), KEY_RING)
        self.contacts = ContactService(database, clock, ids)
        single = (self.replies, self.sends, deliveries)
        self.bulk = BulkHandler(database, clock, ids, single)
        self.queue = QueueService(database, clock, ids, chance, (*single, self.bulk), lease=LEASE)
        self.dead_letters = DeadLetterService(database, clock, ids, self.queue)
        self.instrumentation = JobInstrumentation(clock, self.meters)
        self.verifier = Verifier(database, clock, DEADLINE.total_seconds(), FAILED)

    # --- What is given ------------------------------------------------------------------------------------------------

    async def given_owner(self, **changes: str) -> None:
        """The owner, with a number; or the owner as it is from now on."""
        if not hasattr(self, "owner_id"):
            form = Registration("Padaria", "dona@padaria.example", "pão quente às seis")
            self.owner_id = (await self.owners.register_organization(form)).owner_id
            await self.read_keys()
            self.address_id = (await self.numbers.add(self.operator, NewNumber(ACCOUNT, "token", OURS))).id
        if changes:
            await self.owners.set_owner(self.operator, OwnerChanges(**changes))

    @property
    def operator(self) -> Principal:
        """Somebody at the command line of the installation."""
        return operator_of(self.owner_id, "test")

    async def read_keys(self) -> None:
        """Read the owner's lane salt, which lanes are derived with."""
        keys = await self.database.read(lambda uow: KEY_RING.of(uow, self.owner_id), owner=self.owner_id)
        self.lane_salt = keys.lane_salt

    async def receives(
        self, text: str, from_: Address = ANA, *, sid: str | None = None, kind: str = "text", opt: str | None = None
    ) -> str:
        """A customer's message reaches us;

        return its SID. The running job hears of it, as through a worker's maintenance.
        """
        self._received += 1
        sid = sid or f"SM{0xABC0000 + self._received:032x}"
        inbound = InboundMessage(
            id=self.ids.new(),
            owner_id=self.owner_id,
            address_id=self.address_id,
            lane=self.lane_of(from_),
            provider=PROVIDER,
            account_ref=ACCOUNT.value,
            provider_message_id=sid,
            from_address=from_,
            to_address=OURS,
            text=text,
            kind=kind,
            received_at=self.clock.now(),
            raw=b"",
            opt_out_type=opt,
        )
        accepted: Accepted | Duplicate = await self.acceptance.accept(inbound)
        if isinstance(accepted, Accepted) and self._running and self._running.job.lane == inbound.lane:
            self._running.notify_newer_message()
        return sid

    async def says(self, text: str, from_: Address = ANA) -> str:
        """A customer's message, and all that comes of it within two seconds."""
        sid = await self.receives(text, from_)
        await self.passes(2)
        return sid

    # --- Time and work ------------------------------------------------------------------------------------------------

    def advance(self, seconds: float) -> None:
        self.clock.advance(timedelta(seconds=seconds))

    async def passes(self, seconds: float) -> None:
        """Let time go by, working off whatever falls due on the way."""
        until = self.clock.now() + timedelta(seconds=seconds)
        await self.work()
        while (due := await self._next_due()) is not None and due <= until:
            self.clock.advance(max(due - self.clock.now(), timedelta()))
            await self.work()
        self.clock.advance(max(until - self.clock.now(), timedelta()))

    async def work(self) -> None:
        """Claim and run what is due, one job after the other, until nothing is; a dead worker leaves its job behind."""
        while (due := await self._next_due()) is not None and due <= self.clock.now():
            for claim in await self.queue.claim(1, max_isolated=4):
                try:
                    await self._attempt(claim)
                except WorkerDied:
                    return

    async def works_once(self) -> None:
        """One job and no more."""
        for claim in await self.queue.claim(1, max_isolated=4):
            await self._attempt(claim)

    def calls_in(self, seconds: float, call: Callable[[], None]) -> None:
        """Call `call` after real seconds: for code that sleeps on the event loop, which knows no frozen clock."""
        asyncio.get_running_loop().call_later(seconds, call)

    async def lease_runs_out(self) -> None:
        """The dead worker's job goes back to the line."""
        self.clock.advance(LEASE + timedelta(seconds=1))
        await self.queue.free_ended_leases()

    async def _attempt(self, claim: Claim) -> None:
        self._running = claim
        try:
            self._crash("after_claim")
            with self.instrumentation.running(claim.job), self.instrumentation.traced(claim) as (traced, span):
                result = await self.queue.handler(claim.job.name).run(traced)
                self.instrumentation.ended(claim.job, result, span)
        finally:
            self._running = None
        if not (isinstance(result, Done) and result.recorded):
            await self.queue.finish(claim, result)

    async def _next_due(self) -> datetime | None:
        due: datetime | None = await self.database.read(
            lambda uow: uow.execute(select(func.min(lanes.c.next_due_at))).scalar(), owner=None
        )
        return due

    def _crash(self, point: str) -> None:
        if point == self.dies_at:
            self.dies_at = None
            raise WorkerDied(point)

    # --- What people do -----------------------------------------------------------------------------------------------

    @property
    def rita(self) -> Principal:
        """Return somebody who may do everything for the owner."""
        return operator_of(self.owner_id, "rita")

    async def take(self, from_: Address = ANA) -> Conversation:
        return await self.handoff.take(self.rita, (await self.conversation(from_)).id)

    async def person_says(self, text: str, from_: Address = ANA) -> None:
        await self.handoff.reply(self.rita, (await self.conversation(from_)).id, text, take=True)

    async def release(self, from_: Address = ANA) -> UUID | None:
        return (await self.handoff.release(self.rita, (await self.conversation(from_)).id)).job_id

    async def close(self, from_: Address = ANA) -> Conversation:
        return await self.handoff.close(self.rita, (await self.conversation(from_)).id)

    async def calls_back(self, taken: Taken, status: str = "sent", *, error: str | None = None) -> Recorded:
        """The provider reports on a message it has taken."""
        return await self.reports.record(
            DeliveryReport(
                taken.message.attempt_id, frozenset([taken.message.account_id]), taken.sid.value, status, error
            )
        )

    # --- What can be seen ---------------------------------------------------------------------------------------------

    def sent_texts(self, to: Address = ANA) -> list[str]:
        """What a customer's phone shows."""
        return [taken.message.text for taken in self.channel.taken if taken.message.to_address == to]

    async def message(self, sid: str) -> Message:
        def find(row: RowMapping | None) -> UUID:
            assert row is not None, f"there is no message {sid}"
            id_: UUID = row["id"]
            return id_

        id_ = await self.database.read(
            lambda uow: find(uow.first(select(messages.c.id).where(messages.c.provider_message_id == sid))), owner=None
        )
        return await self.database.read(lambda uow: Messages(uow).require(id_), owner=self.owner_id)

    async def outcome_of(self, sid: str) -> str | None:
        """`answered`, `suppressed:opt_out`, …; None while it is open."""
        return (await self.message(sid)).outcome_and_reason

    async def outcomes_of(self, *sids: str) -> list[str | None]:
        return [await self.outcome_of(sid) for sid in sids]

    def lane_of(self, from_: Address = ANA) -> Lane:
        """Return the lane of a customer at the owner's number."""
        return customer_lane(self.lane_salt, self.address_id, from_.match_key)

    async def conversation(self, from_: Address = ANA) -> Conversation:
        lane = self.lane_of(from_)
        found = await self.database.read(lambda uow: Conversations(uow).latest(lane), owner=self.owner_id)
        assert found is not None, f"nobody has talked with {from_} yet"
        return found

    async def rows(self, sql: str, **values: object) -> Sequence[RowMapping]:
        """What is stored, for a look behind the scenes."""
        return await self.database.read(lambda uow: uow.all(_typed(sql, values)), owner=None)

    async def dead(self) -> list[StoredJob]:
        """The dead letters that nobody has dealt with."""
        return await self.queue.dead()

    async def verify(self) -> VerificationReport:
        return await self.verifier.verify()

    @staticmethod
    def uuid(stored: bytes | UUID) -> UUID:
        """An id as `rows` gives it."""
        return stored if isinstance(stored, UUID) else UUID(bytes=stored)

    # --- Sabotage -----------------------------------------------------------------------------------------------------

    async def breaks(self, sql: str, **values: object) -> None:
        """Change what is stored behind the product's back."""
        statement = _typed(sql, values)
        await self.database.write(lambda uow: uow.execute(statement).close(), owner=None)


def _typed(sql: str, values: Mapping[str, object]) -> TextClause:
    """Bare SQL whose ids and moments are stored as each database stores them."""

    def kind(value: object) -> Moment | Id | None:
        return Moment() if isinstance(value, datetime) else Id() if isinstance(value, UUID) else None

    return text(sql).bindparams(*(bindparam(name, value, kind(value)) for name, value in values.items()))
