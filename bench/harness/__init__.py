"""What every bench shares: rounds, medians, tables, processes that end with the bench, and a product to measure.

A figure alone says more about the machine than about the code, so every bench runs its contestants in turn, round after
round, and shows the median of each with the ratio of the two. Everything lives in a temporary directory and on
loopback, and is gone when the bench ends, however it ends.
"""

from harness.figures import Figure, Options, at_least, at_most, give_up, median, options, percentile, progress, show
from harness.processes import Condition, Posting, Workbench, answers, reserved_port, wait_until, wall, workbench
from harness.product import (
    ACCOUNT_SID,
    AUTH_TOKEN,
    BENCH,
    MESSAGES_PATH,
    NUMBER,
    PYTHON,
    RECADO,
    Agent,
    Emulator,
    Serving,
    copied,
    emulating,
    environment,
    install,
    is_idle,
    postgres,
    serving,
    working,
)

__all__ = [
    "ACCOUNT_SID",
    "AUTH_TOKEN",
    "BENCH",
    "MESSAGES_PATH",
    "NUMBER",
    "PYTHON",
    "RECADO",
    "Agent",
    "Condition",
    "Emulator",
    "Figure",
    "Options",
    "Posting",
    "Serving",
    "Workbench",
    "answers",
    "at_least",
    "at_most",
    "copied",
    "emulating",
    "environment",
    "give_up",
    "install",
    "is_idle",
    "median",
    "options",
    "percentile",
    "postgres",
    "progress",
    "reserved_port",
    "serving",
    "show",
    "wait_until",
    "wall",
    "workbench",
    "working",
]
