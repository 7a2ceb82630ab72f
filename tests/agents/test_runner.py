"""Whatever an agent does, its caller gets an answer or `AgentFailed` in time, and other runs are not disturbed."""

import asyncio
import contextlib
from importlib.metadata import EntryPoint
from uuid import UUID

import pytest

from recado.agents.knowledge.service import KnowledgeService
from recado.agents.models import AgentForm
from recado.agents.registry import AgentRegistry
from recado.agents.runner import AgentRunner
from recado.agents.service import AgentService
from recado.conversation.errors import AgentFailed
from recado.conversation.ports import Agent, HandOff, NoReply, Reply, Usage
from recado.core.clock import FrozenClock
from recado.core.database.engine import Database
from recado.core.ids import UuidV7
from tests.agents.conftest import Turns
from tests.agents.fakes import Answering, Blocking, Deaf, Exiting, Raising, Waiting
from tests.support.callers import admin_of
from tests.support.keys import KEY_RING

BOTH = pytest.mark.parametrize("cooperative", [True, False], ids=["ours", "foreign"])


INVALID_RESULTS: dict[str, object] = {
    "nothing": None,
    "a bare text": "a bare text",
    "a dictionary": {"type": "reply", "text": "a dictionary"},
    "a class": Reply,
    "empty": Reply(""),
    "blank": Reply(" \n\t "),
    "invisible": Reply("\u200b\u2060\u00a0"),
    "one letter too many": Reply("x" * 20_001),
    "a megabyte": Reply("x" * 1_000_000),
    "NUL": Reply("a\x00b"),
    "an escape sequence": Reply("a\x1b[31mb"),
    "a control character of Latin-1": Reply("a\x85b"),
    "half a character": Reply("half \ud83d"),
    "a number for text": Reply(42),  # type: ignore[arg-type]
    "bytes for text": Reply(b"bytes"),  # type: ignore[arg-type]
    "a text for usage": Reply("fine", "no usage"),  # type: ignore[arg-type]
    "a text for closes": Reply("fine", closes="no"),  # type: ignore[arg-type]
    "negative usage": Reply("fine", Usage("m", -1, 0)),
    "usage no column holds": Reply("fine", Usage("m", 0, 2**70)),
    "a model name without end": Reply("fine", Usage("m" * 1000, 0, 0)),
    "an empty notice": HandOff("why", ""),
    "NUL in a notice": HandOff("why", "a\x00b"),
    "a reason without end": HandOff("x" * 100_000),
    "no reason at all": HandOff(None),  # type: ignore[arg-type]
    "NUL in a reason": NoReply("a\x00b"),
}


async def began(agent: Waiting | Blocking | Deaf) -> None:
    assert await asyncio.to_thread(agent.began.wait, 5)


class TestAnswers:
    @pytest.mark.parametrize(
        "answer",
        [
            Reply("Abrimos às 8h.\n\tAté já 👩‍👩‍👧!", Usage("m", 10, 5)),
            Reply("Tchau!", closes=True),
            HandOff("wants a person", "Já chamo alguém."),
            HandOff(""),
            NoReply("a reaction"),
        ],
        ids=["reply", "last word", "hand-off with notice", "hand-off without", "no reply"],
    )
    @BOTH
    async def test_pass_as_they_are(
        self, runner: AgentRunner, turn_of: Turns, answer: object, cooperative: bool
    ) -> None:
        assert await runner.run(Answering(answer, cooperative=cooperative), turn_of("oi"), 5) == answer

    async def test_get_line_breaks_of_one_kind(self, runner: AgentRunner, turn_of: Turns) -> None:
        assert await runner.run(Answering(Reply("a\r\nb\rc")), turn_of("oi"), 5) == Reply("a\nb\nc")

    @pytest.mark.parametrize("invalid", INVALID_RESULTS.values(), ids=INVALID_RESULTS.keys())
    async def test_that_are_invalid_fail_without_being_quoted(
        self, runner: AgentRunner, turn_of: Turns, invalid: object
    ) -> None:
        with pytest.raises(AgentFailed, match=r"^invalid result") as failure:
            await runner.run(Answering(invalid), turn_of("oi"), 5)
        assert len(failure.value.reason) < 200

    @pytest.mark.parametrize(
        "answer", [Reply("fine", Usage("m", 10, 5)), Reply("", Usage("m", 10, 5)), NoReply("a\x00b", Usage("m", 10, 5))]
    )
    async def test_tell_their_cost_even_if_they_are_invalid(
        self, runner: AgentRunner, turn_of: Turns, answer: object
    ) -> None:
        turn = turn_of("oi")
        with contextlib.suppress(AgentFailed):
            await runner.run(Answering(answer), turn, 5)
        assert turn.consumption.so_far == Usage("m", 10, 5)


