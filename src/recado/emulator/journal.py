"""Writes down what Twilio knows, so that a test can compare it with a database whose processes were killed.

One JSON line per event, handed to the operating system at once: it outlives every process of ours, this one included.
It is not forced to the disk, because no test pulls the plug of the machine.
"""

import json
from pathlib import Path
from typing import TextIO

JournalValue = str | int | float | bool | None


class Journal:
    def __init__(self, path: Path | None) -> None:
        self._file: TextIO | None = None if path is None else path.open("a", encoding="utf-8")

    def write(self, event: str, at: float, **facts: JournalValue) -> None:
        if self._file is None:
            return
        self._file.write(json.dumps({"event": event, "at": round(at, 6), **facts}, ensure_ascii=False) + "\n")
        self._file.flush()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
