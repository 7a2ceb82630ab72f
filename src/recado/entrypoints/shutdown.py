"""How a process of ours ends: when it is told to or when its parent is gone, and in time, whatever hangs in it.

A thread cannot be stopped, and Python waits for most of them before it ends: one agent that blocks would keep a process
for ever. So what must be closed is closed, for as long as the deadline allows, and then the process leaves without
waiting for anything else.
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
"""How long the log may take for the last lines: its reader may be gone."""

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)

Callback: TypeAlias = Callable[[], object]


def exit_now(status: int = 0) -> NoReturn:
    """End now. What Python would wait for, threads of agents above all, ends with the process."""
    _run_briefly(_flush)
    os._exit(status)


class ShutdownSignals:
    """Hears SIGTERM and SIGINT from its making to the end of the process, also where no event loop runs.

    Until `on_request` names something better the process leaves at once: so early it holds nothing, and so late either.
    """

    def __init__(self) -> None:
        self.requested = False
        self._status = 0
        self._then: Callback | None = None
        self._seconds = 0.0
        self._over = threading.Event()
        self._heard, self._signals = os.pipe()
        os.set_blocking(self._signals, False)
        # The system writes there whatever the main thread does, so the deadline holds even if that one is stuck.
        self._wakeup_before = signal.set_wakeup_fd(self._signals, warn_on_full_buffer=False)
        self._before = {number: signal.signal(number, self._handle) for number in _SIGNALS}
        threading.Thread(target=self._enforce_deadline, name="recado-signals", daemon=True).start()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)  # What was said during `replace_process` is heard now.

    def on_request(self, do: Callback, *, within: float, status: int = 0) -> None:
        """What is done when the process is told to end, and after how many seconds it leaves even so.

        It is done once: telling a process again changes nothing.
        """
        self._seconds, self._status = within, status
        self._then = do

    def replace_process(self) -> NoReturn:
        """Start this very command anew in the same process, unless it was told to end.

        Threads that cannot be stopped end with the old program.
        """
        _run_briefly(lambda: log.warning("worker.recycled"))
        # A signal that comes while there is no Python to hear it waits until the new program can.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        if self.requested:
            exit_now()
        os.execv(sys.executable, [sys.executable, "-m", "recado", *sys.argv[1:]])  # noqa: S606 - our own command

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        again, self.requested = self.requested, True
        if self._then is None:
            os._exit(self._status)
        if not again:
            with suppress(RuntimeError):  # The event loop is closed: what remains is to leave.
                self._then()

    def _enforce_deadline(self) -> None:
        while (byte := os.read(self._heard, 1)) and byte[0] not in _SIGNALS:
            pass
        os.close(self._heard)
        if byte and not self._over.wait(self._seconds):
            if self._seconds:
                _run_briefly(lambda: log.warning("process.left_late", seconds=self._seconds))
            os._exit(self._status)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Hear no more: for those that go on living, as tests do."""
        self._over.set()
        for number, before in self._before.items():
            signal.signal(number, before)
        signal.set_wakeup_fd(self._wakeup_before)
        os.close(self._signals)


def call_after(seconds: float, end: Callback) -> None:
    """Call `end` after so many seconds from a thread of its own."""
    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


def exit_with_parent() -> None:
    """From now on standard input is a line to the parent: when it ends the parent is gone, and this process is told."""
    if os.isatty(0):
        raise ConfigurationError("--with-parent is for programs that start this one: standard input must be a pipe")

    def listen() -> None:
        # The bare descriptor: a thread that waits in Python's reader holds its lock, and a normal end would abort.
        while os.read(0, 4096):
            pass
        # Logged by a thread of its own: the parent may have been the reader of the log too.
        threading.Thread(target=log.warning, args=("process.parent_gone",), daemon=True).start()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=listen, name="recado-parent", daemon=True).start()


def exit_late(seconds: float) -> NoReturn:
    """End now, for the time that closing may take is up, and say so."""
    _run_briefly(lambda: log.warning("process.left_late", seconds=seconds))
    exit_now()


def _run_briefly(say: Callable[[], object]) -> None:
    words = threading.Thread(target=say, daemon=True)
    words.start()
    words.join(LOG_FLUSH_SECONDS)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
