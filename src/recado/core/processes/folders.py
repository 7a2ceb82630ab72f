"""A temporary folder for one process, removed when the process ends, however it ends.

A process that ends in an orderly way removes its folder itself; a signal that would end it at once is turned into an
error for that. After kill -9 or a power cut the folder stays until the next process makes one of the same kind in the
same place: each process holds a lock in its folder, and a free lock means that the process is gone. So folders of
living processes are left alone.
"""

import contextlib
import errno
import fcntl
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

from recado.core.errors import Conflict, DomainError

_TRIES: Final = 20
"""More than one is needed only when several folders are made at the same moment."""
_NO_LOCKS: Final = frozenset({errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP})
"""The file system has no locks, so no folder there is taken for a leftover."""


class StoppedBySignal(DomainError):
    """The process was told to end while it was working."""

    code = "core.stopped"


# --- Signals ----------------------------------------------------------------------------------------------------------


@contextmanager
def stop_on_signals(signals: Collection[signal.Signals]) -> Iterator[None]:
    """Turn signals that would end the process into `StoppedBySignal`, so that it cleans up."""
    if threading.current_thread() is not threading.main_thread():  # Python allows handlers there only.
        yield
        return
    ours = [number for number in signals if signal.getsignal(number) not in {signal.SIG_IGN, None}]

    def stop(number: int, _frame: FrameType | None) -> NoReturn:
        for each in ours:  # A second signal must not interrupt the cleaning.
            signal.signal(each, signal.SIG_IGN)
        raise StoppedBySignal(f"it was stopped by {signal.Signals(number).name}")

    before = {number: signal.signal(number, stop) for number in ours}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# --- Folders ----------------------------------------------------------------------------------------------------------


@contextmanager
def private_folder(directory: Path, *, prefix: str, suffix: str = "") -> Iterator[Path]:
    """Make a new folder that only this user can enter, and remove leftovers of the same prefix and suffix before.

    Raises `OSError` that names `directory` when no folder can be made in it.
    """
    _remove_leftovers(directory, prefix, suffix)
    folder, lock = _new_folder(directory, prefix, suffix)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _new_folder(directory: Path, prefix: str, suffix: str) -> tuple[Path, int | None]:
    for _ in range(_TRIES):
        try:
            folder = Path(tempfile.mkdtemp(prefix=prefix, suffix=suffix, dir=directory))  # Mode 0700.
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(directory)) from error
        folder.chmod(0o700)  # An odd umask may have taken rights from the owner.
        try:
            lock = _lock_folder(folder)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                shutil.rmtree(folder, ignore_errors=True)
                raise
            return folder, None
        if lock is not None:
            return folder, lock
        shutil.rmtree(
            folder, ignore_errors=True
        )  # Another process that started at the same moment took it for a leftover.
    raise Conflict(f"other processes keep beginning the same in {directory}: try again when they have ended")


def _lock_folder(folder: Path) -> int | None:
    """Take the folder's lock; return None when another process holds it or has removed the folder."""
    path, held = folder / ".lock", False
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except FileNotFoundError:
        return None
    try:
        os.fchmod(lock, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        held = os.path.samestat(os.fstat(lock), path.stat())
    except (BlockingIOError, FileNotFoundError):
        pass
    finally:
        if not held:
            os.close(lock)
    return lock if held else None


def _remove_leftovers(directory: Path, prefix: str, suffix: str) -> None:
    for folder in directory.glob(f"{prefix}*{suffix}"):
        with contextlib.suppress(OSError):  # A leftover that stays is no reason to stop.
            if folder.is_symlink() or not folder.is_dir() or folder.stat().st_uid != os.geteuid():
                continue
            lock = _lock_folder(folder)
            if lock is not None:
                shutil.rmtree(folder, ignore_errors=True)
                os.close(lock)
