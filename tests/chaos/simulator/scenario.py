"""Who lives outside: customers who write in bursts, people who take over, operators, and what breaks machines."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from recado.channels.twilio.values import PROVIDER
from recado.conversation.replying.accept import InboundMessage
from recado.conversation.sending.provider_messages import DeliveryReport
from recado.conversation.values import Address, customer_lane
from recado.core.database.types import to_microseconds
from recado.core.errors import Busy, Conflict, NotFound, StorageUnavailable
from recado.core.queue.job import Replayed
from recado.core.queue.lane import Lane
from recado.identity.principal import operator_of
from tests.chaos.simulator.machine import Machine, Parts, Unreachable
from tests.chaos.simulator.outside.twilio import ACCOUNT
from tests.chaos.simulator.world import Said, World
from tests.support import pigeon
from tests.support.pigeon import PIGEON, message_id

CUSTOMERS = (
    (Address("whatsapp:+5511987654321"), Address("whatsapp:+551187654321")),
    (Address("whatsapp:+5521987650000"), Address("whatsapp:+552187650000")),
    (Address("+5531999990000"), Address("+5531999990000")),
)
"""Each with the two ways the same phone may be written."""


MICROSECOND = timedelta(microseconds=1)
SOON = 300.0
"""Seconds ahead of which a busy hour plans nothing."""


@dataclass(frozen=True)
class Number:
    """A number of ours, and whose it is."""

    owner_id: UUID
    address_id: UUID
    address: Address
    lane_salt: bytes
    provider: str = PROVIDER

    @property
    def account_ref(self) -> str:
        return pigeon.ACCOUNT if self.provider == PIGEON else ACCOUNT.value

    def lane_of(self, customer: Address) -> Lane:
        """Return the lane of a customer at this number."""
        return customer_lane(self.lane_salt, self.address_id, customer.match_key)


class Scenario:
    """Everything outside that acts by itself."""

    def __init__(self, world: World, machine: Machine, numbers: list[Number]) -> None:
        self.world = world
        self.machine = machine
        self.numbers = numbers
        self._said = 0
        self._pigeon_holes: dict[Number, list[tuple[Said, str, str | None]]] = {number: [] for number in numbers}
        """What the second channel has not been able to post yet, or not yet got a 200 for."""
        self.calls = 0
        """Webhooks and callbacks under way."""
        machine.twilio.call_back = self.call_back
        self._parties = {
            number.lane_of(spellings[0]): (who, number) for who, spellings in enumerate(CUSTOMERS) for number in numbers
        }

    # --- Customers ----------------------------------------------------------------------------------------------------

    async def write_in_bursts(self, who: int, seconds: float) -> None:
        """One customer's part of an episode."""
        world, chance = self.world, self.world.chance
        for _ in range(chance.randint(1, world.plan.bursts)):
            await asyncio.sleep(chance.uniform(0.0, seconds / world.plan.bursts))
            number = chance.choice(self.numbers)
            for _ in range(chance.choice((1, 1, 2, 3))):
                self._write(who, number)
                await asyncio.sleep(chance.choice((0.05, 0.5, 1.4, 3.0, 9.0)) * chance.random())

    def _write(self, who: int, number: Number, delay: float | None = None) -> None:
        world = self.world
        self._said += 1
        text, kind, opt = f"#{self._said} oi", "text", None
        if world.happens("stop"):
            text, opt = "PARAR", world.chance.choice((None, "STOP"))
        elif world.happens("start"):
            text, opt = "VOLTAR", world.chance.choice((None, "START"))
        elif world.happens("reaction"):
            kind = "reaction"
        elif world.happens("button"):
            kind = "button"
        elif world.happens("poison"):
            text = f"poison #{self._said}"
        sender = CUSTOMERS[who][world.happens("other spelling")]
        said = Said(
            number=self._said,
            sid=message_id(self._said) if number.provider == PIGEON else f"SM{0xABC0000 + self._said:032x}",
            sender=sender.value,
            ours=number.address.value,
            text=text,
            at=world.loop.time(),
            created_at=world.clock.elsewhere().replace(microsecond=0),
            pigeon=number.provider == PIGEON,
        )
        world.truth.said[said.number] = said
        world.trace(f"customer {who} writes {text!r} ({kind}) to {number.address.number[-2:]}")
        if number.provider == PIGEON:
            self._pigeon_holes[number].append((said, kind, opt))
            post = partial(self._post_all, number)
        elif world.happens("webhook lost"):
            return
        else:
            post = partial(self._post, said, number, kind, opt)
        if delay is None:
            late = world.happens("webhook late")
            delay = world.chance.uniform(0.5, 30.0) if late else world.chance.uniform(0.02, 0.2)
        self._soon(delay, post)
        if world.happens("webhook twice"):
            self._soon(delay + world.chance.choice((0.0, 0.01, 20.0)), post)

    def write_at_the_boundary(self, *, by_sleeping: bool = False) -> bool:
        """Somebody writes at the very moment at which they have been silent for long enough, and others look then."""
        world, chance = self.world, self.world.chance
        found = self._quiet_soon(math.inf if by_sleeping else SOON)
        if not found:
            return False
        lane, ahead = chance.choice(found)
        if by_sleeping and ahead > 2.0:
            world.clock.slept += ahead - 1.0
            world.delay_expected()
            ahead = 1.0
        who, number = self._parties[lane]
        if chance.random() < 0.8:
            self._soon(max(0.0, ahead + self._small_offset()), partial(self._say_at_once, who, number))
        for _ in range(chance.randint(1, 3)):
            self._soon(max(0.0, ahead + self._small_offset()), self._run_idle_expiry)
        return True

    def _quiet_soon(self, within: float) -> list[tuple[Lane, float]]:
        """The lanes that will have been silent for long enough, and in how many seconds."""
        now, plan = to_microseconds(self.world.clock.now()), self.world.plan
        rows = self.machine.storage.rows(
            "SELECT lane, last_activity_at, status FROM conversations WHERE status <> 'closed' ORDER BY id"
        )
        limits = [
            (Lane(UUID(bytes=lane)), (at + limit // MICROSECOND - now) / 1e6)
            for lane, at, status in rows
            for limit in ([plan.idle, plan.expire] if status == "open" else [plan.expire])
        ]
        return [(lane, ahead) for lane, ahead in limits if 0.0 < ahead < within]

    def _small_offset(self) -> float:
        """How far from the boundary: nothing, the smallest step there is, about a commit, or a second."""
        chance = self.world.chance
        return chance.choice((0.0, 1e-6, 1e-3, 0.01, 0.02, 1.0)) * chance.choice((-1.0, 1.0, chance.random()))

    async def _say_at_once(self, who: int, number: Number) -> None:
        self._write(who, number, 0.0)

    async def _run_idle_expiry(self) -> None:
        """Run the sweeps in any process; cron's own jobs run at full minutes only."""
        parts = self.world.chance.choice(self.machine.everybody() or [self.machine.api])
        if parts.process.alive:
            self.world.loop.start_in(parts.process, self._sweep(parts))

    async def _sweep(self, parts: Parts) -> None:
        try:
            await parts.idle_expiry.mark_idle()
            await parts.idle_expiry.close_expired()
        except (Busy, StorageUnavailable) as error:
            self.world.trace(f"the sweep failed: {error!r}")
        except Exception as error:  # noqa: BLE001 - cron's own would be tried again
            self.world.truth.surprises.append(f"a sweep met {error!r}")

    async def _post(self, said: Said, number: Number, kind: str, opt: str | None) -> None:
        """Twilio calls, and calls again; then it forgets, and only its list remembers."""
        for attempt in range(3):
            try:
                await self.machine.ask(lambda parts: self._accept(parts, said, number, kind, opt))
            except (Busy, StorageUnavailable, Unreachable):
                await asyncio.sleep(0.5 + attempt * self.world.chance.uniform(0.0, 20.0))
            else:
                said.acknowledged = True
                return

    async def _post_all(self, number: Number) -> None:
        """The second channel posts everything it has in one request, again and again until it gets a 200."""
        for _ in range(1_000):
            waiting = list(self._pigeon_holes[number])
            if not waiting:
                return
            try:
                await self.machine.ask(partial(self._accept_all, number=number, waiting=waiting))
            except (Busy, StorageUnavailable, Unreachable):
                await asyncio.sleep(self.world.chance.uniform(0.5, 20.0))
                continue
            for each in waiting:
                each[0].acknowledged = True
            self._pigeon_holes[number] = [each for each in self._pigeon_holes[number] if each not in waiting]
            return

    async def _accept_all(self, parts: Parts, number: Number, waiting: list[tuple[Said, str, str | None]]) -> None:
        by_id = {said.sid: (said, kind, opt) for said, kind, opt in waiting}
        letters = [{"id": said.sid, "from": said.sender, "to": said.ours, "text": said.text} for said, _, _ in waiting]

        async def accept(letter: pigeon.Letter) -> None:
            said, kind, opt = by_id[letter["id"]]
            await self._accept(parts, said, number, kind, opt)

        await pigeon.receive(pigeon.request_of(letters), accept)

    async def _accept(self, parts: Parts, said: Said, number: Number, kind: str, opt: str | None) -> None:
        inbound = InboundMessage(
            id=parts.ids.new(),
            owner_id=number.owner_id,
            address_id=number.address_id,
            lane=number.lane_of(Address(said.sender)),
            provider=number.provider,
            account_ref=number.account_ref,
            provider_message_id=said.sid,
            from_address=Address(said.sender),
            to_address=number.address,
            text=said.text,
            kind=kind,
            received_at=self.world.clock.now(),
            raw=b"",
            opt_out_type=opt,
            due_at_once=kind == "button",
        )
        await parts.acceptance.accept(inbound)

    # --- Callbacks ----------------------------------------------------------------------------------------------------

    def call_back(self, report: DeliveryReport) -> None:
        self._soon(0.0, partial(self._report, report))

    async def _report(self, report: DeliveryReport) -> None:
        try:
            recorded = await self.machine.ask(lambda parts: _record(parts, report))
        except (Busy, StorageUnavailable, Unreachable):
            self.world.trace(f"callback {report.status} for {report.attempt_id.hex[-6:]} finds nobody")
            return
        if not recorded:
            self.world.truth.surprises.append(f"a callback for attempt {report.attempt_id} found no such attempt")

    def _soon(self, delay: float, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self.calls += 1

        async def run() -> None:
            try:
                await work()
            except Exception as error:  # noqa: BLE001 - Twilio would get a 500
                self.world.truth.surprises.append(f"a webhook met {error!r}")
            finally:
                self.calls -= 1

        self.world.loop.later(delay, lambda: self.world.loop.start_in(None, run()))

    # --- What happens by itself ---------------------------------------------------------------------------------------

    async def inject_faults(self, seconds: float) -> None:
        """Everything that strikes at a moment of its own, for as long as an episode lasts."""
        world = self.world
        events: dict[str, Callable[[], Awaitable[None] | None]] = {
            "kill": self._kill,
            "terminate": self._terminate,
            "stop for a while": self._stop_for_a_while,
            "outage of the database": self._outage,
            "host sleeps": self._sleep,
            "clock step": self._step_clock,
            "person takes": partial(self._person_acts, "take"),
            "person replies": partial(self._person_acts, "reply"),
            "person releases": partial(self._person_acts, "release"),
            "person closes": partial(self._person_acts, "close"),
            "person blocks": partial(self._person_blocks, True),
            "person unblocks": partial(self._person_blocks, False),
            "program writes": self._program_writes,
            "operator retries": partial(self._operator_acts, "retry"),
            "operator forces": partial(self._operator_acts, "force"),
            "operator discards": partial(self._operator_acts, "discard"),
            "message at the boundary": self._write_at_the_boundary,
        }
        rates = {name: world.plan.rate(name) for name in events}
        total = sum(rates.values())
        until = world.loop.time() + seconds
        while total > 0.0:
            await asyncio.sleep(world.chance.expovariate(total))
            if world.loop.time() >= until or world.faults_over:
                return
            name = world.chance.choices(list(rates), list(rates.values()))[0]
            world.counts[name] += 1
            world.trace(f"! {name}")
            waiting = events[name]()
            if waiting is not None:
                await waiting

    def _kill(self) -> None:
        self.world.chance.choice(self.machine.everybody() or [self.machine.api]).process.kill()

    def _terminate(self) -> None:
        """A deploy: what runs gets its grace."""
        parts = self.world.chance.choice(list(self.machine.workers.values()))
        if parts.process.alive and parts.worker is not None:
            parts.worker.stop()

    def _stop_for_a_while(self) -> None:
        world = self.world
        process = world.chance.choice(self.machine.everybody() or [self.machine.api]).process
        world.suspend(process, world.chance.choice((3.0, 40.0, 400.0)))

    def _sleep(self) -> None:
        """The whole host sleeps, and the world goes on."""
        world = self.world
        most = world.chance.choice((10.0, 100.0, 3600.0)) * world.chance.random()
        for parts in self.machine.everybody():
            world.suspend(parts.process, most)

    def stop_faults(self) -> None:
        """End the faults: what is suspended continues."""
        self.world.faults_over = True
        self.world.trace("calm")
        self.machine.storage.down = False
        for parts in self.machine.everybody():
            if parts.process.stopped:
                self.world.loop.resume(parts.process)

    def _outage(self) -> None:
        world, storage = self.world, self.machine.storage
        storage.down = True
        world.delay_expected()

        def end() -> None:
            storage.down = False
            world.delay_expected()

        world.loop.later(world.chance.uniform(0.5, 90.0), end)

    def _write_at_the_boundary(self) -> None:
        self.write_at_the_boundary()

    def _step_clock(self) -> None:
        self.world.clock.stepped = self.world.chance.uniform(-1.0, 1.0)

    # --- People and operators -----------------------------------------------------------------------------------------

    async def _person_acts(self, deed: str) -> None:
        world = self.world
        found = self.machine.storage.rows("SELECT id, owner_id FROM conversations WHERE status <> 'closed' ORDER BY id")
        if not found:
            return
        conversation_id, owner_id = (UUID(bytes=each) for each in world.chance.choice(found))
        person = operator_of(owner_id, "rita")

        async def act(parts: Parts) -> None:
            match deed:
                case "take":
                    await parts.handoff.take(person, conversation_id)
                case "release":
                    await parts.handoff.release(person, conversation_id)
                case "close":
                    await parts.handoff.close(person, conversation_id)
                case _:
                    text = f"a person says {world.chance.random():.6f}"
                    await parts.handoff.reply(person, conversation_id, text, take=True)

        await self._try(act)

    async def _person_blocks(self, block: bool) -> None:
        found = self.machine.storage.rows("SELECT id, owner_id FROM contacts ORDER BY id")
        if not found:
            return
        contact_id, owner_id = (UUID(bytes=each) for each in self.world.chance.choice(found))
        person = operator_of(owner_id, "rita")

        async def act(parts: Parts) -> None:
            await (parts.contacts.block if block else parts.contacts.unblock)(person, contact_id)

        await self._try(act)

    async def _program_writes(self) -> None:
        """A program of the owner's sends a notice, into a conversation or to somebody who has never written."""
        number = self.world.chance.choice(self.numbers)
        to = self.world.chance.choice(self.world.chance.choice(CUSTOMERS))
        if number.address.channel != to.channel:
            return  # It would be refused before anything is stored.
        text = f"a program says {self.world.chance.random():.6f}"

        async def act(parts: Parts) -> None:
            await parts.messages.send(operator_of(number.owner_id, "shop"), number.address, to, text)

        await self._try(act)

    async def _operator_acts(self, deed: str) -> None:
        world, storage = self.world, self.machine.storage
        status = "status = 'dead'" if deed != "discard" else "status IN ('dead', 'waiting', 'collecting')"
        found = storage.rows(f"SELECT id FROM message_queue WHERE {status} AND name LIKE '%.%' ORDER BY id")
        if not found:
            return
        job_id = UUID(bytes=world.chance.choice(found)[0])

        async def act(parts: Parts) -> None:
            if deed == "discard":
                await parts.queue.discard(job_id)
                return
            result = await parts.queue.retry(job_id, force=deed == "force")
            world.trace(f"{deed} -> {result}")
            if isinstance(result, Replayed):
                world.counts["replayed"] += 1

        await self._try(act)

    async def _try(self, act: Callable[[Parts], Coroutine[Any, Any, None]]) -> None:
        try:
            await self.machine.ask(act)
        except (Conflict, NotFound, Busy, StorageUnavailable, Unreachable) as error:
            self.world.trace(f"not done: {error!r}")
        except Exception as error:  # noqa: BLE001 - people would get a 500
            self.world.truth.surprises.append(f"a person met {error!r}")


async def _record(parts: Parts, report: DeliveryReport) -> bool:
    recorded = await parts.reports.record(report)
    return recorded.known and recorded.allowed
