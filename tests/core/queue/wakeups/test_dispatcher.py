"""The dispatcher: which jobs it publishes wake-ups for, and when again. The broker here only records them."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from recado.core.clock import FrozenClock
from recado.core.database.engine import Database
from recado.core.errors import BrokerLost
from recado.core.ids import Ids
from recado.core.queue.job import Discard, Done, RetryIn
from recado.core.queue.wakeups.contract import BrokerState, Room, WakeUp
from recado.core.queue.wakeups.dispatcher import Dispatcher
from tests.contracts.queue import FLORES, PADARIA, QUIET, SECOND, NoChance, QueueHarness
from tests.support.lanes import lane_named
from tests.support.patience import PATIENCE

ON_BOTH_DATABASES = True


@dataclass(slots=True)
class RecordingBroker:
    """Records what is published, unless it is broken."""

    told: list[WakeUp] = field(default_factory=list)
    broken: bool = False
    hangs: bool = False
    forgetful: bool = False
    meanwhile: Callable[[], Awaitable[None]] | None = None
    """Called while the dispatcher, which has read the due jobs, asks whether wake-ups were lost."""

    async def publish(self, wakeups: Sequence[WakeUp]) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        if self.broken:
            raise BrokerLost("no answer")
        self.told += wakeups

    async def receive(self, room: Room) -> AsyncGenerator[WakeUp, None]:  # noqa: ARG002
        await asyncio.Event().wait()
        yield WakeUp()

    async def forgot(self) -> bool:
        if self.meanwhile is not None:
            await self.meanwhile()
        forgetful, self.forgetful = self.forgetful, False
        return forgetful

    async def state(self) -> BrokerState:
        return BrokerState("noting", not self.broken)

    async def close(self) -> None:
        """Nothing is held."""


@pytest.fixture
def harness(database: Database, clock: FrozenClock, ids: Ids) -> QueueHarness:
    return QueueHarness(database, clock, ids)


@pytest.fixture
def broker() -> RecordingBroker:
    return RecordingBroker()


def dispatching(
    harness: QueueHarness, broker: RecordingBroker, *, limit: int = 8, publish_seconds: float = PATIENCE
) -> Dispatcher:
    return Dispatcher(
        harness.database, broker, broker, harness.clock, NoChance(), limit=limit, publish_seconds=publish_seconds
    )


async def test_publishes_for_due_jobs_and_for_nothing_else(
    harness: QueueHarness, broker: RecordingBroker, clock: FrozenClock
) -> None:
    [due] = await harness.stores("ana")
    await harness.queue.enqueue([harness.job("bia", due_in=SECOND)])

    assert await dispatching(harness, broker).step() == 1
    assert [(wakeup.job_id, wakeup.lane, wakeup.dispatch) for wakeup in broker.told] == [(due, lane_named("ana"), 1)]

    clock.advance(SECOND)
    assert await dispatching(harness, broker).step() == 1
    assert [wakeup.lane for wakeup in broker.told] == [lane_named("ana"), lane_named("bia")]


async def test_publishes_once_for_a_job_though_several_dispatch(harness: QueueHarness, broker: RecordingBroker) -> None:
    await harness.stores(*(f"lane {n}" for n in range(6)))

    sent = await asyncio.gather(*(dispatching(harness, broker).step() for _ in range(4)))

    assert sum(sent) == 6
    assert len({wakeup.key for wakeup in broker.told}) == 6


async def test_only_the_head_of_a_lane_is_published_and_then_the_next(
    harness: QueueHarness, broker: RecordingBroker
) -> None:
    first, second = await harness.stores("ana", "ana")
    dispatcher = dispatching(harness, broker)
    await dispatcher.step()

    await harness.queue.finish(await harness.claims_one(), Done())
    await dispatcher.step()

    assert [wakeup.job_id for wakeup in broker.told] == [first, second]


async def test_never_more_than_the_limit_are_under_way(harness: QueueHarness, broker: RecordingBroker) -> None:
    await harness.stores(*(f"lane {n}" for n in range(20)))
    dispatcher = dispatching(harness, broker, limit=8)

    assert [await dispatcher.step(), await dispatcher.step()] == [8, 0]

    await harness.claims(3)
    assert await dispatcher.step() == 3


async def test_an_unclaimed_job_is_republished_later_and_later(
    harness: QueueHarness, broker: RecordingBroker, clock: FrozenClock
) -> None:
    await harness.stores("ana")
    dispatcher = dispatching(harness, broker)
    await dispatcher.step()

    waits = []
    for _ in range(8):
        waited = 0
        while not await dispatcher.step():
            clock.advance(10 * SECOND)
            waited += 10
        waits.append(waited)

    assert waits == [30, 60, 120, 240, 480, 600, 600, 600]
    assert [wakeup.dispatch for wakeup in broker.told] == list(range(1, 10))


async def test_a_retry_is_published_under_a_new_key_and_with_the_first_delay(
    harness: QueueHarness, broker: RecordingBroker, clock: FrozenClock
) -> None:
    await harness.stores("ana")
    dispatcher = dispatching(harness, broker)
    await dispatcher.step()
    await harness.queue.finish(await harness.claims_one(), RetryIn(SECOND, "not yet"))

    assert await dispatcher.step() == 0
    clock.advance(SECOND)
    assert await dispatcher.step() == 1
    assert [wakeup.dispatch for wakeup in broker.told] == [1, 2]

    clock.advance(30 * SECOND)
    assert await dispatcher.step() == 1


async def test_a_retry_that_began_while_the_dispatcher_read_is_published_when_it_is_due(
    harness: QueueHarness, broker: RecordingBroker, clock: FrozenClock
) -> None:
    await harness.stores("bia")
    dispatcher = dispatching(harness, broker)
    await dispatcher.step()
    [ana] = await harness.stores("ana")

    async def a_worker_looks_by_itself() -> None:
        [job] = [claim for claim in await harness.claims() if claim.job.id == ana]
        await harness.queue.finish(job, RetryIn(SECOND, "not yet"))

    broker.meanwhile = a_worker_looks_by_itself
    assert await dispatcher.step() == 1  # Too early: its receiver finds nothing due.

    clock.advance(SECOND)
    assert await dispatcher.step() == 1
    assert [wakeup.job_id for wakeup in broker.told[1:]] == [ana, ana]


async def test_a_window_that_grew_after_its_wake_up_is_published_when_it_ends(
    harness: QueueHarness, broker: RecordingBroker, clock: FrozenClock
) -> None:
    await harness.message_comes("ana")
    dispatcher = dispatching(harness, broker)
    clock.advance(QUIET)
    assert await dispatcher.step() == 1
    await harness.message_comes("ana")

    assert await dispatcher.step() == 0
    clock.advance(QUIET)
    assert await dispatcher.step() == 1
    assert await harness.claims()


async def test_an_owner_at_its_cap_takes_no_place(harness: QueueHarness, broker: RecordingBroker) -> None:
    await harness.given_cap(PADARIA, 1)
    await harness.stores(*(f"p{n}" for n in range(12)))
    await harness.stores("f1", owner=FLORES)
    dispatcher = dispatching(harness, broker, limit=4)

    await dispatcher.step()
    assert {wakeup.lane for wakeup in broker.told} == {lane_named("f1"), lane_named("p0")}

    running = await harness.claims(2)
    assert await dispatcher.step() == 0
    await harness.queue.finish(next(claim for claim in running if claim.job.owner_id == PADARIA), Done())
    await dispatcher.step()
    assert broker.told[-1].lane == lane_named("p1")


@pytest.mark.parametrize("fault", ["broken", "hangs"])
async def test_wake_ups_that_a_broker_refused_are_published_when_it_is_back(
    harness: QueueHarness, broker: RecordingBroker, fault: str
) -> None:
    [job_id] = await harness.stores("ana")
    setattr(broker, fault, True)
    dispatcher = dispatching(harness, broker, publish_seconds=0.05)

    with pytest.raises(BrokerLost):
        await dispatcher.step()
    setattr(broker, fault, False)

    assert await dispatching(harness, broker).step() == 1
    assert broker.told[0].job_id == job_id


async def test_everything_is_republished_to_a_broker_that_forgot(
    harness: QueueHarness, broker: RecordingBroker, clock: FrozenClock
) -> None:
    await harness.stores("ana", "bia")
    dispatcher = dispatching(harness, broker)
    await dispatcher.step()
    broker.forgetful = True

    assert await dispatcher.step() == 2
    clock.advance(SECOND)
    assert await dispatcher.step() == 0
    assert len({wakeup.key for wakeup in broker.told}) == 4


async def test_a_wake_up_taken_by_a_full_worker_is_republished_at_once(
    harness: QueueHarness, broker: RecordingBroker
) -> None:
    await harness.stores("ana")
    dispatcher = dispatching(harness, broker)
    await dispatcher.step()

    await dispatcher.republish(broker.told[0])

    assert await dispatcher.step() == 1
    assert broker.told[0].key != broker.told[1].key


async def test_an_old_wake_up_takes_nothing_back(
    harness: QueueHarness, broker: RecordingBroker, clock: FrozenClock
) -> None:
    await harness.stores("ana")
    dispatcher = dispatching(harness, broker)
    await dispatcher.step()
    clock.advance(timedelta(seconds=30))
    await dispatcher.step()

    await dispatcher.republish(broker.told[0])

    assert await dispatcher.step() == 0


async def test_an_ended_job_is_not_published(harness: QueueHarness, broker: RecordingBroker) -> None:
    await harness.stores("ana", "bia")
    dispatcher = dispatching(harness, broker)
    await harness.queue.finish((await harness.claims())[0], Discard("no more"))

    assert await dispatcher.step() == 0
