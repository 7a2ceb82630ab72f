"""Read the files that a person names, with a clear error for each file that cannot be read.

A name may be anything: `/dev/zero` never ends, opening a pipe waits for its other end, and a folder is no text.
"""

import os
import stat
from pathlib import Path

from recado.core.errors import InvalidInput


def read_file(path: Path, max_bytes: int) -> bytes:
    """Return the content of a regular file of at most `max_bytes`. Raises `InvalidInput`."""
    try:
        _check(path, path.stat().st_mode)
        # The file may be replaced between the check and the open, so the open must not block and is checked again.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            _check(path, os.fstat(file.fileno()).st_mode)
            content = file.read(max_bytes + 1)
    except FileNotFoundError:
        raise InvalidInput(f"{path} does not exist") from None
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from error
    if len(content) > max_bytes:
        raise InvalidInput(f"{path} is larger than {_size(max_bytes)}")
    return content


def read_text(path: Path, max_bytes: int) -> str:
    """Return the content of a UTF-8 text file, without the byte order mark that some editors write."""
    try:
        return read_file(path, max_bytes).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidInput(f"{path} is not a text file in UTF-8") from None


def _check(path: Path, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise InvalidInput(f"{path} is a folder; name the files in it")
    if not stat.S_ISREG(mode):
        raise InvalidInput(f"{path} is not a regular file but a device, a pipe or a socket")


def _size(size: int) -> str:
    return f"{size // 1024 // 1024} MB" if size >= 1024 * 1024 else f"{size // 1024} KB"
