"""The processes of the installation: an API, some workers, and the processes that workers start for isolated jobs.

Each is wired as `recado.bootstrap` does it, from the product's own classes. Simulated are the ports (channels, agents),
the wake-ups, and what would need a thread or a real process: the heartbeat's thread is a task, a child process is a
`Process`.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar, cast
from uuid import UUID

from recado.channels.directory import Directory
from recado.channels.repository import AccountPauses, NumbersInUse
from recado.channels.router import ChannelRouter, InstalledChannel
from recado.channels.twilio.reconcile import GapSweep
from recado.channels.twilio.rules import rules_for
from recado.channels.twilio.sending.client import TwilioApi
from recado.channels.twilio.tokens import TwilioTokens
from recado.channels.twilio.values import PROVIDER
from recado.channels.twilio.webhook.dtos import FAILED, advances
from recado.conversation.people.contacts import ContactService
from recado.conversation.people.handoff import HandOffService
from recado.conversation.people.messages import MessageService
from recado.conversation.replying.accept import AcceptService, BurstWindow
from recado.conversation.replying.handler import ReplyHandler
from recado.conversation.replying.open import ReplyLimits
from recado.conversation.sending.handler import SendHandler
from recado.conversation.sending.provider_messages import DeliveryReportService
from recado.conversation.sending.results import SendRules
from recado.conversation.sending.splitting import split
from recado.conversation.upkeep.expiry import IdleExpiry, IdleLimits
from recado.conversation.upkeep.rescue import Rescue
from recado.core.database.types import to_microseconds
from recado.core.errors import DomainError
from recado.core.ids import Ids, UuidV7
from recado.core.queue.cron import Cron, Sweep
from recado.core.queue.job import Claim
from recado.core.queue.running.heartbeat import Heartbeat
from recado.core.queue.running.isolation import BEGUN, DONE, GAVE_BACK, IsolatedRunner
from recado.core.queue.running.maintenance import Maintenance
from recado.core.queue.running.worker import Worker
from recado.core.queue.schedules import Schedule
from recado.core.queue.service import QueueService
from recado.core.queue.wakeups.contract import Room, WakeUp
from recado.operations.pruning import Pruning
from recado.operations.verify import Verifier
from tests.chaos.simulator.loop import PROCESS, Process, VirtualLoop
from tests.chaos.simulator.outside.agents import SimAgents
from tests.chaos.simulator.outside.twilio import InboundList, SimChannel, SimTwilio
from tests.chaos.simulator.storage import ProcessDatabase, Storage
from tests.chaos.simulator.world import World
from tests.support.keys import KEY_RING
from tests.support.pigeon import PIGEON, installed

T = TypeVar("T")

MAX_ATTEMPTS = 3
NET = (1.0, 8.0)
"""Seconds after which a worker without a wake-up polls."""


# --- What is played ---------------------------------------------------------------------------------------------------


class SimWakeups:
    """A wake-up source that forgets, and wakes without a reason."""

    def __init__(self, world: World, storage: Storage) -> None:
        self._world = world
        self._storage = storage
        self._woken = asyncio.Event()
        self._hurry: float | None = None
        storage.listeners.append(self._wake)

    async def publish(self, wakeups: Sequence[WakeUp]) -> None:
        """The rows are the wake-ups."""

    async def receive(self, room: Room) -> AsyncGenerator[WakeUp, None]:  # noqa: ARG002
        while True:
            patience = self._world.chance.uniform(*NET)
            next_due = self._storage.look("SELECT min(next_due_at) FROM lanes WHERE next_due_at > ?", self._now())
            if next_due is not None:
                patience = min(patience, max(0.0, (next_due - self._now()) / 1e6) + 0.001)
            try:
                async with asyncio.timeout(patience):
                    await self._woken.wait()
                self._woken.clear()
            except TimeoutError:
                pass
            due = self._storage.look("SELECT 1 FROM lanes WHERE next_due_at <= ? LIMIT 1", self._now())
            if due is not None or self._world.happens("wake-up for nothing"):
                yield WakeUp()

    async def close(self) -> None:
        """Nothing is held."""

    def forget(self) -> None:
        """Its process is gone."""
        self._storage.listeners.remove(self._wake)

    def _wake(self) -> None:
        if not self._woken.is_set() and not self._world.happens("wake-up forgotten"):
            self._world.loop.later(self._world.chance.random() * 0.02, self._woken.set)

    def _now(self) -> int:
        return to_microseconds(self._world.clock.now())


class SimHeartbeat(Heartbeat):
    """The real one, beaten by a task instead of a thread."""

    def __init__(self, world: World, database: ProcessDatabase, lease: timedelta) -> None:
        super().__init__(database, world.clock, lease)
        self._world = world
        self._thread = threading.Thread()  # Never started: with one there, the real one starts none.

    def close(self) -> None:
        """There is no thread to be stopped."""

    async def beat_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._lease.total_seconds() / 3)
            if self._world.happens("heartbeat missed"):
                self._world.delay_expected()
                continue
            try:
                self.beat()
            except DomainError as error:
                self._world.trace(f"heartbeat failed: {error}")


class SimMaintenance(Maintenance):
    """The real pass, less often while nothing runs here: a day of idle passes is not worth its price."""

    def __init__(self, world: World, queue: QueueService, cron: Cron, busy: Callable[[], bool]) -> None:
        super().__init__(queue, cron, world.clock)
        self._world = world
        self._busy = busy

    async def run(self, after_pass: Callable[[], Awaitable[None]], look: Callable[[], None]) -> None:  # noqa: ARG002
        while True:
            try:
                await self.step()
                await after_pass()
            except DomainError as error:
                self._world.trace(f"maintenance failed: {error}")
            await asyncio.sleep(1.0 if self._busy() else self._world.chance.uniform(2.0, 8.0))


class SimQueue(QueueService):
    """The real one; what would find nothing is known beforehand by a bare look, at a hundredth of the price."""

    storage: Storage

    async def claim(self, limit: int, *, max_isolated: int, max_background: int | None = None) -> list[Claim]:
        due = "SELECT 1 FROM lanes WHERE next_due_at <= ? LIMIT 1"
        if self.storage.down or self.storage.look(due, to_microseconds(self._clock.now())) is not None:
            return await super().claim(limit, max_isolated=max_isolated, max_background=max_background)
        return []

    async def free_ended_leases(self) -> int:
        ended = "SELECT 1 FROM message_queue WHERE status = 'running' AND leased_until < ? LIMIT 1"
        if self.storage.down or self.storage.look(ended, to_microseconds(self._clock.now())) is not None:
            return await super().free_ended_leases()
        return 0


class Pipe(asyncio.Transport):
    """One end of a child's pipe: what is written is heard, closing it is too."""

    def __init__(self, loop: VirtualLoop, heard: Callable[[bytes], object], closed: Callable[[], object]) -> None:
        super().__init__()
        self._loop = loop
        self._heard = heard
        self._closed = closed

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._heard(bytes(data))

    def is_closing(self) -> bool:
        return self._loop.is_closed()

    def close(self) -> None:
        self._closed()


