"""A person who gives conversations back to the agent, or switches endpoints on, with the command that one would type.

Without this a customer who once asked for a person would stay with a person for the rest of the run, and only the first
half of a hand-off would be tried. An endpoint that once answered 410 would be sent nothing more.
"""

import random
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Final

EVERY: Final = (4.0, 16.0)
"""Between two commands, in starts of a process (see `pace`)."""


class Operator:
    """Types one command at a time for something that waits; asked to `work` again and again, it never waits.

    `words` returns the command for one of those that wait.
    """

    def __init__(self, env: Mapping[str, str], seed: int, words: Callable[[str], Sequence[str]]) -> None:
        self._env = dict(env)
        self._words = words
        self._chance = random.Random(f"reception {seed}")  # noqa: S311 - no secret
        self._command: subprocess.Popen[bytes] | None = None
        self._next = 0.0
        self.done = 0
        self.refused = 0

    def work(self, waiting: Callable[[], Sequence[str]], now: float, unit: float) -> None:
        """`waiting` are those that wait for a person; the database is asked only when it is time for one."""
        if self._reap() and now >= self._next:
            self._next = now + self._chance.uniform(*EVERY) * unit
            found = waiting()
            if found:
                self._type(self._words(self._chance.choice(found)))

    def close(self) -> None:
        """Let the last command end."""
        if self._command is not None:
            self._command.wait(60)
            self._reap()

    def _type(self, words: Sequence[str]) -> None:
        self._command = subprocess.Popen(
            [sys.executable, "-m", "recado", *words],
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def _reap(self) -> bool:
        """Whether no command is under way."""
        status = None if self._command is None else self._command.poll()
        if self._command is None:
            return True
        if status is None:
            return False
        self._command = None
        self.done += status == 0
        self.refused += status != 0
        return True
