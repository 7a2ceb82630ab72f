"""Agents that misbehave: installed into the workers of a test as a distribution of their own (see `processes.install`).

A shared worker runs each of them in a thread of its own, so they may block. A process for isolated jobs has that on its
command line and runs one job at a time.
"""

import asyncio
import fcntl
import os
import re
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from recado.agents.registry import AgentSetup
from recado.conversation.ports import Reply, TurnContext

MENDED = "mended"
"""A file of this name beside this module mends the broken agent."""

POISON = "veneno"
NEIGHBOURS = 30

HOLDS_THE_LOCK = "computes in C"
HANGING = ("waits", "sleeps", "listens", "swallows", "leaves a thread behind", HOLDS_THE_LOCK)
"""What a hanging agent does when a customer writes so; the last lets no other thread of its process run."""

_ALONE = "--isolated" in sys.argv
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


class HangingAgent:
    """Hangs in as many ways as customers ask for, until it is mended; marks show which process it hangs in."""

    def __init__(self, setup: AgentSetup) -> None:
        """It needs nothing of its setup."""

    async def respond(self, turn: TurnContext) -> Reply:
        mark(turn.text)
        if not Path(__file__).with_name(MENDED).exists():
            await self._hang(turn.text)
        return Reply(f"mended: {turn.text}")

    async def _hang(self, how: str) -> None:
        match how:
            case "waits":
                threading.Event().wait()
            case "sleeps":  # Python waits for such threads before it ends.
                await asyncio.to_thread(time.sleep, 3600)
            case "listens":
                mouth, ear = socket.socketpair()
                ear.recv(len(str(mouth)))
            case "computes in C":
                re.match("(a+)+$", "a" * 60 + "b")
            case "swallows":
                while True:
                    with suppress(asyncio.CancelledError):
                        await asyncio.sleep(3600)
            case "leaves a thread behind":
                threading.Thread(target=threading.Event().wait).start()
                threading.Event().wait()


_marks: list[TextIO] = []


def mark(name: str) -> None:
    """Leave a file that is locked as long as this process lives."""
    file = (Path(__file__).parent / f"{name}.mark").open("a")
    fcntl.flock(file, fcntl.LOCK_SH)
    file.write(f"{os.getpid()}\n")
    file.flush()
    _marks.append(file)
