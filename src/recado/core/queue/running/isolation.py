"""Runs a job that may have killed its worker alone, in another process.

Only the death of that process counts against the job, so one poison message costs the 63 jobs that ran beside it a
delay and no apology. Such a process is spawned, never forked (no connection is carried over), has one job at a time,
and stays for the next one while there are some: starting Python costs a hundred times what most suspects do, and a
worker that dies leaves dozens of them. It ends when its parent dies, because its standard input ends then.

    parent → child   <job> <lease token>\\n
    child → parent   begun\\n … done\\n
"""

import asyncio
import os
import sys
import threading
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias

import structlog

from recado.core.queue.job import Claim
from recado.core.queue.running.heartbeat import GRACE, Heartbeat
from recado.core.queue.service import QueueService

log = structlog.get_logger(__name__)


GAVE_BACK = 75
"""The child's exit status when it was asked to stop and returned its job (EX_TEMPFAIL)."""
STOP_SECONDS = 5.0
"""How long a child may take to end when it is asked to."""

IDLE_SECONDS = 30.0
"""How long a child waits for another suspect."""

NOT_STARTED_PAUSE = timedelta(seconds=10)
"""How long a job waits whose process could not be started: something is wrong here, and not with the job."""

BEGUN, DONE = b"begun\n", b"done\n"

Command: TypeAlias = Callable[[], Sequence[str]]


def worker_command() -> Sequence[str]:
    """`recado worker`, for suspects."""
    return (sys.executable, "-m", "recado", "worker", "--isolated")


class ChildProcess:
    """A process that runs suspects, one at a time."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self.used = False

    @classmethod
    async def spawn(cls, command: Sequence[str]) -> "ChildProcess":
        return cls(await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE))

    @property
    def lives(self) -> bool:
        return self._process.returncode is None

    async def begin(self, claim: Claim) -> bool:
        """Hand it a job; False when it ended before it could take it."""
        stdin = self._process.stdin
        if stdin is None or not self.lives:
            return False
        try:
            stdin.write(f"{claim.job.id} {claim.token}\n".encode())
            await stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            return False
        return await self._read_word(BEGUN)

    async def finished(self, limit: timedelta) -> str | None:
        """None when the job came to an end; else how the process died in it."""
        try:
            if await asyncio.wait_for(self._read_word(DONE), limit.total_seconds()):
                self.used = True
                return None
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
            return f"it did not end within {limit.total_seconds():.0f} s"
        return await self.death()

    async def death(self) -> str | None:
        """How it ended; None when it was told to and gave its job back."""
        code = await self._process.wait()
        if code == GAVE_BACK:
            return None
        return f"signal {-code}" if code < 0 else f"exit status {code}"

    async def stop(self) -> None:
        """Ask it to give back what it has, and to end; one that takes longer than we may wait is killed."""
        if self.lives:
            self._process.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._process.wait()
        except TimeoutError:
            log.warning("queue.isolated_process_ignored_stop")
        finally:
            if self.lives:
                self._process.kill()

    def retire(self) -> None:
        """Nothing is left for it: its input ends."""
        if self._process.stdin is not None:
            self._process.stdin.close()

    async def _read_word(self, word: bytes) -> bool:
        return self._process.stdout is not None and await self._process.stdout.readline() == word


@dataclass(frozen=True, slots=True)
class _Death:
    """How a process ended. One that never began its job (a release half deployed, no memory) accuses nobody."""

    how: str
    begun: bool


class IsolatedRunner:
    """Keeps the processes of suspects."""

    def __init__(self, queue: QueueService, heartbeat: Heartbeat, command: Command = worker_command) -> None:
        self._queue = queue
        self._heartbeat = heartbeat
        self._command = command
        self._idle: list[ChildProcess] = []

    async def run(self, claim: Claim, time_limit: timedelta) -> None:
        """Run the job to its end in a process that runs nothing else meanwhile."""
        forget = self._heartbeat.keep(claim, time_limit)
        try:
            death = await self._run(claim, time_limit + GRACE)
        finally:
            forget()
        if death is None:
            return
        log.warning("queue.isolated_process_died", job=str(claim.job.id), how=death.how, begun=death.begun)
        if death.begun:
            await self._queue.record_isolated_crash(claim, death.how)
        else:
            await self._queue.give_back(claim, after=NOT_STARTED_PAUSE, why=f"no process for it: {death.how}")

    async def aclose(self) -> None:
        """End the processes that wait for work."""
        idle, self._idle = self._idle, []
        for child in idle:
            child.retire()
        await asyncio.gather(*(child.stop() for child in idle))

    async def _run(self, claim: Claim, limit: timedelta) -> _Death | None:
        try:
            child = self._idle.pop() if self._idle else await ChildProcess.spawn(self._command())
        except OSError as error:
            return _Death(f"{type(error).__name__}", begun=False)
        try:
            begun = await child.begin(claim)
            if not begun and child.used:  # It died while it rested: that was not this job's doing.
                child = await ChildProcess.spawn(self._command())
                begun = await child.begin(claim)
            how = await child.finished(limit) if begun else await child.death() or "told to stop"
        except asyncio.CancelledError:
            await child.stop()
            raise
        if how is None and child.lives:
            self._keep_idle(child)
        elif how is None:  # Told to stop by others than us, perhaps in too great a hurry to give back what it had.
            await self._queue.give_back(claim)
        return None if how is None else _Death(how, begun)

    def _keep_idle(self, child: ChildProcess) -> None:
        self._idle.append(child)
        asyncio.get_running_loop().call_later(IDLE_SECONDS, self._retire_oldest, child)

    def _retire_oldest(self, child: ChildProcess) -> None:
        """Let the longest resting one go; one that has worked since then has a later date."""
        if child in self._idle:
            self._idle.remove(child)
            child.retire()


class ParentProcess:
    """The child's end of the line."""

    def __init__(self) -> None:
        # Agents may print: what they say must not be taken for our own words.
        self._output = os.dup(1)
        os.dup2(2, 1)
        self._loop = asyncio.get_running_loop()
        self._lines: asyncio.Queue[str] = asyncio.Queue()
        threading.Thread(target=self._listen, name="recado-parent", daemon=True).start()

    async def next(self) -> tuple[str, str]:
        """The next job and its lease token."""
        job, token = (await self._lines.get()).split()
        return job, token

    def tell(self, word: bytes) -> None:
        os.write(self._output, word)

    def _listen(self) -> None:
        """End at once when standard input ends, because then the parent is gone and so is the lease."""
        # The bare descriptor: a thread that waits in Python's reader holds its lock, and a normal end would abort.
        rest = b""
        while piece := os.read(0, 4096):
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                self._loop.call_soon_threadsafe(self._lines.put_nowait, line.decode())
        os._exit(GAVE_BACK)
