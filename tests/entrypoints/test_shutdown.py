"""The end of a process: a signal is handled at any time, once, and before the deadline."""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from recado.entrypoints.shutdown import ShutdownSignals
from tests.support.patience import PATIENCE

BEFORE = """
import signal, sys, threading
from recado.entrypoints.shutdown import ShutdownSignals, exit_with_parent, exit_now

def ready():
    print("ready", flush=True)
"""


@contextmanager
def running(program: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Yield a process that is ready."""
    words = [sys.executable, "-c", BEFORE + textwrap.dedent(program)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield process


def test_a_signal_is_handled_once() -> None:
    requested: list[str] = []
    with ShutdownSignals() as signals:
        signals.on_request(lambda: requested.append("told"), within=PATIENCE)
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
            os.kill(os.getpid(), number)

    assert requested == ["told"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_process_that_holds_nothing_yet_leaves_at_once(number: signal.Signals) -> None:
    with running("signals = ShutdownSignals(); ready(); threading.Event().wait()") as process:
        process.send_signal(number)
        assert process.wait(PATIENCE) == 0


def test_the_process_exits_at_the_deadline_whatever_blocks() -> None:
    program = """
        signals = ShutdownSignals()
        signals.on_request(lambda: None, within=0.1, status=7)
        threading.Thread(target=threading.Event().wait).start()
        ready()
        threading.Event().wait()
    """
    with running(program) as process:
        process.terminate()
        assert process.wait(PATIENCE) == 7


def test_exiting_waits_for_no_thread() -> None:
    with running("threading.Thread(target=threading.Event().wait).start(); ready(); exit_now(3)") as process:
        assert process.wait(PATIENCE) == 3


def test_a_signal_during_a_restart_reaches_the_new_program() -> None:
    """The mask of signals goes from program to program."""
    program = """
        import os
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        os.kill(os.getpid(), signal.SIGTERM)
        ready()
        new = "from recado.entrypoints.shutdown import ShutdownSignals; ShutdownSignals(); raise SystemExit(5)"
        os.execv(sys.executable, [sys.executable, "-c", new])
    """
    with running(program) as process:
        assert process.wait(PATIENCE) == 0


def test_a_child_gets_sigterm_when_its_parent_is_gone() -> None:
    with running("exit_with_parent(); ready(); threading.Event().wait()") as process:
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(PATIENCE) == -signal.SIGTERM
