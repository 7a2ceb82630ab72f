"""Agents that answer, fail, hang, kill their process, and keep a journal.

Every text names the customer's messages that it answers, so the customer's phone shows what each text answers.
"""

import asyncio
from uuid import UUID

from recado.conversation.errors import AgentFailed, EffectUncertain
from recado.conversation.ports import Agent, AgentResult, HandOff, NoReply, OwnersAgents, Reply, TurnContext
from tests.chaos.simulator.loop import PROCESS, Process
from tests.chaos.simulator.world import TAG, Run, World

STUBBORN = 5.0
"""How long the real runner waits for a run that ignores being stopped."""


class SimAgents:
    """`Agents` of one process. `abandoned` counts runs that could not be stopped, as the real runner does."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.abandoned = 0

    async def agents_of(self, owner_id: UUID) -> OwnersAgents:  # noqa: ARG002 - the port's name
        return self

    def for_number(self, address_id: UUID) -> Agent:  # noqa: ARG002 - the port's name
        return self

    def history_limit(self, agent: Agent) -> int:  # noqa: ARG002 - the port's name
        return 20

    async def respond(self, turn: TurnContext) -> AgentResult:
        raise NotImplementedError("`run` plays the agent")

    async def run(self, agent: Agent, turn: TurnContext, timeout: float) -> AgentResult:  # noqa: ARG002
        run = self._begin(turn)
        try:
            return await self._play(run, turn, timeout)
        except asyncio.CancelledError:
            if self._world.happens("agent ignores its end"):
                await self._ignore_cancellation()
            raise
        finally:
            if run.ended is None:
                run.ended = self._world.loop.time()
                self._world.trace(f"run {run.number} ends")

    def _begin(self, turn: TurnContext) -> Run:
        world, process = self._world, PROCESS.get()
        assert process is not None
        tags = tuple(int(tag) for message in turn.messages for tag in TAG.findall(message.text))
        run = Run(len(world.truth.runs) + 1, turn.turn_id, tags, process, world.loop.time())
        lane = world.lane_of(run)  # Bare words such as START bear no number, and tell nothing of who said them.
        for other in world.truth.runs:
            if lane is not None and not other.over and world.lane_of(other) == lane and self._had_no_excuse(other):
                world.truth.surprises.append(
                    f"run {run.number} began while run {other.number} of its lane was going on"
                )
        world.truth.runs.append(run)
        world.trace(f"run {run.number} begins: {[message.text for message in turn.messages]}")
        return run

    def _had_no_excuse(self, run: Run) -> bool:
        """It cannot have lost its lease: nothing has happened to its process, its storage or the clock."""
        hardships = self._world.truth.hardships
        return run.process.last_disturbed < run.began and not (hardships and hardships[-1] >= run.began - 60.0)

    async def _play(self, run: Run, turn: TurnContext, timeout: float) -> AgentResult:
        world, chance = self._world, self._world.chance
        if any("poison" in message.text for message in turn.messages):
            await _die(run.process)
        if world.happens("agent hangs"):
            await asyncio.sleep(timeout)
            if world.happens("agent ignores its end"):
                await self._ignore_cancellation()
            raise AgentFailed("played: it took too long")
        slow = world.happens("agent slow")
        await asyncio.sleep(
            chance.uniform(2.0, timeout * 0.95) if slow and timeout > 3.0 else chance.uniform(0.05, 1.5)
        )
        if world.happens("agent raises"):
            raise PlayedError("played")
        if world.happens("agent fails"):
            raise AgentFailed("played: it failed")
        if world.happens("agent gives up"):
            raise AgentFailed("played: it gave up", retryable=False)
        if world.happens("agent uses a tool"):
            await self._use_tools(turn)
        if world.happens("agent hands off"):
            return HandOff("played", chance.choice((None, "a person will answer")))
        if world.happens("agent says nothing"):
            return NoReply()
        return Reply(self._text(run), closes=world.happens("agent says goodbye"))

    async def _use_tools(self, turn: TurnContext) -> None:
        world = self._world
        for number in range(world.chance.randint(1, 2)):
            key = f"{turn.turn_id}:{number}"

            async def effect(key: str = key) -> str:
                world.truth.effects[key] += 1
                await asyncio.sleep(world.chance.uniform(0.05, 0.5))
                return "done"

            try:
                await turn.effects.once("tool", effect)
            except EffectUncertain:
                world.trace("a tool may have run before")

    def _text(self, run: Run) -> str:
        made_from = " ".join(f"#{tag}" for tag in run.tags)
        sentences = self._world.chance.randint(2, 4) if self._world.happens("agent answers at length") else 1
        return " ".join(f"R{run.number}.{n} answers {made_from} and wishes you a nice day." for n in range(sentences))

    async def _ignore_cancellation(self) -> None:
        await asyncio.sleep(STUBBORN)
        self.abandoned += 1


class PlayedError(Exception):
    """An agent's own mistake, as the real runner would never let it through."""


async def _die(process: Process) -> None:
    process.kill()
    await asyncio.Event().wait()
