"""How long does a webhook wait while programs read over the API?

A `recado serve` over SQLite, and another over PostgreSQL, each with a million messages stored (see `million/rows.py`).
It gets thirty signed webhooks a second, each on a connection of its own, as when no proxy keeps them. In turn nothing
else happens, and another process asks for a hundred pages a second over sixteen connections with keys: lists, contacts,
conversations and their messages, and now and then a search. Both are measured in one run on one server.

Why it is fair: both processes of clients take part of the two processors, which clients elsewhere would not, and the
one that reads is only there in the second half: what it takes is counted as ours. How late the client of the webhooks
wakes up at worst is shown.

How to read it: the p99 beside readers divided by the p99 alone, median of the rounds; the bar is 1.5.
"""

import asyncio
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import harness
from harness import BENCH, Figure, Workbench, at_most, percentile, progress
from million.databases import api_keys, databases
from million.filling import Filled
from million.questions import Questions
from outside.posting import Posted, keep_posting
from outside.signed import webhooks

WEBHOOKS_PER_SECOND = 30
READS_PER_SECOND = 100
SECONDS = 20.0
TIMES = 1.5
PATHS = 2_000
KEYS = 4


@dataclass(frozen=True, slots=True)
class Round:
    """Webhooks without and with readers beside them, and what those saw."""

    alone: Posted
    beside: Posted
    readers: dict[str, float]

    @property
    def times(self) -> float:
        return percentile(self.beside.waits, 99) / percentile(self.alone.waits, 99)


class Server:
    """One server with its clients."""

    def __init__(self, bench: Workbench, filled: Filled, seconds: float) -> None:
        self._bench, self._filled, self._seconds = bench, filled, seconds
        self._port = harness.reserved_port()
        self._url = f"http://127.0.0.1:{self._port}"
        self._env = harness.environment(filled.url, self._url)
        self._keys = api_keys(self._env, filled.owners.big, KEYS)
        seed = int.from_bytes(os.urandom(4))  # Messages that an earlier run has stored would be duplicates.
        self._made = webhooks(1_000_000, self._url, customers=500, duplicates=0.0, seed=seed)

    def rounds(self, count: int) -> list[Round]:
        with harness.serving(self._bench, self._env, self._port):
            asyncio.run(keep_posting(self._port, self._made, 3.0, WEBHOOKS_PER_SECOND))  # Warms up.
            self._read(2.0)
            return [self._round() for _ in range(count)]

    def _round(self) -> Round:
        alone = self._post()
        readers = self._reading(self._seconds + 2)
        try:
            assert readers.stdout is not None
            readers.stdout.readline()
            found = Round(alone, self._post(), self._told(readers))
        finally:
            readers.kill()
            readers.wait()
        waits = [percentile(each.waits, 99) * 1_000 for each in (found.alone, found.beside)]
        progress(f"{self._filled.name}: p99 {waits[0]:.1f} ms alone, {waits[1]:.1f} ms beside readers")
        return found

    def _post(self) -> Posted:
        return asyncio.run(keep_posting(self._port, self._made, self._seconds, WEBHOOKS_PER_SECOND))

    def _read(self, seconds: float) -> dict[str, float]:
        return self._told(self._reading(seconds))

    def _reading(self, seconds: float) -> "subprocess.Popen[str]":
        paths = self._bench.home / "paths.txt"
        mixed = Questions(self._filled).mixed()
        paths.write_text("\n".join(mixed() for _ in range(PATHS)), "utf-8")
        script = str(Path(BENCH) / "outside" / "readers.py")
        command = [sys.executable, script, str(self._port), str(READS_PER_SECOND), str(seconds), str(paths)]
        env = {**os.environ, "BENCH_KEYS": ",".join(self._keys)}
        return subprocess.Popen(command, stdout=subprocess.PIPE, env=env, text=True)

    def _told(self, readers: "subprocess.Popen[str]") -> dict[str, float]:
        output, _ = readers.communicate(timeout=120)
        told: dict[str, float] = json.loads(output.strip().splitlines()[-1])
        return told


def figures(name: str, rounds: list[Round]) -> list[Figure]:
    alone = [percentile(each.alone.waits, 99) * 1_000 for each in rounds]
    beside = [percentile(each.beside.waits, 99) * 1_000 for each in rounds]
    return [
        Figure(f"{name}: webhooks alone, p99", alone, "ms", digits=1),
        Figure(f"{name}: webhooks beside readers, p99", beside, "ms", digits=1),
        at_most(f"{name}: beside / alone", [each.times for each in rounds], TIMES, "x", digits=2),
        Figure(f"{name}: readers, answered", [each.readers["per_second"] for each in rounds], "/s", digits=1),
        Figure(f"{name}: readers, p50", [each.readers["p50_ms"] for each in rounds], "ms", digits=1),
        Figure(f"{name}: readers, p95", [each.readers["p95_ms"] for each in rounds], "ms", digits=1),
        at_most(
            f"{name}: webhooks not answered 200", [each.alone.refused + each.beside.refused for each in rounds], 0, ""
        ),
    ]


def main() -> None:
    given = harness.options(__doc__, keeps=True)
    shown: list[Figure] = []
    late = 0.0
    with harness.workbench() as bench:
        for filled in databases(bench, given):
            rounds = Server(bench, filled, 4.0 if given.quick else SECONDS).rounds(given.rounds)
            shown += figures(filled.name, rounds)
            late = max([late, *(posted.late for each in rounds for posted in (each.alone, each.beside))])
    remarks = [
        f"the client of the webhooks was up to {late * 1_000:,.0f} ms late",
        f"load average when it ended: {os.getloadavg()[0]:.1f}",
    ]
    title = f"{WEBHOOKS_PER_SECOND} webhooks a second beside {READS_PER_SECOND} requests a second of the API"
    harness.show(title, shown, remarks=remarks)


if __name__ == "__main__":
    main()
