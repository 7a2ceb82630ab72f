"""Read and write the files that a person names, with a clear error for each file that cannot be used.

A name may be anything: `/dev/zero` never ends, opening a pipe waits for its other end, and a folder is no text.
"""

import json
import os
import stat
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from recado.core.database.types import JsonValue
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


async def write_lines(path: Path, lines: AsyncIterator[Mapping[str, JsonValue]]) -> int:
    """Write lines of JSON to a new file that only its owner can read. Return their number without the first and last.

    Raises `InvalidInput` when the file exists or cannot be written; an unfinished file is deleted.
    """
    written = 0
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as file, _deleted_on_failure(path):
            async for line in lines:
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
                written += 1
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        raise InvalidInput(f"{path} exists already and is not overwritten: name another file") from None
    except OSError as error:
        raise InvalidInput(f"{path} cannot be written: {(error.strerror or str(error)).lower()}") from error
    return written - 2


@contextmanager
def _deleted_on_failure(path: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _check(path: Path, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise InvalidInput(f"{path} is a folder; name the files in it")
    if not stat.S_ISREG(mode):
        raise InvalidInput(f"{path} is not a regular file but a device, a pipe or a socket")


def _size(size: int) -> str:
    return f"{size // 1024 // 1024} MB" if size >= 1024 * 1024 else f"{size // 1024} KB"
