"""Transactions that wait before they begin: what is stored later in a lane bears a later time."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar
from uuid import UUID

from recado.channels.repository import AccountPauses
from recado.conversation.people.handoff import HandOffService
from recado.conversation.ports import AgentResult, Reply, TurnContext
from recado.conversation.sending.handler import SendHandler
from recado.conversation.sending.splitting import split
from recado.core.database.engine import Database
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.queue.service import QueueService
from tests.contracts.queue import NoChance
from tests.world import DEADLINE, LEASE, World

ON_BOTH_DATABASES = True

T = TypeVar("T")


class WaitingDatabase:
    """A database whose writes wait before they begin, as behind a busy writer or a lock."""

    def __init__(self, database: Database, wait: Callable[[], Awaitable[object]]) -> None:
        self._database = database
        self._wait = wait
        self.url = database.url
        self.last_failure = database.last_failure
        self.read = database.read
        self.batched = database.batched
        self.write_from_thread = database.write_from_thread
        self.on_commit = database.on_commit
        self.close = database.close

    async def write(self, work: Callable[[UnitOfWork], T], *, owner: UUID | None, urgent: bool = False) -> T:
        await self._wait()
        return await self._database.write(work, owner=owner, urgent=urgent)


def desk(world: World, wait: Callable[[], Awaitable[object]]) -> HandOffService:
    """Return a desk of people whose writes wait."""
    return HandOffService(
        WaitingDatabase(world.database, wait), world.clock, world.ids, split, world.rules, DEADLINE, 3
    )


class TestAPersonsReply:
    async def test_that_waited_behind_the_agents_answer_stops_it(self, world: World) -> None:
        """It is stored after the answer, so its time is later, although it was written before."""
        gate = asyncio.Event()
        await world.says("hello")
        earlier = len(world.sent_texts())
        conversation = await world.conversation()
        replies: list[asyncio.Task[object]] = []

        async def replied_meanwhile(_turn: TurnContext) -> AgentResult:
            replying = desk(world, gate.wait).reply(world.rita, conversation.id, "person", take=True)
            replies.append(asyncio.create_task(_as_object(replying)))
            await asyncio.sleep(0)
            world.advance(1)
            return Reply("agent")

        world.agents.will(replied_meanwhile)
        await world.receives("question")
        world.advance(2)
        await world.works_once()
        gate.set()
        await asyncio.gather(*replies)
        await world.release()
        await world.passes(30)

        assert world.sent_texts()[earlier:] == ["person"]

    async def test_that_waited_until_the_turn_began_answers_it(self, world: World) -> None:
        gate = asyncio.Event()
        await world.says("hello")
        conversation = await world.conversation()
        sid = await world.receives("question")
        world.advance(2)
        replying = asyncio.create_task(desk(world, gate.wait).reply(world.rita, conversation.id, "person", take=True))
        await asyncio.sleep(0)
        world.advance(0.5)

        async def lets_it_through(_turn: TurnContext) -> AgentResult:
            gate.set()
            await replying
            return Reply("agent")

        world.agents.will(lets_it_through)
        await world.passes(30)

        assert await world.outcome_of(sid) == "answered"


async def test_slow_writes_do_not_stop_the_sending(world: World) -> None:
    """An attempt begins when it is stored: the wait before that makes its call no later."""

    async def slow() -> None:
        world.advance(6)

    waiting = WaitingDatabase(world.database, slow)
    sends = SendHandler(waiting, world.clock, world.ids, NoChance(), world.channels, AccountPauses())
    world.queue = QueueService(world.database, world.clock, world.ids, NoChance(), (world.replies, sends), lease=LEASE)
    await world.says("oi")
    await world.passes(60)

    assert world.sent_texts() == ["echo: oi"]


async def _as_object(awaited: Awaitable[object]) -> object:
    return await awaited