class TestFailures:
    @pytest.mark.parametrize(
        "error",
        [
            ValueError("my secret is 1234"),
            SystemExit("my secret is 1234"),
            KeyboardInterrupt("my secret is 1234"),
            GeneratorExit("my secret is 1234"),
            BaseExceptionGroup("my secret is 1234", [SystemExit()]),
            AgentFailed("my secret is 1234"),
        ],
        ids=lambda error: type(error).__name__,
    )
    async def test_never_hold_the_customers_words(
        self, runner: AgentRunner, turn_of: Turns, error: BaseException
    ) -> None:
        with pytest.raises(AgentFailed) as failure:
            await runner.run(Raising(error), turn_of("my secret is 1234"), 5)
        assert "1234" not in failure.value.reason
        assert not failure.value.abandoned

    @BOTH
    async def test_name_the_error_and_its_line(self, runner: AgentRunner, turn_of: Turns, cooperative: bool) -> None:
        with pytest.raises(AgentFailed, match=r"^the agent raised ValueError \(fakes\.py:\d+\)$"):
            await runner.run(Raising(ValueError("x"), cooperative=cooperative), turn_of("oi"), 5)

    async def test_of_our_own_agents_keep_their_reason(self, runner: AgentRunner, turn_of: Turns) -> None:
        ours = Raising(AgentFailed("the model's server answered 401", retryable=False), cooperative=True)
        with pytest.raises(AgentFailed, match="answered 401") as failure:
            await runner.run(ours, turn_of("oi"), 5)
        assert not failure.value.retryable

    async def test_include_an_agent_that_cancels_itself(self, runner: AgentRunner, turn_of: Turns) -> None:
        with pytest.raises(AgentFailed, match="cancelled itself"):
            await runner.run(Raising(asyncio.CancelledError()), turn_of("oi"), 5)

    @BOTH
    async def test_of_an_agent_that_exits_in_a_task_end_only_that_run(
        self, runner: AgentRunner, turn_of: Turns, cooperative: bool
    ) -> None:
        try:
            await runner.run(Exiting(cooperative=cooperative), turn_of("oi"), 5)
        except AgentFailed as failure:
            assert "SystemExit" in failure.reason
        after = Answering(Reply("still here"), cooperative=cooperative)
        assert await runner.run(after, turn_of("oi"), 5) == Reply("still here")


