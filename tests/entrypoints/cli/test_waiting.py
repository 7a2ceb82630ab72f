"""The line that shows on a terminal that a command still works."""

import io
import re

from recado.core.clock import SystemClock
from recado.entrypoints.cli.waiting import WaitingLine
from tests.support.processes import until


def shown(line: WaitingLine, stream: io.StringIO, words: str) -> str:
    """What stands on the terminal once the words are there and the line has been taken away."""
    until(lambda: words in stream.getvalue())
    line.end()
    return re.sub("[^\n]*\r\x1b\\[2K", "", stream.getvalue())


def test_it_comes_and_leaves_nothing_behind() -> None:
    stream = io.StringIO()
    line = WaitingLine(stream, SystemClock(), delay=0.0)
    assert shown(line, stream, "Working … 0 s") == ""


def test_it_tells_how_far_the_command_is() -> None:
    stream = io.StringIO()
    line = WaitingLine(stream, SystemClock(), delay=0.0)
    line.tell("12 of 20 copied")
    assert shown(line, stream, "12 of 20 copied") == ""


def test_a_quick_command_shows_none() -> None:
    stream = io.StringIO()
    WaitingLine(stream, SystemClock()).end()
    assert stream.getvalue() == ""
