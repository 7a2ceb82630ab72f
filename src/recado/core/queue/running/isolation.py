"""Isolated jobs: run a job that may have killed its worker in a process of its own.

Only the death of that process counts against the job, so one poison message costs the 63 jobs that ran beside it a
delay and no apology. The process is spawned, never forked (no connection is carried over). It runs one job at a time
and waits for the next, because starting Python costs a hundred times what most jobs do, and a worker that dies leaves
dozens of isolated jobs. It ends when its parent dies, because its standard input ends then.

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
"""The exit status of a child that was asked to stop and gave its job back (EX_TEMPFAIL)."""
STOP_SECONDS = 5.0
"""How long a child may take to end when it is asked to."""

IDLE_SECONDS = 30.0
"""How long an idle child waits for another job."""

NOT_STARTED_PAUSE = timedelta(seconds=10)
"""The wait of a job whose process could not be started. The fault is this host's, not the job's."""

BEGUN, DONE = b"begun\n", b"done\n"

Command: TypeAlias = Callable[[], Sequence[str]]


def worker_command() -> Sequence[str]:
    """Return the command line of a process for isolated jobs."""
    return (sys.executable, "-m", "recado", "worker", "--isolated")


class ChildProcess:
    """A child process that runs isolated jobs, one at a time."""

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
        """Hand it a claimed job. Return False when it ended before it took the job."""
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
        """Wait until the job has ended. Return None then, or how the process died in it."""
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
        """Wait for its end. Return how it ended, or None when it was asked to stop and gave its job back."""
        code = await self._process.wait()
        if code == GAVE_BACK:
            return None
        return f"signal {-code}" if code < 0 else f"exit status {code}"

    async def stop(self) -> None:
        """Ask it to give its job back and to end. It is killed when it takes longer than `STOP_SECONDS`."""
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
        """Let it end: close its input."""
        if self._process.stdin is not None:
            self._process.stdin.close()

    async def _read_word(self, word: bytes) -> bool:
        return self._process.stdout is not None and await self._process.stdout.readline() == word


@dataclass(frozen=True, slots=True)
class _Death:
    """How a process ended. An end before the job began (half deployed, no memory) does not count against the job."""

    how: str
    begun: bool


class IsolatedRunner:
    """Runs isolated jobs in child processes and keeps idle ones for the next job."""

    def __init__(self, queue: QueueService, heartbeat: Heartbeat, command: Command = worker_command) -> None:
        self._queue = queue
        self._heartbeat = heartbeat
        self._command = command
        self._idle: list[ChildProcess] = []

    async def run(self, claim: Claim, time_limit: timedelta) -> None:
        """Run a job to its end in a process that runs nothing else meanwhile."""
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
        """End the idle processes."""
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
            if not begun and child.used:  # It died while idle, so this job did not cause it.
                child = await ChildProcess.spawn(self._command())
                begun = await child.begin(claim)
            how = await child.finished(limit) if begun else await child.death() or "told to stop"
        except asyncio.CancelledError:
            await child.stop()
            raise
        if how is None and child.lives:
            self._keep_idle(child)
        elif how is None:  # Another process stopped it, and it may not have given its job back.
            await self._queue.give_back(claim)
        return None if how is None else _Death(how, begun)

    def _keep_idle(self, child: ChildProcess) -> None:
        self._idle.append(child)
        asyncio.get_running_loop().call_later(IDLE_SECONDS, self._retire_oldest, child)

    def _retire_oldest(self, child: ChildProcess) -> None:
        """Retire a child that has been idle since this was scheduled."""
        if child in self._idle:
            self._idle.remove(child)
            child.retire()


class ParentProcess:
    """The parent as the child process sees it."""

    def __init__(self) -> None:
        # Agents may print to standard output; the parent must not read that as our words.
        self._output = os.dup(1)
        os.dup2(2, 1)
        self._loop = asyncio.get_running_loop()
        self._lines: asyncio.Queue[str] = asyncio.Queue()
        threading.Thread(target=self._listen, name="recado-parent", daemon=True).start()

    async def next(self) -> tuple[str, str]:
        """Return the next job's id and its lease token."""
        job, token = (await self._lines.get()).split()
        return job, token

    def tell(self, word: bytes) -> None:
        os.write(self._output, word)

    def _listen(self) -> None:
        """Exit at once when standard input ends: the parent is gone then, and so is the lease."""
        # The bare descriptor: a thread that waits in a Python file object holds its lock, and a normal exit aborts.
        rest = b""
        while piece := os.read(0, 4096):
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                self._loop.call_soon_threadsafe(self._lines.put_nowait, line.decode())
        os._exit(GAVE_BACK)
