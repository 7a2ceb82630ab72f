"""Limits log lines that outsiders can cause: the first of a kind is written, then one every ten seconds.

A line for each refused request would let an attacker fill the disk: a flood of 1,400 a second wrote thirteen megabytes
a minute. Exact numbers are in the metrics; a log line says how many events it stands for.

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
    """Decide which of many similar lines are written. A kind must not contain an outsider's words.

    More than `MAX_KINDS` kinds within the time are treated as one, so that many kinds cannot fill the log either.
    """

    def __init__(self, clock: Clock, every: float = EVERY_SECONDS) -> None:
        self._clock = clock
        self._every = every
        self._lock = threading.Lock()
        self._kinds: dict[tuple[str, ...], _Kind] = {}

    def admit(self, *kind: str) -> int:
        """Return 0 for a line that must not be written, else the number of events that the line stands for."""
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
