"""Several tortures at once, each with processes and servers of its own.

Most of a short run is its end, when two minutes of proof pass before an unknown send may be sent again; side by side
that is waited for once.
"""

import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import IO, Final

OWN_DATABASE: Final = {"postgres": "postgres", "sqlite": "sqlite"}
"""The database of a queue backend; with a broker it is the one that was asked for."""


def side_by_side(backends: Sequence[str], words: Sequence[str]) -> int:
    """Play each in a process; progress as it is told, then the tables one after the other. 1 when one was broken."""
    players = {name: _started(name, words) for name in backends}
    threads = [threading.Thread(target=_told, args=(name, each.stderr)) for name, each in players.items()]
    tables: dict[str, str] = {}
    threads += [threading.Thread(target=_kept, args=(tables, name, each.stdout)) for name, each in players.items()]
    for thread in threads:
        thread.start()
    try:
        statuses = [each.wait() for each in players.values()]
    except KeyboardInterrupt:
        for each in players.values():
            each.terminate()  # Each judges what there is and clears up.
        statuses = [each.wait() for each in players.values()]
    for thread in threads:
        thread.join()
    sys.stdout.write("\n".join(tables[name] for name in backends))
    return int(any(statuses))


def _started(backend: str, words: Sequence[str]) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "tests.chaos.torture", *words, "--backend", backend]
    if backend in OWN_DATABASE:
        command += ["--database", OWN_DATABASE[backend]]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _told(name: str, progress: IO[str] | None) -> None:
    for line in progress or ():
        sys.stderr.write(f"{name}: {line}")
        sys.stderr.flush()


def _kept(tables: dict[str, str], name: str, table: IO[str] | None) -> None:
    tables[name] = table.read() if table is not None else ""
