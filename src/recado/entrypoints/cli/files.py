"""Reads the files that a person names, and says in a sentence what cannot be read.

A name may be anything: `/dev/zero` never ends, opening a pipe waits for its other end, and a folder is no text.
"""

import os
import stat
from pathlib import Path

from recado.core.errors import InvalidInput


def read_file(path: Path, most: int) -> bytes:
    """The content of an ordinary file of at most `most` bytes; raises `InvalidInput`."""
    try:
        _check(path, path.stat().st_mode)
        # What is opened may be another than what was looked at, so opening must not wait and is looked at again.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            _check(path, os.fstat(file.fileno()).st_mode)
            content = file.read(most + 1)
    except FileNotFoundError:
        raise InvalidInput(f"{path} does not exist") from None
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from error
    if len(content) > most:
        raise InvalidInput(f"{path} is larger than {_size(most)}")
    return content


def read_text(path: Path, most: int) -> str:
    """The same as text in UTF-8, without the mark that some editors put in front."""
    try:
        return read_file(path, most).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidInput(f"{path} is not a text file in UTF-8") from None


def _check(path: Path, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise InvalidInput(f"{path} is a folder; name the files in it")
    if not stat.S_ISREG(mode):
        raise InvalidInput(f"{path} is no ordinary file but a device, a pipe or a socket")


def _size(size: int) -> str:
    return f"{size // 1024 // 1024} MB" if size >= 1024 * 1024 else f"{size // 1024} KB"
