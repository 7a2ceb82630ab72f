"""A journal of what Twilio knows, which a test compares with a database whose processes were killed.

It has one JSON line per event, written to the operating system at once, so it survives the end of every process. It is
not synced to the disk, because no test cuts the power of the machine.
"""

import json
from pathlib import Path
from typing import TextIO

from recado.emulator.messages import EmulatedMessage

JournalValue = str | int | float | bool | None


class Journal:
    def __init__(self, path: Path | None) -> None:
        self._file: TextIO | None = None if path is None else path.open("a", encoding="utf-8")

    def write(self, event: str, at: float, **facts: JournalValue) -> None:
        if self._file is None:
            return
        self._file.write(json.dumps({"event": event, "at": round(at, 6), **facts}, ensure_ascii=False) + "\n")
        self._file.flush()

    def accepted(self, event: str, message: EmulatedMessage, fault: str | None) -> None:
        """Write that a message exists now."""
        self.write(
            event,
            message.created,
            sid=message.sid,
            account_sid=message.account_sid,
            to=message.to,
            body=message.body,
            status=message.status,
            direction=message.direction,
            fault=fault,
            **{"from": message.sender},
        )

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
