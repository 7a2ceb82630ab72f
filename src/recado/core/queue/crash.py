"""Crash points: places where a test may ask the process to kill itself, as kill -9 would.

A no-op unless armed at start by RECADO_CRASH_AT, which settings refuse outside tests.
"""

import os
import signal
from collections.abc import Callable
from typing import TypeAlias

CRASH_POINTS = (
    "after_accept",
    "after_claim",
    "after_agent",
    "after_commit",
    "before_send",
    "after_send",
    "after_settle",
)

CrashPoint: TypeAlias = Callable[[str], None]


def never(_point: str) -> None:
    """Do nothing: the crash point of every process outside tests."""


def crash_at(armed: str | None) -> CrashPoint:
    """Return the function to call at each named point. It kills this process at the armed one. Raises `ValueError`."""
    if armed is None:
        return never
    if armed not in CRASH_POINTS:
        raise ValueError(f"{armed!r} is not a crash point; there are {', '.join(CRASH_POINTS)}")

    def maybe(point: str) -> None:
        if point == armed:
            os.kill(os.getpid(), signal.SIGKILL)

    return maybe