class SimChild(asyncio.SubprocessTransport):
    """A process that a worker started for isolated jobs, as its parent sees it and as it sees its parent."""

    def __init__(self, loop: VirtualLoop, number: int, process: Process, protocol: asyncio.SubprocessProtocol) -> None:
        super().__init__()
        self._loop = loop
        self._number = number
        self._process = process
        self._code: int | None = None
        self._over = asyncio.Event()
        self._stdin = Pipe(loop, self._hear, lambda: self.end(GAVE_BACK))
        self._stdout = Pipe(loop, lambda _: None, lambda: None)
        self._protocol = protocol
        self.jobs: asyncio.Queue[tuple[UUID, UUID]] = asyncio.Queue()
        self.stopping = asyncio.Event()
        process.ended = lambda: self._end(-9)

    # What the child does

    def tell(self, word: bytes) -> None:
        """The parent hears of it in a moment, if it still listens."""
        self._loop.later(0.0005, partial(self._protocol.pipe_data_received, 1, word))

    def end(self, code: int) -> None:
        """It ends by itself."""
        self._end(code)
        self._process.kill()

    # What the parent does

    def get_pid(self) -> int:
        return self._number

    def get_returncode(self) -> int | None:
        return self._code

    def get_pipe_transport(self, fd: int) -> asyncio.BaseTransport | None:
        return {0: self._stdin, 1: self._stdout}.get(fd)

    async def _wait(self) -> int:
        await self._over.wait()
        assert self._code is not None
        return self._code

    def terminate(self) -> None:
        self.stopping.set()

    def kill(self) -> None:
        self._process.kill()

    def close(self) -> None:
        """Nothing is held."""

    def _hear(self, line: bytes) -> None:
        job_id, token = line.decode().split()
        self._loop.later(0.0005, partial(self.jobs.put_nowait, (UUID(job_id), UUID(token))))

    def _end(self, code: int) -> None:
        if self._code is None:
            self._code = code
            self._over.set()
            self._loop.later(0.001, partial(self._protocol.pipe_connection_lost, 1, None))


