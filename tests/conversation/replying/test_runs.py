"""Each run of an agent has a row with what it cost, however it ended."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from recado.conversation.errors import AgentFailed
from recado.conversation.ports import AgentResult, Consumption, HandOff, NoReply, Reply, TurnContext, Usage
from recado.core.queue.job import Claim
from tests.world import LEASE, WorkerDied, World

ON_BOTH_DATABASES = True

COST = Usage("little", 11, 7)


@dataclass(frozen=True)
class Run:
    """The columns of a row that these tests read."""

    result: str | None
    why: str | None
    usage: Usage
    ended: bool


async def runs(world: World) -> Sequence[Run]:
    rows = await world.rows("SELECT * FROM agent_runs ORDER BY id")
    return [
        Run(
            row["result"],
            row["why"],
            Usage(row["model"], row["input_tokens"], row["output_tokens"]),
            row["finished_at"] is not None,
        )
        for row in rows
    ]


async def its_job(world: World) -> Claim:
    await world.receives("oi")
    world.advance(2)
    [job] = await world.queue.claim(1, max_isolated=0)
    return job


class TestARunThatComesToAResult:
    @pytest.mark.parametrize(
        ("result", "how"),
        [(Reply("Olá", COST), "reply"), (HandOff("why", None, COST), "hand_off"), (NoReply("", COST), "no_reply")],
        ids=["reply", "hand-off", "no reply"],
    )
    async def test_is_kept_with_its_cost(self, world: World, result: AgentResult, how: str) -> None:
        world.agents.will(result)
        await world.says("oi")
        assert await runs(world) == [Run(how, None, COST, ended=True)]

    async def test_is_there_while_it_runs(self, world: World) -> None:
        seen: list[Run] = []

        async def looked_at(turn: TurnContext) -> AgentResult:
            seen.extend(await runs(world))
            return Reply(turn.text)

        world.agents.will(looked_at)
        await world.says("oi")
        assert seen == [Run(None, None, Usage(), ended=False)]

    async def test_costs_what_it_reported_if_its_result_says_nothing(self, world: World) -> None:
        async def reports(turn: TurnContext) -> AgentResult:
            turn.consumption.report(COST)
            return Reply("Olá")

        world.agents.will(reports)
        await world.says("oi")
        assert await runs(world) == [Run("reply", None, COST, ended=True)]

    async def test_is_kept_when_a_person_took_over_meanwhile(self, world: World) -> None:
        async def overtaken(turn: TurnContext) -> AgentResult:  # noqa: ARG001 - the port's name
            await world.take()
            return Reply("too late", COST)

        world.agents.will(overtaken)
        sid = await world.says("oi")
        assert await world.outcome_of(sid) == "handed_off"
        assert await runs(world) == [Run("reply", None, COST, ended=True)]

    async def test_is_kept_when_its_worker_lost_the_lease(self, world: World) -> None:
        async def overtaken(turn: TurnContext) -> AgentResult:  # noqa: ARG001 - the port's name
            await world.lease_runs_out()
            return Reply("too late", COST)

        world.agents.will(overtaken)
        await world.says("oi")
        first, *_ = await runs(world)
        assert first == Run("reply", None, COST, ended=True)

    async def test_is_kept_when_the_transaction_of_its_answer_fails(self, world: World) -> None:
        job = await its_job(world)
        world.agents.will(Reply(None, COST))  # type: ignore[arg-type]  # What the real runner would not let through.
        with pytest.raises(TypeError):
            await world.replies.run(job)
        assert await world.rows("SELECT 1 FROM answers") == []
        assert await runs(world) == [Run("reply", None, COST, ended=True)]

    @pytest.mark.parametrize("point", ["after_agent", "after_commit"])
    async def test_is_kept_when_its_worker_dies_after_it(self, world: World, point: str) -> None:
        world.agents.will(Reply("Olá", COST))
        world.dies_at = point
        await world.says("oi")
        assert await runs(world) == [Run("reply", None, COST, ended=True)]


class TestARunThatComesToNone:
    async def test_costs_what_it_used_before_it_failed(self, world: World) -> None:
        async def fails(turn: TurnContext) -> AgentResult:
            turn.consumption.report(COST)
            raise AgentFailed("the model's server answered 500")

        world.agents.will(fails, Reply("Olá", Usage("little", 2, 1)))
        await world.receives("oi")
        await world.passes(30)
        assert await runs(world) == [
            Run("failed", "the model's server answered 500", COST, ended=True),
            Run("reply", None, Usage("little", 2, 1), ended=True),
        ]

    async def test_costs_what_it_used_before_its_agent_raised(self, world: World) -> None:
        async def raises(turn: TurnContext) -> AgentResult:
            turn.consumption.report(COST)
            raise ValueError("oi")

        world.agents.will(raises)
        job = await its_job(world)
        with pytest.raises(ValueError, match="oi"):
            await world.replies.run(job)
        assert await runs(world) == [Run("failed", "ValueError", COST, ended=True)]

    async def test_is_counted_when_a_newer_message_overtakes_it(self, world: World) -> None:
        async def overtaken(turn: TurnContext) -> AgentResult:
            turn.consumption.report(COST)
            await world.receives("e café?")
            world.advance(2)
            await asyncio.Event().wait()
            raise AssertionError("nothing sets that event")

        world.agents.will(overtaken)
        await world.says("tem pão?")
        assert await runs(world) == [
            Run("interrupted", "a newer message came", COST, ended=True),
            Run("reply", None, Usage(), ended=True),
        ]

    async def test_is_counted_when_its_worker_hears_that_the_lease_is_lost(self, world: World) -> None:
        job = await its_job(world)

        async def overtaken(turn: TurnContext) -> AgentResult:
            turn.consumption.report(COST)
            job.lose()
            await asyncio.Event().wait()
            raise AssertionError("nothing sets that event")

        world.agents.will(overtaken)
        await world.replies.run(job)
        assert await runs(world) == [Run("interrupted", "its worker lost the lease", COST, ended=True)]

    async def test_is_counted_when_its_worker_is_told_to_stop(self, world: World) -> None:
        job = await its_job(world)
        began = asyncio.Event()

        async def waits(turn: TurnContext) -> AgentResult:
            turn.consumption.report(COST)
            began.set()
            await asyncio.Event().wait()
            raise AssertionError("nothing sets that event")

        world.agents.will(waits)
        task = asyncio.create_task(world.replies.run(job))
        await began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await runs(world) == [Run("interrupted", "its worker was told to stop", COST, ended=True)]

    async def test_has_no_end_when_its_worker_dies(self, world: World) -> None:
        async def dies(turn: TurnContext) -> AgentResult:  # noqa: ARG001 - the port's name
            raise WorkerDied

        world.agents.will(dies)
        await world.says("oi")
        assert await runs(world) == [Run(None, None, Usage(), ended=False)]

    async def test_is_told_apart_when_its_worker_stood_still_before_it(self, world: World) -> None:
        job = await its_job(world)
        world.advance(LEASE.total_seconds())
        await world.replies.run(job)
        assert await runs(world) == [Run("interrupted", "its worker stood still", Usage(), ended=True)]


@pytest.mark.parametrize(
    "rubbish",
    [
        Usage("m", -1, 0),
        Usage("m", 0, 2**31),
        Usage("m" * 201, 0, 0),
        Usage("a\x00b", 0, 0),
        Usage("m", "1", 0),  # type: ignore[arg-type]
        "eleven",
    ],
    ids=["negative", "too many", "a model without end", "NUL", "a text", "no usage"],
)
def test_what_cannot_be_counted_is_not_taken(rubbish: Usage) -> None:
    consumption = Consumption()
    consumption.report(COST)
    with pytest.raises(ValueError, match="whole numbers"):
        consumption.report(rubbish)
    assert consumption.so_far == COST


class Shouting:
    """The agent of a number."""

    async def respond(self, turn: TurnContext) -> AgentResult:
        return Reply(turn.text.upper())


async def test_the_agent_of_the_number_answers(world: World) -> None:
    world.agents.of_numbers[world.address_id] = Shouting()
    await world.says("oi")
    assert world.sent_texts() == ["OI"]


async def test_the_agent_of_another_number_answers_nothing(world: World) -> None:
    world.agents.of_numbers[world.owner_id] = Shouting()
    await world.says("oi")
    assert world.sent_texts() == ["echo: oi"]
