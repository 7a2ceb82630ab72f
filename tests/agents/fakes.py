"""Agents that behave badly on purpose, and an `Effects` for agents that have none."""

import asyncio
import sys
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace
from uuid import UUID

from recado.agents.registry import AgentSetup
from recado.agents.runner import AgentRunner
from recado.agents.service import AgentService
from recado.conversation.ports import AgentResult, NoReply, Reply, TurnContext


class OneByOne:
    """Runs each effect, remembering nothing."""

    async def once(self, tool: str, work: Callable[[], Awaitable[str]]) -> str:  # noqa: ARG002 - the port's names
        return await work()


ONE_BY_ONE = OneByOne()


class Answering:
    """Returns what it was given, whether that is a valid answer or not."""

    def __init__(self, answer: object, *, cooperative: bool = False) -> None:
        self._answer = answer
        self.cooperative = cooperative

    async def respond(self, turn: TurnContext) -> AgentResult:  # noqa: ARG002 - the port's name
        return self._answer  # type: ignore[return-value]  # Lying about the type is the point.


class Raising:
    """Raises what it is given."""

    def __init__(self, error: BaseException, *, cooperative: bool = False) -> None:
        self._error = error
        self.cooperative = cooperative

    async def respond(self, turn: TurnContext) -> AgentResult:  # noqa: ARG002 - the port's name
        raise self._error


class Exiting:
    """Ends the process from a task of its own, where no `except` of ours can be."""

    def __init__(self, *, cooperative: bool = False) -> None:
        self.cooperative = cooperative

    async def respond(self, turn: TurnContext) -> AgentResult:  # noqa: ARG002 - the port's name
        async def leave() -> None:
            sys.exit(3)

        task = asyncio.ensure_future(leave())
        await asyncio.wait({task}, timeout=0.05)
        return NoReply("still here")


class Waiting:
    """Waits for ever, and tells when it began and when it was cancelled."""

    def __init__(self, *, cooperative: bool = False) -> None:
        self.began = threading.Event()
        self.cancelled = threading.Event()
        self.cooperative = cooperative

    async def respond(self, turn: TurnContext) -> AgentResult:  # noqa: ARG002 - the port's name
        self.began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        raise AssertionError("nobody sets that event")


class Blocking:
    """Blocks its thread until the test lets it go, deaf to cancellation."""

    cooperative = False

    def __init__(self) -> None:
        self.began = threading.Event()
        self.let_go = threading.Event()

    async def respond(self, turn: TurnContext) -> AgentResult:  # noqa: ARG002 - the port's name
        self.began.set()
        self.let_go.wait()
        return Reply("too late")


class Deaf:
    """Catches its cancellation and goes on until the test lets it go."""

    def __init__(self, *, cooperative: bool = False) -> None:
        self.began = threading.Event()
        self.let_go = threading.Event()
        self.cooperative = cooperative

    async def respond(self, turn: TurnContext) -> AgentResult:  # noqa: ARG002 - the port's name
        self.began.set()
        while not self.let_go.is_set():
            try:
                await asyncio.to_thread(self.let_go.wait)
            except asyncio.CancelledError:
                continue
        return Reply("too late")


class Foreign:
    """An agent of another package: it takes its setup and remembers where it ran."""

    def __init__(self, setup: AgentSetup) -> None:
        self.setup = setup

    async def respond(self, turn: TurnContext) -> AgentResult:
        return Reply(f"{threading.current_thread().name}: {turn.text}")


class Broken:
    """An agent of another package that cannot be built."""

    def __init__(self, setup: AgentSetup) -> None:
        raise RuntimeError(f"no agent for {setup.owner_id}")


def useless(setup: AgentSetup) -> object:  # noqa: ARG001 - a factory's name
    """A factory that makes no agent."""
    return object()


NOT_A_FACTORY = 42


async def setup_of(
    runner: AgentRunner, service: AgentService, owner_id: UUID, *, allow_private: bool = True
) -> AgentSetup:
    """What the owner's active agent is made from; it may be forbidden private addresses."""
    in_force = await service.in_force(owner_id)
    settings, keys = in_force.of_owner, in_force.keys
    assert settings is not None
    assert keys is not None
    return runner.setup_of(replace(settings, allow_private=allow_private and settings.allow_private), keys)
