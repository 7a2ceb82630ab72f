"""One seed from its first message to its verdict."""

import asyncio
import gc
import random
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from uuid import UUID

import structlog
from structlog.typing import EventDict

from recado.channels.models import KnownAddress
from recado.channels.tables import channel_accounts, channel_addresses
from recado.channels.twilio.values import PROVIDER
from recado.conversation.values import Address
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.ids import UuidV7
from recado.core.sealing import Sealer
from recado.identity.keys import KeyRing
from recado.identity.models import Owner, SealedOwnerKeys
from recado.identity.repository import Owners
from tests.chaos.simulator.machine import Machine
from tests.chaos.simulator.oracle import Oracle
from tests.chaos.simulator.outside.agents import PlayedError
from tests.chaos.simulator.outside.twilio import SimTwilio
from tests.chaos.simulator.plan import Plan, plan
from tests.chaos.simulator.scenario import CUSTOMERS, Number, Scenario
from tests.chaos.simulator.storage import Disk, Storage, disk
from tests.chaos.simulator.world import World
from tests.support.pigeon import PIGEON

EPISODE = 120.0
"""Seconds in which customers write, before the world is given time to answer them."""
PATIENCE = 3 * 3600.0
"""Seconds after which whatever has not settled in a calm world never will."""
NUDGE = "Are you still there?"
SLACK = 15.0
"""Seconds after its slot in which a sweep has been done, in a calm world."""
SWEPT_WITHIN = 440.0
"""Seconds until a missed message is old enough for the sweep, and a sweep has come round."""


@dataclass
class Verdict:
    """What one seed came to."""

    seed: int
    violations: list[str]
    days: float
    cpu: float
    digest: int
    messages: int
    steps: int
    outcomes: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)


def simulate(seed: int, *, tell: Callable[[str], None] | None = None, on: Disk | None = None) -> Verdict:
    """Play one world to its end."""
    began = time.process_time()
    chance = random.Random(seed)  # noqa: S311 - chance that repeats is the point
    world = World(plan(seed, chance), chance, tell=tell)
    storage = Storage(world, on or disk())
    with _quietly(world):
        simulation = Simulation(world, storage)
        try:
            world.loop.run_until_complete(simulation.play())
        except Exception as error:  # noqa: BLE001 - a world that cannot be played is a failure with a seed
            simulation.violations.append(f"the simulation broke: {error!r}")
            if tell is not None:
                tell(traceback.format_exc())
        finally:
            world.over()
            world.loop.bury()
            storage.close()
    outcomes = Counter({str(row[0]): row[1] for row in storage.rows(_OUTCOMES)})
    return Verdict(
        seed=seed,
        violations=simulation.violations,
        days=(world.loop.time() + world.clock.slept) / 86_400,
        cpu=time.process_time() - began,
        digest=world.digest,
        messages=len(world.truth.said),
        steps=world.loop.steps,
        outcomes=outcomes,
        counts=world.counts,
    )


_OUTCOMES = "SELECT outcome || coalesce(':' || outcome_reason, ''), count(*) FROM messages GROUP BY 1 ORDER BY 1"


@contextmanager
def _quietly(world: World) -> Iterator[None]:
    """The product's log goes into the trace; nothing is collected while a killed process's remains lie about."""
    before = structlog.get_config()

    def into_trace(_logger: object, method: str, event: EventDict) -> EventDict:
        error = event.pop("exc_info", None)
        said = ", ".join(f"{name}={value}" for name, value in sorted(event.items()) if name != "event")
        world.trace(f"{method}: {event['event']} {said}")
        _judge(world, str(event["event"]), said)
        if (error or event["event"] == "queue.job_crashed") and world.traces:
            world.explain()
        raise structlog.DropEvent

    structlog.configure(processors=[into_trace], wrapper_class=structlog.BoundLogger, cache_logger_on_first_use=False)
    gc.disable()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        gc.enable()
        structlog.configure(**before)


def _judge(world: World, event: str, said: str) -> None:
    """An error that nobody played is the product's own."""
    if event in ("queue.handler_failed", "queue.job_crashed"):
        error = world.last_error()
        # A death that could not be recorded in an outage is found out when the lease ends.
        if not isinstance(error, PlayedError) and "StorageUnavailable" not in said:
            world.truth.surprises.append(f"{event}: {error!r} {said}")


