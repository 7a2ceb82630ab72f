"""The metrics after a small scenario: everything is counted, and no customer can be recognised."""

import asyncio
import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families

from recado.conversation.errors import AgentFailed
from recado.conversation.ports import HandOff, NotProcessed, Refused
from recado.core.clock import FrozenClock, SystemClock
from recado.core.database.engine import Database
from recado.core.errors import StorageUnavailable
from recado.core.ids import UuidV7
from recado.core.metrics import Meters
from recado.operations.exposition import CACHE_SECONDS, Exposition
from recado.operations.gauges import Gauges
from tests.world import BRUNO, World

SECRET_WORDS = "o bolo de cenoura é para sexta"


@pytest.fixture
async def world(database: Database, clock: FrozenClock, ids: UuidV7, meters: Meters) -> World:
    return await World.open(database, clock, ids, meters=meters)


def exposition(world: World, key: str | None = None) -> Exposition:
    return Exposition(world.meters, lambda: Gauges(world.database, world.clock), key, 300.0, world.clock)


async def samples(world: World) -> dict[str, float]:
    """Return all series as `name{value,…}`."""
    families = text_string_to_metric_families((await exposition(world).render_all()).decode())
    return {
        sample.name + (f"{{{','.join(sample.labels.values())}}}" if sample.labels else ""): sample.value
        for family in families
        for sample in family.samples
    }


async def test_an_answered_message_is_counted_from_its_arrival_to_its_outcome(world: World) -> None:
    await world.says("oi")

    seen = await samples(world)

    assert seen["recado_messages_accepted_total"] == 1
    assert seen["recado_agent_runs_total{reply}"] == 1
    assert (seen["recado_send_attempts_total{sending}"], seen["recado_send_attempts_total{accepted}"]) == (1, 1)
    assert seen["recado_outcomes_total{answered,}"] == 1
    assert seen["recado_job_runs_total{conversation.reply,done}"] == 1


async def test_waiting_is_counted_from_the_due_time_and_running_from_the_claim(world: World) -> None:
    await world.receives("oi")
    world.advance(1.5 + 3)
    await world.work()

    seen = await samples(world)

    assert seen["recado_job_wait_seconds_sum{conversation.reply}"] == 3
    assert seen["recado_job_wait_seconds_bucket{conversation.reply,2.5}"] == 0
    assert seen["recado_job_wait_seconds_bucket{conversation.reply,5.0}"] == 1
    assert seen["recado_job_run_seconds_count{conversation.reply}"] == 1


async def test_a_burst_has_one_answer_and_its_others_are_superseded(world: World) -> None:
    await world.receives("oi")
    await world.says("tudo bem?")

    seen = await samples(world)

    assert (seen["recado_outcomes_total{answered,}"], seen["recado_outcomes_total{superseded,}"]) == (1, 1)


async def test_a_failing_agent_ends_in_a_dead_letter_and_an_apology(world: World) -> None:
    world.agents.will(AgentFailed("no key", retryable=False))
    await world.says("oi")

    seen = await samples(world)

    assert seen["recado_agent_runs_total{failed}"] == 1
    assert seen["recado_dead_letters_made_total{conversation.reply}"] == 1
    assert seen["recado_outcomes_total{apologised,}"] == 1


async def test_sends_that_come_to_nothing_are_counted_by_how(world: World) -> None:
    world.channel.will(NotProcessed("429", "slow down"), Refused("63024", "no such number", "unreachable"))
    await world.says("oi")
    await world.passes(60)

    seen = await samples(world)

    assert (seen["recado_send_attempts_total{retry}"], seen["recado_send_attempts_total{refused}"]) == (1, 1)
    assert seen["recado_outcomes_total{suppressed,unreachable}"] == 1


async def test_what_is_rolled_back_is_not_counted(world: World) -> None:
    def fails(uow: object) -> None:
        getattr(uow, "count")(next(iter(world.meters.counted())), "messages", "200")  # noqa: B009 - any counter does
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await world.database.write(fails, owner=None)
    assert "recado_webhook_answers_total{messages,200}" not in await samples(world)


async def test_what_has_not_happened_yet_is_zero(world: World) -> None:
    """A rise from nothing to one is seen by no `increase()`."""
    seen = await samples(world)
    assert seen["recado_dead_letters_made_total{answer.send}"] == 0
    assert seen["recado_webhook_forbidden_total{unknown}"] == 0


async def test_without_the_database_the_counters_of_the_process_are_shown(world: World) -> None:
    await world.says("oi")

    def unreachable() -> Gauges:
        raise StorageUnavailable("it is gone")

    told = (await Exposition(world.meters, unreachable, None, 300.0, world.clock).render_all()).decode()

    assert "recado_database_readable 0.0" in told
    assert "recado_messages_accepted_total 1.0" in told


async def test_a_worker_exposes_its_own_numbers_only(world: World) -> None:
    told = (await exposition(world).render_process()).decode()
    assert "recado_job_runs" in told
    assert "recado_jobs" not in told.replace("recado_job_runs", "")


async def test_concurrent_callers_and_those_of_one_second_get_one_answer(world: World, clock: FrozenClock) -> None:
    polls = 0

    def looked() -> Gauges:
        nonlocal polls
        polls += 1
        return Gauges(world.database, world.clock)

    told = Exposition(world.meters, looked, None, 300.0, world.clock)
    assert len({await each for each in [told.render_all() for _ in range(20)]}) == 1
    assert len(set(await asyncio.gather(*[told.render_all() for _ in range(20)]))) == 1
    assert polls == 1

    clock.advance(timedelta(seconds=CACHE_SECONDS))
    await told.render_all()
    assert polls == 2


@pytest.mark.parametrize(
    ("key", "header", "allowed"),
    [
        (None, "", True),
        ("k", "", False),
        ("k", "Bearer k", True),
        ("k", "bearer k", True),
        ("k", "Bearer ü", False),
        ("k", "k", False),
        ("sésamo", "Bearer sésamo".encode().decode("latin-1"), True),
    ],
)
def test_a_key_that_is_set_must_be_borne(meters: Meters, key: str | None, header: str, allowed: bool) -> None:
    gauges: Callable[[], Gauges] = lambda: pytest.fail("nothing is read")  # noqa: E731
    assert Exposition(meters, gauges, key, 300.0, SystemClock()).allows(header) is allowed


async def test_no_customer_can_be_recognised(world: World) -> None:
    world.agents.will(HandOff(SECRET_WORDS), AgentFailed(SECRET_WORDS, retryable=False))
    await world.says(SECRET_WORDS)
    await world.says(SECRET_WORDS, BRUNO)

    told = (await exposition(world).render_all()).decode()

    assert not re.search(r"\d{8,}", re.sub(r"[\d.e+-]+$", "", told, flags=re.MULTILINE))
    assert "bolo" not in told
