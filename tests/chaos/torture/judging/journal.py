"""Reads the journals of processes that may be writing, or may have died while they wrote."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

Record: TypeAlias = Mapping[str, str | int | float | bool | None]


class Tail:
    """What was added to a journal since the last look; half a line waits for its other half."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0

    def news(self) -> Iterator[Record]:
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._read)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._read += len(line)
                yield json.loads(line)


def records(path: Path) -> list[Record]:
    """The whole journal."""
    return list(Tail(path).news())


def text(record: Record, name: str) -> str:
    """A field that is a text, or nothing."""
    value = record.get(name)
    return value if isinstance(value, str) else ""
