"""Agents that misbehave: installed into the workers of a test as a distribution of their own (see `processes.install`).

A shared worker, started without options, runs each of them in a thread of its own, so they may block; a process for
suspects is told so on its command line, and runs one at a time.
"""

import os
import signal
import sys
import threading
from pathlib import Path

from recado.agents.registry import AgentSetup
from recado.conversation.ports import Reply, TurnContext

MENDED = "mended"
"""A file of this name beside this module mends the broken agent."""

POISON = "veneno"
NEIGHBOURS = 30

_ALONE = len(sys.argv) > len(("recado", "worker"))
_all_in_flight = threading.Barrier(NEIGHBOURS + 1)


class BrokenAgent:
    """Raises until somebody mends it."""

    def __init__(self, setup: AgentSetup) -> None:
        """It needs nothing of its setup."""

    async def respond(self, turn: TurnContext) -> Reply:
        if not Path(__file__).with_name(MENDED).exists():
            raise RuntimeError("broken as ever")
        return Reply(f"mended: {turn.text}")


class DeadlyAgent:
    """Kills its process when the customer says so, and in a shared worker not before every neighbour is in flight."""

    def __init__(self, setup: AgentSetup) -> None:
        """It needs nothing of its setup."""

    async def respond(self, turn: TurnContext) -> Reply:
        if not _ALONE:
            _all_in_flight.wait()
        if turn.text == POISON:
            os.kill(os.getpid(), signal.SIGKILL)
        if not _ALONE:
            threading.Event().wait()
        return Reply(f"alone: {turn.text}")