class TestTheDeadline:
    @BOTH
    async def test_cancels_an_agent_that_is_too_slow(
        self, runner: AgentRunner, turn_of: Turns, cooperative: bool
    ) -> None:
        slow = Waiting(cooperative=cooperative)
        with pytest.raises(AgentFailed, match=r"longer than 0\.05 s$") as failure:
            await runner.run(slow, turn_of("oi"), 0.05)
        assert slow.cancelled.is_set()
        assert (failure.value.abandoned, runner.abandoned) == (False, 0)

    async def test_abandons_an_agent_that_blocks_its_thread(self, runner: AgentRunner, turn_of: Turns) -> None:
        blocking = Blocking()
        with pytest.raises(AgentFailed, match="ignored being stopped") as failure:
            await runner.run(blocking, turn_of("oi"), 0.05)
        assert (failure.value.abandoned, runner.abandoned) == (True, 1)
        blocking.let_go.set()

    @BOTH
    async def test_abandons_an_agent_that_ignores_its_cancellation(
        self, runner: AgentRunner, turn_of: Turns, cooperative: bool
    ) -> None:
        deaf = Deaf(cooperative=cooperative)
        with pytest.raises(AgentFailed) as failure:
            await runner.run(deaf, turn_of("oi"), 0.05)
        assert (failure.value.abandoned, runner.abandoned) == (True, 1)
        deaf.let_go.set()

    async def test_leaves_the_neighbours_of_a_blocking_agent_alone(self, runner: AgentRunner, turn_of: Turns) -> None:
        blocking = Blocking()
        blocked = asyncio.create_task(runner.run(blocking, turn_of("oi"), 5))
        await began(blocking)
        assert await runner.run(Answering(Reply("a")), turn_of("oi"), 5) == Reply("a")
        assert await runner.run(Answering(Reply("b"), cooperative=True), turn_of("oi"), 5) == Reply("b")
        blocking.let_go.set()
        assert await blocked == Reply("too late")

    async def test_counts_the_wait_for_a_thread(
        self,
        service: AgentService,
        registry: AgentRegistry,
        knowledge: KnowledgeService,
        clock: FrozenClock,
        turn_of: Turns,
    ) -> None:
        runner = AgentRunner(service, registry, knowledge, clock, foreign_threads=1)
        blocking = Blocking()
        blocked = asyncio.create_task(runner.run(blocking, turn_of("oi"), 5))
        await began(blocking)
        with pytest.raises(AgentFailed, match="no thread was free"):
            await runner.run(Answering(Reply("a")), turn_of("oi"), 0.05)
        waiting = asyncio.create_task(runner.run(Answering(Reply("a")), turn_of("oi"), 5))
        blocking.let_go.set()
        assert await waiting == Reply("a")
        await blocked


class TestCancellingTheCaller:
    @BOTH
    async def test_cancels_the_agent(self, runner: AgentRunner, turn_of: Turns, cooperative: bool) -> None:
        waiting = Waiting(cooperative=cooperative)
        caller = asyncio.create_task(runner.run(waiting, turn_of("oi"), 60))
        await asyncio.to_thread(waiting.began.wait, 5)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        assert waiting.cancelled.is_set()
        assert runner.abandoned == 0

    async def test_counts_an_agent_that_goes_on_regardless(self, runner: AgentRunner, turn_of: Turns) -> None:
        deaf = Deaf()
        caller = asyncio.create_task(runner.run(deaf, turn_of("oi"), 60))
        await began(deaf)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        assert runner.abandoned == 1
        deaf.let_go.set()

    async def test_before_it_began_runs_nothing(self, runner: AgentRunner, turn_of: Turns) -> None:
        waiting = Waiting(cooperative=True)
        caller = asyncio.create_task(runner.run(waiting, turn_of("oi"), 60))
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        assert not waiting.began.is_set()


