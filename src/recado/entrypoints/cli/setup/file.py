"""Write `recado.env`: only what no variable says yet, and only for the eyes of its owner."""

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from recado.core.errors import Conflict
from recado.entrypoints.environment import OURS, assignment, environment
from recado.settings import load_settings

_OWNER_ONLY: Final = 0o600
_HEAD: Final = (
    "# Settings of Recado. Commands in this folder read them; variables of the environment win.\n"
    "# Everything stored is sealed with the key below: keep a copy of it elsewhere.\n"
)


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """The file, and the variables that were added to it now."""

    path: Path
    written: tuple[str, ...]


def ensure_variables(wanted: Mapping[str, str], *, secret_names: Collection[str | None] = ()) -> WrittenFile:
    """Add the variables to `recado.env` that are set nowhere yet, after checking them all together.

    Raises `Conflict` if one is set to another value: what runs with that value would break.
    """
    known = environment()
    for name, value in wanted.items():
        if known.get(name) and known[name] != value:
            raise Conflict(f"{name} is set already, to another value: change it there, or leave the option out")
    new = {name: value for name, value in wanted.items() if not known.get(name)}
    others = {name: value for name, value in known.items() if name not in secret_names}
    load_settings({**others, **new}, purpose="serve")
    path = Path(OURS)
    if new:
        _append(path, "".join(assignment(name, value) for name, value in new.items()))
        environment()
    return WrittenFile(path, tuple(new))


def _append(path: Path, lines: str) -> None:
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, _OWNER_ONLY), "r+", encoding="utf-8") as file:
        os.fchmod(file.fileno(), _OWNER_ONLY)  # It may have been made by hand, for everybody to read.
        before = file.read()
        if not before:
            file.write(_HEAD)
        elif not before.endswith("\n"):
            file.write("\n")
        file.write(lines)
        file.flush()
        os.fsync(file.fileno())
