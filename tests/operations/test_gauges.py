"""Gauges of the queue: each has the right value, and none reads closed rows."""

import re
from typing import Protocol

import pytest
from sqlalchemy import text

from recado.conversation.errors import AgentFailed
from recado.conversation.ports import HandOff, Unknown
from recado.core.clock import FrozenClock
from recado.core.database.engine import Database
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.queue.job import BACKGROUND_PRIORITY
from recado.operations.gauges import Gauges
from recado.operations.storage.gauges import AGES, COUNTS, statement
from tests.conftest import NOON
from tests.world import BRUNO, World

ON_BOTH_DATABASES = True

OPEN = (
    "ix_message_queue_unfinished", "ix_message_queue_dead", "ix_messages_unturned", "ix_turns_unsettled",
    "ix_answers_unsettled", "uq_attempts_in_flight", "ix_inbox_items_open", "ix_orphans_waiting", "ix_lanes_due",
    "ix_message_queue_letters",
)  # fmt: skip
"""Indexes of open rows only."""
SMALL = ("channel_accounts", "CONSTANT ROW", "oldest")


class Question(Protocol):
    """The query of a gauge."""

    @property
    def sql(self) -> str: ...


async def numbers(world: World) -> dict[str, float]:
    gathered = await Gauges(world.database, world.clock).read()
    return {".".join((fact.name.removeprefix("recado_"), *labels)): n for fact in gathered for labels, n in fact.series}


async def test_are_zero_in_an_empty_database(world: World) -> None:
    assert set((await numbers(world)).values()) == {0.0}


async def test_count_a_message_that_is_not_claimed(world: World) -> None:
    await world.receives("oi")
    world.advance(21.5)

    seen = await numbers(world)

    assert (seen["jobs.collecting"], seen["messages_unanswered"]) == (1, 1)
    assert (seen["oldest_unanswered_seconds"], seen["oldest_due_seconds"]) == (21.5, 20.0)


async def test_are_late_by_what_a_customer_waits_for_only(world: World) -> None:
    """Forty servers that hang use up the slots of events, and no customer waits."""
    await world.receives("oi")
    background = f"UPDATE lanes SET next_priority = {BACKGROUND_PRIORITY}"
    await world.breaks(background)
    world.advance(61.5)
    assert (await numbers(world))["oldest_due_seconds"] == 0
    await world.receives("oi", BRUNO)
    world.advance(2.5)
    assert (await numbers(world))["oldest_due_seconds"] == 1


async def test_count_a_message_whose_turn_runs(world: World) -> None:
    world.dies_at = "after_agent"
    await world.says("oi")

    seen = await numbers(world)

    assert (seen["jobs.running"], seen["messages_unanswered"]) == (1, 1)
    assert seen["oldest_unanswered_seconds"] == 2


async def test_forget_a_message_that_is_answered(world: World) -> None:
    await world.says("oi")
    world.advance(60)
    assert set((await numbers(world)).values()) == {0.0}


async def test_count_a_job_that_is_not_due_without_an_age(world: World) -> None:
    await world.receives("oi")
    assert (await numbers(world))["oldest_due_seconds"] == 0


async def test_count_dead_letters_until_they_are_retried_or_discarded(world: World) -> None:
    world.agents.will(AgentFailed("no key", retryable=False))
    await world.says("oi")
    assert (await numbers(world))["dead_letters"] == 1

    [dead] = await world.dead()
    await world.queue.discard(dead.id)

    assert (await numbers(world))["dead_letters"] == 0


async def test_count_a_send_with_an_unknown_result(world: World) -> None:
    world.channel.complete = False
    world.channel.will(Unknown("timeout", "no answer"))
    await world.says("oi")
    world.advance(60)

    seen = await numbers(world)

    assert (seen["sends.unknown"], seen["sends.sending"], seen["answers_unsettled"]) == (1, 0, 1)
    assert seen["oldest_unknown_send_seconds"] > 60


async def test_count_inbox_items_that_wait_for_a_person(world: World) -> None:
    world.agents.will(HandOff("wants a person"))
    await world.says("quero uma pessoa")
    world.advance(600)

    seen = await numbers(world)

    assert seen["handed_off"] == 1
    assert 600 <= seen["oldest_handed_off_seconds"] <= 602
    assert seen["messages_unanswered"] == 0


async def test_count_orphans_and_paused_accounts(world: World, clock: FrozenClock) -> None:
    await world.breaks(
        "INSERT INTO orphans (id, provider, account_ref, provider_message_id, from_address, to_address, raw,"
        " received_at, signed_by) VALUES (:id, 'twilio', :account, :sid, '', '', :raw, :at, :id)",
        id=world.ids.new(),
        account=b"AC",
        sid=b"SM",
        raw=b"",
        at=clock.now(),
    )
    await world.breaks("UPDATE channel_accounts SET paused_until = :until", until=clock.now().replace(hour=23))
    world.advance(5)

    seen = await numbers(world)

    assert (seen["orphans"], seen["oldest_orphan_seconds"], seen["accounts_paused"]) == (1, 5, 1)


async def test_add_up_several_customers(world: World) -> None:
    await world.receives("oi")
    await world.receives("olá", from_=BRUNO)
    assert (await numbers(world))["jobs.collecting"] == 2


class TestTheQuestions:
    """Ten million messages that have ended must not be read for a dashboard."""

    @pytest.mark.sqlite_only
    async def test_read_open_rows_only(self, database: Database) -> None:
        walks = [step for step in await plans(database) if re.match("SCAN|SEARCH", step) and "=?" not in step]
        assert [step for step in walks if not any(name in step for name in (*OPEN, *SMALL))] == []

    async def test_read_no_table_that_grows(self, database: Database) -> None:
        steps = await plans(database)
        whole = [step for step in steps if "Seq Scan" in step or ("SCAN" in step and "INDEX" not in step)]
        assert [step for step in whole if not any(name in step for name in SMALL)] == []


async def plans(database: Database) -> list[str]:
    questions: list[Question] = [*COUNTS, *AGES]
    return await database.read(lambda uow: [step for each in questions for step in plan(uow, each)], owner=None)


def plan(uow: UnitOfWork, question: Question) -> list[str]:
    explain = "EXPLAIN QUERY PLAN" if uow.dialect == "sqlite" else "EXPLAIN"
    if uow.dialect != "sqlite":
        uow.execute(text("SET LOCAL enable_seqscan = off"))  # An empty table is read whole, whatever indexes it has.
    values = {"now": NOON} if ":now" in question.sql else {}
    return [str(row[-1]) for row in uow.execute(statement(f"{explain} {question.sql}"), values)]