class Simulation:
    """The course of one world."""

    def __init__(self, world: World, storage: Storage) -> None:
        self.world = world
        self.storage = storage
        self.machine = Machine(world, storage, SimTwilio(world))
        self.scenario = Scenario(world, self.machine, self._numbers(world.plan))
        self.violations: list[str] = []

    def _numbers(self, plan_: Plan) -> list[Number]:
        """An owner for each number, stored as if somebody had registered them long ago."""
        ids, now = UuidV7(self.world.clock, self.world.chance.getrandbits), self.world.clock.now()
        keys = KeyRing(Sealer(bytes(32)), random.Random("keys").randbytes)  # noqa: S311 - the same in every world
        numbers = []
        for n in range(plan_.numbers):
            owner = Owner(
                id=ids.new(),
                name=f"Owner {n}",
                email=f"owner{n}@example.org",
                created_at=now,
                nudge_text=NUDGE if plan_.nudges else None,
                send_policy="prefer_delivery" if plan_.prefer_delivery else "prefer_silence",
            )
            pigeon = plan_.has_pigeon and n == plan_.numbers - 1
            ours = f"pigeon:shop-{n}" if pigeon else f"whatsapp:+551190000000{n}"
            made = keys.make(owner.id)
            salt = keys.open(made).lane_salt
            number = Number(owner.id, ids.new(), Address(ours), salt, PIGEON if pigeon else PROVIDER)
            account_id = ids.new()
            register = partial(_register, owner=owner, keys=made, account_id=account_id, number=number)
            self.storage.write_apart(register)
            self.world.addresses[number.address.value] = KnownAddress(
                address=number.address.value,
                address_id=number.address_id,
                owner_id=owner.id,
                account_id=account_id,
                provider=number.provider,
                account_ref=number.account_ref,
                locale=owner.locale,
                lane_salt=number.lane_salt,
                had_webhook=True,
            )
            numbers.append(number)
        return numbers

    async def play(self) -> None:
        world = self.world
        self.machine.start_api()
        for n in range(world.plan.workers):
            self.machine.start_worker(f"worker{n + 1}")
        for episode in range(world.plan.episodes):
            if episode and self._all_quiet():
                self._night()
            await self._episode()
        self.scenario.stop_faults()
        await self._settle(PATIENCE)
        await self._last_news()
        await self._fall_silent()
        await self._judge()

    async def _episode(self) -> None:
        world = self.world
        seconds = EPISODE * world.chance.choice((0.2, 1.0, 1.0, 4.0))
        busy = [
            world.loop.start_in(None, self.scenario.write_in_bursts(who % len(CUSTOMERS), seconds))
            for who in range(world.plan.customers)
        ]
        busy.append(world.loop.start_in(None, self.scenario.inject_faults(seconds)))
        await asyncio.wait(busy)
        for task in busy:
            task.result()
        await self._settle(world.chance.choice((5.0, 300.0, 1200.0)))

    def _night(self) -> None:
        """Hours in which nobody writes: nothing is worth simulating but that they have passed."""
        if self.world.chance.random() < 0.5 or not self.scenario.write_at_the_boundary(by_sleeping=True):
            self._sleep(self.world.chance.choice((600.0, 3600.0, 36_000.0, 100_000.0)) * self.world.chance.random())
        self.machine.twilio.deliver_late()

    def _sleep(self, seconds: float) -> None:
        self.world.clock.slept += seconds
        self.world.delay_expected()

    async def _last_news(self) -> None:
        """What Twilio held back comes at last, and where webhooks were lost its list is swept once more."""
        self.machine.twilio.deliver_late()
        lost = any(not said.acknowledged for said in self.world.truth.said.values())
        await asyncio.sleep(SWEPT_WITHIN if lost else 65.0)
        await self._settle(PATIENCE)

    async def _fall_silent(self) -> None:
        """Nobody writes any more: whatever nobody holds falls idle, is nudged once, and ends."""
        plan_ = self.world.plan
        sweep = plan_.quiet_every.total_seconds() + SLACK
        for limit, left in ((plan_.idle, ("open",)), (plan_.expire, ("open", "idle"))):
            self._sleep(limit.total_seconds())
            await asyncio.sleep(sweep)
            await self._settle(PATIENCE)  # A nudge is waited for, and so is what it keeps from ending.
            await asyncio.sleep(sweep)
            self.violations.extend(Oracle(self.world, self.storage).left_behind(left))

    async def _settle(self, seconds: float) -> None:
        """Until nothing is under way any more, or for so long."""
        until = self.world.loop.time() + seconds
        while self.world.loop.time() < until:
            await asyncio.sleep(min(10.0, seconds))
            if self._all_quiet():
                return

    def _all_quiet(self) -> bool:
        return self.scenario.calls == 0 and not self._unfinished()

    def _unfinished(self) -> int:
        count = self.storage.look(
            "SELECT count(*) FROM message_queue WHERE status IN ('collecting', 'waiting', 'running')"
            " AND name NOT LIKE 'sweep.%' AND name NOT LIKE '%_conversations'"
        )
        return count or 0

    async def _judge(self) -> None:
        if unfinished := self._unfinished():
            self.violations.append(f"{unfinished} jobs are unfinished after {PATIENCE / 3600:.0f} calm hours")
        report = await self.machine.ask(lambda parts: parts.verifier.verify())
        self.violations.extend(Oracle(self.world, self.storage).violations(report))
        self.violations.extend(self.world.loop.complaints)
        for became, by, times in self.storage.rows("SELECT became, by, count(*) FROM played_endings GROUP BY 1, 2"):
            self.world.counts[f"{became} by the {by}"] += times
        self.world.counts["nudge sent"] += self.storage.look("SELECT count(*) FROM played_nudges") or 0


def _register(uow: UnitOfWork, owner: Owner, keys: SealedOwnerKeys, account_id: UUID, number: Number) -> None:
    Owners(uow).register(owner, keys)
    account = {
        "id": account_id,
        "owner_id": owner.id,
        "provider": number.provider,
        "account_ref": number.account_ref,
        "created_at": owner.created_at,
        "updated_at": owner.created_at,
        "changed_in": 1,
    }
    uow.execute(channel_accounts.insert(), account)
    address = {
        "id": number.address_id,
        "owner_id": owner.id,
        "account_id": account_id,
        "address": number.address.value,
        "created_at": owner.created_at,
        "first_webhook_at": owner.created_at,
    }
    uow.execute(channel_addresses.insert(), address)
