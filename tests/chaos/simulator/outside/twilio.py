"""A Twilio that keeps what it was given, and tells us what the seed wants us to know of it.

Its own store is the truth about what customers received. It stays inside what the ledger assumes of the real one: a
call is answered within the limits of our transport, a message is created at most a minute after its attempt's deadline
and is listed at most two minutes after it, and a callback names the attempt it belongs to. Everything else it may do.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID

from recado.channels.models import KnownAddress
from recado.channels.twilio.models import TwilioCredentials
from recado.channels.twilio.sending.client import MessageRecord, MessagesPage
from recado.channels.twilio.values import AccountSid, MessageSid
from recado.conversation.ports import (
    ListedMessage,
    NotProcessed,
    OutboundText,
    Pull,
    Refused,
    SendResult,
    Sent,
    Unknown,
)
from recado.conversation.sending.provider_messages import DeliveryReport
from recado.conversation.sending.unknown import ABSENT_AFTER, CALL_LIMIT, CREATED_AFTER_DEADLINE
from tests.chaos.simulator.world import Received, World
from tests.support.pigeon import PIGEON, message_id

ACCOUNT = AccountSid("AC" + "a" * 32)
TRANSPORT = 17.0
"""Seconds after which our side has hung up at the latest."""

REFUSALS = (
    Refused("21610", "the customer has opted out", "opt_out"),
    Refused("63016", "outside the window", "window_closed"),
    Refused("21211", "no such number", "unreachable"),
    Refused("63024", "the recipient cannot receive this", "unreachable"),
)
TURNED_AWAY = (
    NotProcessed("20429", "too many requests"),
    NotProcessed("20429", "too many requests", retry_after=7.0),
    NotProcessed("connect", "connection refused"),
    NotProcessed("63038", "the account's limit is reached", pause_account=True),
)


class SimTwilio:
    """Twilio's side of the wire."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.call_back: Callable[[DeliveryReport], None] = lambda _: None
        self._late: list[DeliveryReport] = []
        """Callbacks that come hours later."""
        self._made = 0

    # --- Creating -----------------------------------------------------------------------------------------------------

    async def create(self, message: OutboundText) -> SendResult:
        """What our process sees of one create call; what happens at Twilio does not need it any more."""
        world = self._world
        answered: asyncio.Future[SendResult] = world.loop.create_future()
        delay, result = self._decide(message)
        world.trace(
            f"create {message.attempt_id.hex[-6:]} -> {type(result).__name__} in {delay:.2f}s: {message.text!r}"
        )

        def answer() -> None:
            if not answered.done():
                answered.set_result(result)

        world.loop.later(delay, answer)
        return await answered

    def _decide(self, message: OutboundText) -> tuple[float, SendResult]:
        """When our side hears what; whatever is accepted is accepted by then, or later when it lies about it."""
        world, chance = self._world, self._world.chance
        delay = chance.uniform(1.0, TRANSPORT) if world.happens("slow answer") else chance.uniform(0.05, 0.6)
        if world.happens("turned away"):
            return delay, chance.choice(TURNED_AWAY)
        if world.happens("refused"):
            return delay, chance.choice(REFUSALS)
        if world.happens("not accepted, then unknown"):
            return delay, Unknown("500", "played")
        if world.happens("accepted late, then unknown"):
            most = (CALL_LIMIT + CREATED_AFTER_DEADLINE).total_seconds() - 3.0
            world.loop.later(chance.uniform(delay, most), lambda: self._accept(message, most + 3.0))
            return delay, Unknown("timeout", "played")
        received = self._accept(message, CALL_LIMIT.total_seconds())
        if world.happens("accepted, then unknown"):
            return delay, Unknown("500", "played")
        return delay, Sent(received.sid)

    def _accept(self, message: OutboundText, _age: float) -> Received:
        world = self._world
        self._made += 1
        now = world.loop.time()
        received = Received(
            sid=message_id(self._made) if message.provider == PIGEON else f"SM{self._made:032x}",
            ref=message.attempt_id,
            to=message.to_address.value,
            ours=message.from_address.value,
            text=message.text,
            at=now,
            created_at=self._now().replace(microsecond=0),
            listed_from=now + self._lag(),
        )
        world.truth.received.append(received)
        world.trace(f"accepts {message.attempt_id.hex[-6:]} as {received.sid[-4:]}")
        self._report(received, message.account_id)
        return received

    def _lag(self) -> float:
        """A message created as late as the ledger allows is listed when the last look may come."""
        most = (ABSENT_AFTER - CREATED_AFTER_DEADLINE).total_seconds() - 5.0
        return self._world.chance.uniform(0.0, most) if self._world.happens("list lags") else 0.0

    def _now(self) -> datetime:
        return self._world.clock.elsewhere() + timedelta(seconds=self._world.plan.clock_skew)

    # --- Looking ------------------------------------------------------------------------------------------------------

    async def find(self, message: OutboundText, *, created_after: datetime, created_before: datetime) -> Pull:
        world = self._world
        await asyncio.sleep(world.chance.uniform(0.05, 0.5))
        spellings = {spelling.value for spelling in message.to_address.spellings}
        found = [
            ListedMessage(each.sid, each.to, each.ours, each.text, each.created_at, "sent", None)
            for each in world.truth.received
            if each.to in spellings
            and each.ours == message.from_address.value
            and each.listed_from <= world.loop.time()
            and created_after <= each.created_at <= created_before
        ]
        complete = not world.happens("list incomplete")
        if not complete:
            found = [each for each in found if world.chance.random() < 0.5]
        world.trace(
            f"list {message.attempt_id.hex[-6:]}: {[each.provider_message_id[-4:] for each in found]} {complete=}"
        )
        return Pull(found, complete)

    # --- Calling back -------------------------------------------------------------------------------------------------

    def _report(self, received: Received, account_id: UUID) -> None:
        world, chance = self._world, self._world.chance
        last = "undelivered" if world.happens("not delivered") else chance.choice(("delivered", "read"))
        after = 0.0 if world.happens("callback early") else chance.uniform(0.3, 3.0)
        for status in ("sent", last):
            code = "30003" if status == "undelivered" else None
            report = DeliveryReport(received.ref, frozenset([account_id]), received.sid, status, code)
            if world.happens("callback dropped"):
                continue
            delay = after + (chance.uniform(5.0, 400.0) if world.happens("callback late") else chance.random())
            if world.happens("callback much later"):
                self._late.append(report)
                continue
            world.loop.later(delay, lambda report=report: self.call_back(report))  # type: ignore[misc]
            if world.happens("callback twice"):
                world.loop.later(delay + chance.random() * 3, lambda report=report: self.call_back(report))  # type: ignore[misc]

    def deliver_late(self) -> None:
        """Hours have passed: what was held back comes now."""
        late, self._late = self._late, []
        for report in late:
            self._world.loop.later(self._world.chance.uniform(0.0, 60.0), lambda report=report: self.call_back(report))  # type: ignore[misc]


