"""How a command can end: one table for the commands, their help and the documentation."""

from collections.abc import Mapping
from enum import IntEnum
from typing import Final

from recado.entrypoints.cli.texts.language import say


class ExitCode(IntEnum):
    """The status of a process of `recado`."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    INTERRUPTED = 130


MEANINGS: Final[Mapping[ExitCode, str]] = {
    ExitCode.DONE: "done",
    ExitCode.FAILED: "failed, or a check found something (standard error says what)",
    ExitCode.USAGE: "the settings or the command line are wrong",
    ExitCode.INTERRUPTED: "interrupted with Ctrl-C; what was done before stays done",
}


def table() -> str:
    """Return the table for the help, with the mark of the library that keeps its lines apart."""
    rows = (f"{code:<5d}{say(meaning)}" for code, meaning in MEANINGS.items())
    return say("Exit codes:") + "\n\n\b\n" + "\n".join(rows)
