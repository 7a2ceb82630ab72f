"""The end of a process: on a signal or when its parent is gone, and in time even if something in it blocks.

A thread cannot be stopped, and Python waits for most threads at its end, so one blocking agent would keep a process for
ever. So the process closes what it must close until a deadline, and then exits without waiting for anything else.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Final, NoReturn, Self, TypeAlias

import structlog

from recado.core.errors import ConfigurationError

log = structlog.get_logger(__name__)

LOG_FLUSH_SECONDS: Final = 0.5
"""The time limit for writing the last log lines: the reader of the log may be gone."""

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)

Callback: TypeAlias = Callable[[], object]


def exit_now(status: int = 0) -> NoReturn:
    """Exit now, without waiting for threads, as Python would (for those of agents above all)."""
    _run_briefly(_flush)
    os._exit(status)


class ShutdownSignals:
    """Handles SIGTERM and SIGINT from its creation to the end of the process, also where no event loop runs.

    Before `on_request` is called, a signal ends the process at once: so early it holds nothing.
    """

    def __init__(self) -> None:
        self.requested = False
        self._status = 0
        self._then: Callback | None = None
        self._seconds = 0.0
        self._over = threading.Event()
        self._heard, self._signals = os.pipe()
        os.set_blocking(self._signals, False)
        # The system writes to this pipe whatever the main thread does, so the deadline holds even if that blocks.
        self._wakeup_before = signal.set_wakeup_fd(self._signals, warn_on_full_buffer=False)
        self._before = {number: signal.signal(number, self._handle) for number in _SIGNALS}
        threading.Thread(target=self._enforce_deadline, name="recado-signals", daemon=True).start()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)  # A signal sent during `replace_process` arrives now.

    def on_request(self, do: Callback, *, within: float, status: int = 0) -> None:
        """Set what a signal does, and the seconds after which the process exits in any case.

        It is done once; further signals change nothing.
        """
        self._seconds, self._status = within, status
        self._then = do

    def replace_process(self) -> NoReturn:
        """Restart this command in the same process, unless a signal came. Threads of the old program end with it."""
        _run_briefly(lambda: log.warning("worker.recycled"))
        # A signal that arrives during the restart waits until the new program can handle it.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        if self.requested:
            exit_now()
        os.execv(sys.executable, [sys.executable, "-m", "recado", *sys.argv[1:]])  # noqa: S606 - our own command

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        again, self.requested = self.requested, True
        if self._then is None:
            os._exit(self._status)
        if not again:
            with suppress(RuntimeError):  # The event loop is closed already.
                self._then()

    def _enforce_deadline(self) -> None:
        while (byte := os.read(self._heard, 1)) and byte[0] not in _SIGNALS:
            pass
        # The pipe stays open meanwhile: Python would complain of a second signal that it cannot write to it.
        if byte and not self._over.wait(self._seconds):
            if self._seconds:
                _run_briefly(lambda: log.warning("process.left_late", seconds=self._seconds))
            os._exit(self._status)
        os.close(self._heard)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Stop handling signals, for processes that continue, such as tests."""
        self._over.set()
        for number, before in self._before.items():
            signal.signal(number, before)
        signal.set_wakeup_fd(self._wakeup_before)
        os.close(self._signals)


def call_after(seconds: float, end: Callback) -> None:
    """Call `end` after so many seconds, in a separate thread."""
    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


def exit_with_parent() -> None:
    """Watch standard input, a pipe from the parent. When it closes, the parent is gone: this process gets SIGTERM."""
    if os.isatty(0):
        raise ConfigurationError("--with-parent is for programs that start recado: standard input must be a pipe")

    def listen() -> None:
        # os.read, because a thread that waits in Python's reader holds a lock, and a normal exit would abort.
        while os.read(0, 4096):
            pass
        # Logged in a separate thread: the parent may have been the reader of the log too.
        threading.Thread(target=log.warning, args=("process.parent_gone",), daemon=True).start()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=listen, name="recado-parent", daemon=True).start()


def exit_late(seconds: float) -> NoReturn:
    """Exit now because the time for closing is over, and log it."""
    _run_briefly(lambda: log.warning("process.left_late", seconds=seconds))
    exit_now()


def _run_briefly(say: Callable[[], object]) -> None:
    words = threading.Thread(target=say, daemon=True)
    words.start()
    words.join(LOG_FLUSH_SECONDS)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