class SimChannel:
    """`Channel` of one process."""

    def __init__(self, twilio: SimTwilio) -> None:
        self._twilio = twilio

    async def send(self, message: OutboundText) -> SendResult:
        return await self._twilio.create(message)

    async def find(self, message: OutboundText, *, created_after: datetime, created_before: datetime) -> Pull:
        return await self._twilio.find(message, created_after=created_after, created_before=created_before)


class InboundList:
    """What the gap sweep asks: `Directory` and `TwilioApi`, as far as it needs them."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def account_for(self, account_id: UUID) -> TwilioCredentials:  # noqa: ARG002 - the port's name
        return TwilioCredentials(ACCOUNT, "token")

    async def lookup(self, to: str) -> KnownAddress | None:
        return self._world.addresses.get(to)

    async def list_messages(
        self,
        _credentials: TwilioCredentials,
        *,
        to: str,
        sent_after: datetime,
        next_url: str | None = None,  # noqa: ARG002
    ) -> MessagesPage:
        await asyncio.sleep(self._world.chance.uniform(0.05, 0.5))
        records = [
            MessageRecord(
                ACCOUNT,
                MessageSid(said.sid),
                "inbound",
                said.sender,
                said.ours,
                said.text,
                said.created_at,
                "received",
                None,
            )
            for said in self._world.truth.said.values()
            if said.ours == to and said.created_at >= sent_after
        ]
        return MessagesPage(tuple(records), 0, None)
