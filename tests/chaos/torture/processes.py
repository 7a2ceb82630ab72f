"""Starts, kills and revives processes; whatever happens, none is left behind.

Each gets a session of its own, so that a Ctrl-C meant for the torture does not reach it, and so that what it has
spawned can be ended with it. A kill hits the one process by its id: its children must find out by themselves.
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

from tests.support.servers.brokers import BrokerProcess, RedisServer, SqsProcess
from tests.support.servers.postgres import PostgresServer

GRACE_SECONDS = 20.0


class Target(Protocol):
    """What the torture can hit."""

    name: str
    armed: str | None
    incarnation: int
    surprises: list[str]

    @property
    def lives(self) -> bool: ...
    @property
    def killed_itself(self) -> bool: ...
    def inject(self, number: signal.Signals) -> bool: ...
    def disturb(self, what: str) -> None: ...
    def clear(self) -> None: ...
    def start_again(self, crash_at: str | None = None) -> None: ...


class Process:
    """One of ours under its name, started again and again with the same environment."""

    def __init__(self, name: str, command: Sequence[str], env: Mapping[str, str], log: Path) -> None:
        self.name = name
        self._command = [sys.executable, "-m", *command]
        self._env = env
        self._log = log
        self._running: subprocess.Popen[bytes] | None = None
        self._signalled: signal.Signals | None = None
        self.armed: str | None = None
        self.incarnation = 0
        self.surprises: list[str] = []

    def start(self, crash_at: str | None = None) -> None:
        """Start it, perhaps so that it kills itself when it comes to a crash point."""
        env = self._env if crash_at is None else {**self._env, "RECADO_CRASH_AT": crash_at}
        self.armed = crash_at
        with self._log.open("ab") as stream:
            self._running = subprocess.Popen(
                self._command,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )
        self._signalled = None
        self.incarnation += 1

    @property
    def lives(self) -> bool:
        return self._running is not None and self._running.poll() is None

    def inject(self, number: signal.Signals) -> bool:
        """Send a signal; False when it was not running. An end after this surprises nobody."""
        if not self.lives or self._running is None:
            return False
        if number in (signal.SIGKILL, signal.SIGTERM):
            self._signalled = number
        self._running.send_signal(number)
        if number is signal.SIGKILL:
            self._running.wait()
        return True

    def disturb(self, what: str) -> None:
        """Disturb it: `killed` until it is revived, or `stands still` until it is restored."""
        self.inject(_SIGNALS[what])

    def clear(self) -> None:
        self.inject(signal.SIGCONT)

    @property
    def killed_itself(self) -> bool:
        """It came to the crash point it was armed with."""
        ended = self._running is not None and self._running.poll() == -signal.SIGKILL
        return ended and self._signalled is not signal.SIGKILL and self.armed is not None

    def start_again(self, crash_at: str | None = None) -> None:
        """Start it again after it has ended; an end that nobody asked for is kept for the report."""
        if not (self._signalled or self.killed_itself) and self._running is not None:
            self.surprises.append(f"{self.name} ended by itself with status {self._running.returncode}")
        self.start(crash_at)

    def stop(self) -> int | None:
        """Ask it to end, kill it after a while, and end whatever it has spawned."""
        if self._running is None:
            return None
        with contextlib.suppress(ProcessLookupError):
            self._running.send_signal(signal.SIGCONT)
            self._running.terminate()
        try:
            status = self._running.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._running.kill()
            status = self._running.wait()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._running.pid, signal.SIGKILL)
        return status

    @property
    def last_words(self) -> str:
        """The end of its log."""
        said = self._log.read_text(errors="replace") if self._log.exists() else ""
        return f"{self.name} said: …{said[-2000:]}"


POSTGRES = "postgres"
_SIGNALS: Final = {"killed": signal.SIGKILL, "stands still": signal.SIGSTOP}


class ServerTarget:
    """Somebody else's server beside ours, which is killed, stands still, and comes back with what it kept."""

    def __init__(self, name: str, server: PostgresServer | BrokerProcess) -> None:
        self._server = server
        self.name = name
        self.armed: str | None = None
        self.incarnation = 1
        self.surprises: list[str] = []

    @property
    def lives(self) -> bool:
        return self._server.lives

    @property
    def killed_itself(self) -> bool:
        return False

    def inject(self, number: signal.Signals) -> bool:
        if not self.lives:
            return False
        if number is signal.SIGKILL:
            self._server.crash()
        elif number is not signal.SIGTERM:
            self._server.signal(number)
        return True

    def disturb(self, what: str) -> None:
        self.inject(_SIGNALS[what])

    def clear(self) -> None:
        self.inject(signal.SIGCONT)

    def start_again(self, crash_at: str | None = None) -> None:  # noqa: ARG002 - it knows no crash points
        self._server.launch()
        self.incarnation += 1


class RedisTarget(ServerTarget):
    """Keeps nothing on disk; besides, somebody empties it, or its memory is full for a while."""

    def __init__(self, server: RedisServer) -> None:
        super().__init__("redis", server)
        self._redis = server

    def disturb(self, what: str) -> None:
        match what:
            case "flushed":
                self._say("FLUSHALL")
            case "full":
                self._say("CONFIG", "SET", "maxmemory", "1")
            case _:
                super().disturb(what)

    def clear(self) -> None:
        super().clear()
        self._say("CONFIG", "SET", "maxmemory", "0")

    def _say(self, *words: str) -> None:
        with contextlib.suppress(OSError):  # Away for other reasons.
            self._redis.command_line(*words)


class SqsTarget(ServerTarget):
    """Forgets its messages when it is killed, as no AWS would."""

    def __init__(self, server: SqsProcess) -> None:
        super().__init__("sqs", server)
