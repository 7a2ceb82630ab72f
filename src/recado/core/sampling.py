"""Lines of the log that outsiders can cause: the first of its kind is written, and then one every ten seconds.

A line for each refused request is a disk that an attacker fills: a flood of 1,400 a second wrote thirteen megabytes a
minute. What is counted exactly is counted in the metrics; a line of the log says how many it stands for.

    times = self._samples.admit("webhook.forbidden", account, why)
    if times:
        log.warning("webhook.forbidden", account=account, why=why, times=times)
"""

import threading
from typing import Final

from recado.core.clock import Clock

EVERY_SECONDS: Final = 10.0
MAX_KINDS: Final = 200


class LogSampler:
    """Says which of many like lines are to be written. A kind's names must not be an outsider's words.

    More than `MAX_KINDS` within the time are taken for one kind, so that many kinds cannot do what many lines may not.
    """

    def __init__(self, clock: Clock, every: float = EVERY_SECONDS) -> None:
        self._clock = clock
        self._every = every
        self._lock = threading.Lock()
        self._kinds: dict[tuple[str, ...], _Kind] = {}

    def admit(self, *kind: str) -> int:
        """0: say nothing. Else say it, and that it stands for so many, this one included."""
        now = self._clock.monotonic()
        with self._lock:
            known = self._kinds.get(kind)
            if known is None:
                if len(self._kinds) >= MAX_KINDS:
                    self._forget_old(now)
                kind = kind if len(self._kinds) < MAX_KINDS else ()
                known = self._kinds.setdefault(kind, _Kind())
            known.suppressed += 1
            if known.logged_at is not None and now - known.logged_at < self._every:
                return 0
            times, known.suppressed, known.logged_at = known.suppressed, 0, now
            return times

    def _forget_old(self, now: float) -> None:
        self._kinds = {
            kind: each
            for kind, each in self._kinds.items()
            if each.logged_at is not None and now - each.logged_at < self._every
        }


class _Kind:
    __slots__ = ("logged_at", "suppressed")

    def __init__(self) -> None:
        self.logged_at: float | None = None
        self.suppressed = 0
