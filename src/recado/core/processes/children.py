"""What ends with the process that started it, also where that one is killed and can end nothing itself."""

import ctypes
import signal
import sys
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_LIBRARY: Final = ctypes.CDLL(None) if sys.platform == "linux" else None
"""Loaded once: between fork and exec there should be little to do."""


def die_with_parent() -> None:
    """Have the system kill this process when its parent dies, on Linux, even if nothing in it can run any more.

    Only for what holds nothing that a sudden end could harm. Also what a child does between fork and exec.
    """
    if _LIBRARY is not None:
        _LIBRARY.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
