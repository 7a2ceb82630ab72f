"""Agents that fail in ways nobody expects of an agent; put into a test's workers beside `tests/support/unruly.py`.

Each does it when the customer says the word, and answers everybody else.
"""

import asyncio
import ctypes
import resource
import threading

from recado.agents.registry import AgentSetup
from recado.conversation.ports import Reply, TurnContext

WORD = "agora"
ROOM = 256 * 1024 * 1024


class Wild:
    """What they share: they are well until they hear the word."""

    def __init__(self, setup: AgentSetup) -> None:
        """They need nothing of their setup."""

    async def respond(self, turn: TurnContext) -> Reply:
        if turn.text == WORD:
            await self.fail()
        return Reply(f"well: {turn.text}")

    async def fail(self) -> None:
        raise NotImplementedError


class Segfaults(Wild):
    """Takes its process along."""

    async def fail(self) -> None:
        ctypes.string_at(0)


class EatsMemory(Wild):
    """Takes memory until there is none; the process may use a quarter of a gigabyte more than it does now."""

    async def fail(self) -> None:
        used = int(_statm()[0]) * resource.getpagesize()
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, hard))
        eaten: list[bytearray] = []
        while True:
            eaten.append(bytearray(16 * 1024 * 1024))


class BlocksItsLoop(Wild):
    """Waits in a way that no event loop can interrupt."""

    async def fail(self) -> None:
        threading.Event().wait()


class IgnoresCancellation(Wild):
    """Goes on whatever it is told."""

    async def fail(self) -> None:
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                continue


class TakesAllItsTime(Wild):
    """Would answer, if it had for ever."""

    async def fail(self) -> None:
        await asyncio.Event().wait()


def _statm() -> list[str]:
    with open("/proc/self/statm", encoding="ascii") as stream:  # noqa: PTH123 - runs outside the tests' package
        return stream.read().split()