# --- One process ------------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class Parts:
    """The product, as one process has it."""

    process: Process
    ids: UuidV7
    agents: SimAgents
    acceptance: AcceptService
    reports: DeliveryReportService
    idle_expiry: IdleExpiry
    handoff: HandOffService
    contacts: ContactService
    messages: MessageService
    queue: QueueService
    heartbeat: SimHeartbeat
    wakeups: SimWakeups | None
    worker: Worker | None
    verifier: Verifier


class Machine:
    """Starts processes, and starts them again when they have ended."""

    def __init__(self, world: World, storage: Storage, twilio: SimTwilio) -> None:
        self.world = world
        self.storage = storage
        self.twilio = twilio
        self.api: Parts
        self.workers: dict[str, Parts] = {}
        self._children: list[Parts] = []
        self._born = 0
        world.loop.spawn = self._spawn

    # --- Wiring -------------------------------------------------------------------------------------------------------

    def build(self, name: str, *, works: bool) -> Parts:
        """A fresh process over the same database."""
        world, plan = self.world, self.world.plan
        self._born += 1
        process = Process(f"{name}.{self._born}", world.loop.time(), hazard=self._hazard)
        database = ProcessDatabase(self.storage, process)
        ids = UuidV7(world.clock, world.chance.getrandbits)
        window = BurstWindow()
        acceptance = AcceptService(database, ids, window, MAX_ATTEMPTS)
        agents = SimAgents(world)
        cut = partial(split, limit=plan.part_limit)
        channel = SimChannel(self.twilio)
        channels = ChannelRouter(
            {PROVIDER: InstalledChannel(channel, rules_for, finder=channel), PIGEON: installed(channel)}
        )
        limits = ReplyLimits(agent=timedelta(seconds=plan.agent_seconds), answer=plan.deadline, burst=window.most)
        replies = ReplyHandler(database, world.clock, ids, world.chance, agents, channels, cut, limits)
        rules = SendRules(channels, AccountPauses())
        sends = SendHandler(database, world.clock, ids, world.chance, channels, AccountPauses())
        idle_expiry = IdleExpiry(
            database, world.clock, ids, channels, cut, IdleLimits(plan.idle, plan.expire), page=plan.customers
        )
        rescue = Rescue(database, world.clock, ids, cut, MAX_ATTEMPTS)
        sweeps = self._sweeps(database, ids, acceptance, rescue, idle_expiry)
        queue = SimQueue(database, world.clock, ids, world.chance, (replies, sends, *sweeps), lease=plan.lease)
        queue.storage = self.storage
        heartbeat = SimHeartbeat(world, database, plan.lease)
        wakeups, worker = self._worker(database, ids, queue, heartbeat, agents) if works else (None, None)
        return Parts(
            process=process,
            ids=ids,
            agents=agents,
            acceptance=acceptance,
            reports=DeliveryReportService(database, world.clock, ids, advances, FAILED),
            idle_expiry=idle_expiry,
            contacts=ContactService(database, world.clock, ids),
            messages=MessageService(database, world.clock, ids, cut, rules, NumbersInUse(), KEY_RING),
            handoff=HandOffService(database, world.clock, ids, cut, rules, plan.deadline, MAX_ATTEMPTS),
            queue=queue,
            heartbeat=heartbeat,
            wakeups=wakeups,
            worker=worker,
            verifier=Verifier(database, world.clock, plan.deadline.total_seconds(), FAILED),
        )

    def _sweeps(
        self,
        database: ProcessDatabase,
        ids: Ids,
        acceptance: AcceptService,
        rescue: Rescue,
        idle_expiry: IdleExpiry,
    ) -> tuple[Sweep, ...]:
        outside, clock = InboundList(self.world), self.world.clock
        gaps = GapSweep(
            cast(Directory, outside),
            cast(TwilioTokens, outside),
            cast(TwilioApi, outside),
            acceptance,
            database,
            clock,
            ids,
        )
        return (
            Sweep("sweep.turns", rescue.run),
            Sweep("sweep.gaps", gaps.sweep),
            Sweep("sweep.prune", Pruning(database, clock).prune),
            Sweep("idle_conversations", idle_expiry.mark_idle),
            Sweep("expired_conversations", idle_expiry.close_expired),
        )

    def _worker(
        self,
        database: ProcessDatabase,
        ids: UuidV7,
        queue: QueueService,
        heartbeat: SimHeartbeat,
        agents: SimAgents,
    ) -> tuple[SimWakeups, Worker]:
        schedules = (
            Schedule("sweep.turns", self.world.plan.sweep_every),
            Schedule("sweep.gaps", timedelta(minutes=5)),
            Schedule("sweep.prune", timedelta(hours=1)),
            Schedule("idle_conversations", self.world.plan.quiet_every),
            Schedule("expired_conversations", self.world.plan.quiet_every),
        )
        wakeups = SimWakeups(self.world, self.storage)
        held: list[Worker] = []
        maintenance = SimMaintenance(
            self.world, queue, Cron(database, self.world.clock, ids, schedules), lambda: bool(held[0]._running)
        )
        worker = Worker(
            queue,
            wakeups,
            maintenance,
            heartbeat,
            IsolatedRunner(queue, heartbeat),
            database,
            concurrency=8,
            needs_recycling=lambda: agents.abandoned > 0,
        )
        held.append(worker)
        return wakeups, worker

    def _hazard(self) -> bool:
        return self.world.happens("kill at an await")

    # --- Lives --------------------------------------------------------------------------------------------------------

    def start_api(self) -> None:
        self.api = self.build("api", works=False)
        self.api.process.ended = lambda: self._again(self.start_api)
        self.world.trace("api starts")

    def start_worker(self, name: str) -> None:
        parts = self.build(name, works=True)
        self.workers[name] = parts
        again = partial(self.start_worker, name)

        def ended() -> None:
            assert parts.wakeups is not None
            parts.wakeups.forget()
            self._again(again)

        parts.process.ended = ended
        self.world.trace(f"{parts.process.name} starts")
        self.world.loop.start_in(parts.process, parts.heartbeat.beat_for_ever())
        self.world.loop.start_in(parts.process, self._live(parts))

    async def _live(self, parts: Parts) -> None:
        """A worker's life until it stops by itself: because it was told to or needs recycling."""
        assert parts.worker is not None
        try:
            await parts.worker.run()
        except Exception as error:  # noqa: BLE001 - the process ends, and something starts it again
            self.world.truth.surprises.append(f"a worker ended: {error!r}")
        self.world.trace(f"{parts.process.name} stops")
        parts.process.kill()

    def _again(self, start: Callable[[], None]) -> None:
        """Something starts a process again soon after it has ended."""
        chance = self.world.chance
        self.world.trace("a process is gone")
        self.world.loop.later(chance.uniform(0.1, 1.0) if chance.random() < 0.8 else chance.uniform(1.0, 40.0), start)

    def everybody(self) -> list[Parts]:
        """Every process there is now."""
        self._children = [child for child in self._children if child.process.alive]
        return [parts for parts in (self.api, *self.workers.values(), *self._children) if parts.process.alive]

    # --- Asking the API -----------------------------------------------------------------------------------------------

    async def ask(self, request: Callable[[Parts], Coroutine[Any, Any, T]], patience: float = 15.0) -> T:
        """Let the API do something for somebody outside; `Unreachable` when no answer comes."""
        parts = self.api
        if not parts.process.alive:
            raise Unreachable
        task = self.world.loop.start_in(parts.process, request(parts))
        await asyncio.wait({task}, timeout=patience)
        if not task.done():
            raise Unreachable
        return task.result()

    # --- Isolated jobs ------------------------------------------------------------------------------------------------

    def _spawn(self, command: Sequence[str], protocol: asyncio.SubprocessProtocol) -> SimChild:
        """What `recado worker --isolated` would be."""
        assert command[-1] == "--isolated"
        parts = self.build("child", works=True)
        assert parts.wakeups is not None
        parts.wakeups.forget()
        parent = PROCESS.get()
        assert parent is not None
        parent.children.append(parts.process)
        self._children.append(parts)
        child = SimChild(self.world.loop, self._born, parts.process, protocol)
        self.world.loop.start_in(parts.process, parts.heartbeat.beat_for_ever())
        self.world.loop.start_in(parts.process, self._run_isolated_jobs(parts, child))
        return child

    async def _run_isolated_jobs(self, parts: Parts, child: SimChild) -> None:
        """`entrypoints.worker.run_isolated_jobs`, with played pipes and signals."""
        worker, stopping = parts.worker, child.stopping
        assert worker is not None
        told_to_stop = asyncio.create_task(stopping.wait())
        while not stopping.is_set() and not worker.needs_recycling:
            handed = asyncio.create_task(child.jobs.get())
            await asyncio.wait({handed, told_to_stop}, return_when=asyncio.FIRST_COMPLETED)
            if not handed.done():
                break
            child.tell(BEGUN)
            claim = await parts.queue.find_claimed(*handed.result())
            if claim is not None:
                running = asyncio.create_task(worker.run_one(claim))
                await asyncio.wait({running, told_to_stop}, return_when=asyncio.FIRST_COMPLETED)
                running.cancel()
                await asyncio.wait({running})
            if not stopping.is_set():
                child.tell(DONE)
        child.end(GAVE_BACK)


class Unreachable(Exception):
    """The API is down, or did not answer in time."""