class TestFindingAnOwnersAgent:
    async def test_gives_the_active_one_with_its_settings(
        self, runner: AgentRunner, service: AgentService, turn_of: Turns, owner: UUID
    ) -> None:
        await service.set(admin_of(owner), AgentForm("echo"))
        agent = await runner.agent_for(owner)
        assert await runner.run(agent, turn_of("oi", "tudo bem?"), 5) == Reply("echo: oi\ntudo bem?")

    @pytest.mark.parametrize("limit", [0, 1, 100])
    async def test_is_given_the_history_that_the_owner_set(
        self, runner: AgentRunner, service: AgentService, owner: UUID, limit: int
    ) -> None:
        await service.set(admin_of(owner), AgentForm("echo", history_limit=limit))
        assert runner.history_limit(await runner.agent_for(owner)) == limit

    async def test_sees_a_change_at_once(
        self, runner: AgentRunner, service: AgentService, turn_of: Turns, owner: UUID
    ) -> None:
        await service.set(admin_of(owner), AgentForm("faq"))
        await runner.agent_for(owner)
        await service.set(admin_of(owner), AgentForm("echo"))
        assert await runner.run(await runner.agent_for(owner), turn_of("oi"), 5) == Reply("echo: oi")

    async def test_keeps_the_agent_while_the_settings_stay(
        self, runner: AgentRunner, service: AgentService, owner: UUID
    ) -> None:
        await service.set(admin_of(owner), AgentForm("echo"))
        first = await runner.agent_for(owner)
        runner.invalidate(UUID(int=99))
        assert await runner.agent_for(owner) is first

    async def test_hands_over_to_people_when_none_is_on(self, runner: AgentRunner, turn_of: Turns, owner: UUID) -> None:
        agent = await runner.agent_for(owner)
        assert await runner.run(agent, turn_of("oi"), 5) == HandOff("no agent is on")

    async def test_fails_with_the_reason_when_it_was_uninstalled(
        self,
        database: Database,
        service: AgentService,
        knowledge: KnowledgeService,
        clock: FrozenClock,
        ids: UuidV7,
        turn_of: Turns,
        owner: UUID,
    ) -> None:
        await service.set(admin_of(owner), AgentForm("echo"))
        empty = AgentRegistry([])
        runner = AgentRunner(AgentService(database, empty, KEY_RING, clock, ids), empty, knowledge, clock)
        agent = await runner.agent_for(owner)
        with pytest.raises(AgentFailed, match="no agent is called 'echo'") as failure:
            await runner.run(agent, turn_of("oi"), 5)
        assert not failure.value.retryable
        await runner.aclose()


class TestForeignPackages:
    @pytest.fixture
    def registry(self) -> AgentRegistry:
        offered = {"foreign": "Foreign", "broken": "Broken", "useless": "useless", "number": "NOT_A_FACTORY"}
        entries = [EntryPoint(name, f"tests.agents.fakes:{what}", "recado.agents") for name, what in offered.items()]
        gone = EntryPoint("gone", "tests.agents.not_there:Agent", "recado.agents")
        return AgentRegistry(
            [*entries, gone, EntryPoint("echo", "recado.agents.builtin.echo:EchoAgent", "recado.agents")]
        )

    async def run(self, name: str, runner: AgentRunner, service: AgentService, turn_of: Turns, owner: UUID) -> object:
        await service.set(admin_of(owner), AgentForm(name))
        agent: Agent = await runner.agent_for(owner)
        return await runner.run(agent, turn_of("oi"), 5)

    async def test_run_in_a_thread_of_their_own(
        self, runner: AgentRunner, service: AgentService, turn_of: Turns, owner: UUID
    ) -> None:
        answer = await self.run("foreign", runner, service, turn_of, owner)
        assert answer == Reply("recado-agent-1: oi")

    @pytest.mark.parametrize(
        ("name", "reason"),
        [
            ("broken", "RuntimeError"),
            ("useless", "has no `respond`"),
            ("number", "cannot be called"),
            ("gone", "ModuleNotFoundError"),
        ],
    )
    async def test_that_cannot_be_built_fail_the_run(
        self, runner: AgentRunner, service: AgentService, turn_of: Turns, owner: UUID, name: str, reason: str
    ) -> None:
        with pytest.raises(AgentFailed, match=reason):
            await self.run(name, runner, service, turn_of, owner)


class TestClosing:
    async def test_ends_what_runs_on_the_shared_loop(self, runner: AgentRunner, turn_of: Turns) -> None:
        waiting = Waiting(cooperative=True)
        caller = asyncio.create_task(runner.run(waiting, turn_of("oi"), 60))
        await asyncio.to_thread(waiting.began.wait, 5)
        await runner.aclose()
        with pytest.raises(AgentFailed, match="cancelled itself"):
            await caller

    async def test_may_be_done_twice_and_before_anything_ran(self, runner: AgentRunner) -> None:
        await runner.aclose()
        await runner.aclose()
