"""The variables of a process: its environment, and what `recado.env` and `.env` in the working folder add to it.

A variable of the environment wins over both files, and `recado.env`, which `recado init` writes, wins over `.env`. What
a file adds is put into the environment, so that processes that this one starts, and libraries that read variables of
their own (`OTEL_…`, `AWS_…`), see the same.
"""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from recado.core.errors import ConfigurationError

OURS: Final = "recado.env"
ANYBODYS: Final = ".env"
MAX_BYTES: Final = 256 * 1024

_LINE: Final = re.compile(r"\A(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(.*)", re.ASCII)
_PLAIN: Final = re.compile(r"[\w.,:;@%+/=?&~^-]*", re.ASCII)
_COMMENT: Final = re.compile(r"\s#")
_QUOTED: Final = re.compile(r"""\A(?:'([^']*)'\s*(?:#.*)?|"((?:[^"\\]|\\.)*)"\s*(?:#.*)?)""")
_ESCAPED: Final = re.compile(r"\\(.)")
_MEANINGS: Final[Mapping[str, str]] = {"n": "\n", "t": "\t", "r": "\r"}


class EnvironmentFileUnusable(ConfigurationError):
    """A file of variables cannot be read, or has a line that is none; the sentence names it."""

    code = "settings.file_unusable"


def environment(folder: Path | None = None) -> Mapping[str, str]:
    """Return the variables of this process, after adding those of the files in `folder` that it lacks."""
    for name in (OURS, ANYBODYS):
        for variable, value in read_environment_file((folder or Path()) / name).items():
            os.environ.setdefault(variable, value)
    return os.environ


def read_environment_file(path: Path) -> Mapping[str, str]:
    """Return the variables of a file, none if there is no file. Raises `EnvironmentFileUnusable`.

    `.env` may belong to another program too, so lines of it that are no assignments are skipped.
    """
    text = _text_of(path)
    return {} if text is None else dict(_assignments(text, path))


def assignment(variable: str, value: str) -> str:
    """Return a line that this module, systemd, container engines and a shell read alike."""
    if not _PLAIN.fullmatch(value):
        raise ConfigurationError(f"{variable} has characters that a file of variables cannot hold: {value[:40]!r}")
    return f"{variable}={value}\n"


def _assignments(text: str, path: Path) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(text.splitlines(), start=1):
        written = line.strip()
        if not written or written.startswith("#"):
            continue
        found = _LINE.fullmatch(written)
        value = None if found is None else _value(found[2])
        if found is not None and value is not None:
            yield found[1], value
        elif path.name == OURS:
            raise EnvironmentFileUnusable(f"{path}, line {number}: write it as NAME=value")


def _value(text: str) -> str | None:
    """Return what stands behind the equals sign, or None for a quotation that does not end."""
    if text[:1] not in {"'", '"'}:
        return _COMMENT.split(text, maxsplit=1)[0].strip()
    found = _QUOTED.fullmatch(text)
    if found is None:
        return None
    if found[1] is not None:
        return found[1]
    return _ESCAPED.sub(lambda escape: _MEANINGS.get(escape[1], escape[1]), found[2])


def _text_of(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            _refuse_strangers(path, os.fstat(file.fileno()).st_uid)
            return file.read(MAX_BYTES).decode("utf-8-sig")
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return None
    except OSError as error:
        raise EnvironmentFileUnusable(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from error
    except UnicodeDecodeError:
        raise EnvironmentFileUnusable(f"{path} is not a text file in UTF-8") from None


def _refuse_strangers(path: Path, owner: int) -> None:
    """Refuse a file of another user: in a shared folder it would choose the database and read what is stored there."""
    if owner not in {os.geteuid(), 0}:
        raise EnvironmentFileUnusable(f"{path} belongs to another user of this machine: move it away, or own it")
