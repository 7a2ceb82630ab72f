"""A person who gives conversations back to the agent, with the command that an operator would type.

Without this a customer who once asked for a person would stay with a person for the rest of the run, and only the first
half of a hand-off would be tried.
"""

import random
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Final

EVERY: Final = (4.0, 16.0)
"""Between two conversations, in starts of a process (see `pace`)."""


class HandOffOperator:
    """Gives one back at a time; asked to `tend` again and again, it never waits."""

    def __init__(self, env: Mapping[str, str], seed: int) -> None:
        self._env = dict(env)
        self._chance = random.Random(f"reception {seed}")  # noqa: S311 - no secret
        self._command: subprocess.Popen[bytes] | None = None
        self._next = 0.0
        self.given_back = 0
        self.refused = 0

    def work(self, held: Callable[[], Sequence[str]], now: float, unit: float) -> None:
        """`held` are the conversations that are a person's; the database is asked only when it is time for one."""
        if self._reap() and now >= self._next:
            self._next = now + self._chance.uniform(*EVERY) * unit
            waiting = held()
            if waiting:
                self._release(self._chance.choice(waiting))

    def close(self) -> None:
        """Let the last one be given back."""
        if self._command is not None:
            self._command.wait(60)
            self._reap()

    def _release(self, conversation: str) -> None:
        words = [sys.executable, "-m", "recado", "conversations", "release", conversation]
        self._command = subprocess.Popen(
            words, env=self._env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def _reap(self) -> bool:
        """Whether no command is under way."""
        status = None if self._command is None else self._command.poll()
        if self._command is None:
            return True
        if status is None:
            return False
        self._command = None
        self.given_back += status == 0
        self.refused += status != 0
        return True
