"""Child processes that end with the process that started them, even if that process is killed."""

import ctypes
import signal
import sys
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_LIBRARY: Final = ctypes.CDLL(None) if sys.platform == "linux" else None
"""Loaded once: between fork and exec there should be little to do."""


def die_with_parent() -> None:
    """Have Linux kill this process when its parent dies, even if nothing in this process can run any more.

    For processes only that a sudden end cannot harm. Also callable between fork and exec of a child.
    """
    if _LIBRARY is not None:
        _LIBRARY.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
