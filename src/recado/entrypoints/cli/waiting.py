"""Show on a terminal that a command still works: after two seconds a line with the time, which is gone at the end.

Anything else that is printed takes the line away first. Where standard error is no terminal, nothing is shown.
"""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, TextIO

from recado.core.clock import Clock, SystemClock
from recado.entrypoints.cli.texts.language import say

DELAY_SECONDS: Final = 2.0
_INTERVAL_SECONDS: Final = 0.5
_CLEAR: Final = "\r\x1b[2K"


class WaitingLine:
    """The last line of a terminal, written by a thread of its own."""

    def __init__(self, stream: TextIO, clock: Clock, delay: float = DELAY_SECONDS) -> None:
        self._stream = stream
        self._clock = clock
        self._began = clock.monotonic()
        self._delay = delay
        self._words = say("Working …")
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._shown = False
        self._thread = threading.Thread(target=self._run, name="recado-waiting", daemon=True)
        self._thread.start()

    def tell(self, words: str) -> None:
        """Show these words from now on."""
        self._words = words

    def end(self) -> None:
        """Take the line away. It does not come back."""
        self._ended.set()
        with self._lock:
            if self._shown:
                self._stream.write(_CLEAR)
                self._stream.flush()
                self._shown = False

    def _run(self) -> None:
        pause = self._delay
        while not self._ended.wait(pause):
            pause = _INTERVAL_SECONDS
            with self._lock:
                if not self._ended.is_set():
                    seconds = self._clock.monotonic() - self._began
                    self._stream.write(f"{_CLEAR}{self._words} {seconds:.0f} s")
                    self._stream.flush()
                    self._shown = True


_current: WaitingLine | None = None


@contextmanager
def waiting() -> Iterator[None]:
    """Show the line during the work, if there is a terminal."""
    global _current  # noqa: PLW0603 - a process has one terminal
    if _current is not None or not sys.stderr.isatty():
        yield
        return
    _current = WaitingLine(sys.stderr, SystemClock())
    try:
        yield
    finally:
        _current.end()
        _current = None


def make_room() -> None:
    """Take the line away for good, because something is printed."""
    if _current is not None:
        _current.end()


def show_progress(words: str) -> bool:
    """Show how far a command is, if a line is shown. Return whether one is."""
    if _current is None:
        return False
    _current.tell(words)
    return True
