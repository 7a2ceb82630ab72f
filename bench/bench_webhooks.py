"""How many signed webhooks a second does one API process make durable?

Compared, in turn, round after round, at 64 connections, with the same signed requests, of which 5 % are duplicates:

  recado  `recado serve`: every message and its job are in SQLite (WAL, synchronous=FULL) before the 200
  bare    uvicorn with the same settings that checks the signature with the same code, and answers; it stores nothing
  orm     FastAPI, a form model, async SQLAlchemy session, aiosqlite, a commit per request; same uniqueness rule and
          durability, one row per message instead of three

Why it is fair: the three get the same bytes over the same number of connections, check the same signature with the same
code and are served by the same server with the same settings, each alone on the machine with wrk (one thread). The
first tenth of the requests warms up and is not counted. How far wrk itself goes is measured against a server that does
not look at what it gets, and printed: it must be far above the rest.

How to read it: the ratios. A round sends a fixed number of requests, ends when each was answered, and then counts: as
many rows as different SIDs, neither more nor fewer, and no answer but 200.
"""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import harness
from harness import AUTH_TOKEN, BENCH, Figure, Workbench, at_least, median, progress
from outside.signed import webhooks, write_requests

CONNECTIONS = 64
DUPLICATES = 0.05
CUSTOMERS = 20_000
WARM_UP = 0.1
LONGEST_SECONDS = 180
OF_BARE = 0.5
OF_ORM = 15.0


@dataclass(frozen=True, slots=True)
class Load:
    """A file of requests, and how many different messages are in it."""

    path: Path
    requests: int
    messages: int


@dataclass(frozen=True, slots=True)
class Round:
    """What wrk saw, and what was stored."""

    rate: float
    p50_ms: float
    p99_ms: float
    lost: int
    refused: int


class Contest:
    """The contestants on one machine, with one port, so that the same signed requests fit all of them."""

    def __init__(self, bench: Workbench, *, quick: bool) -> None:
        self._bench = bench
        self._port = harness.reserved_port()
        self._url = f"http://127.0.0.1:{self._port}"
        self._template = bench.home / "template.db"
        self._database = bench.home / "recado.db"
        self._env = harness.environment(self._database, self._url)
        harness.install(harness.environment(self._template, self._url))
        scale = 10 if quick else 1
        progress("signing requests …")
        self._many = self._load("many", 66_000 // scale)
        self._few = self._load("few", 4_400 // scale)
        os.sync()  # Or the first contestant's commits wait for these files.

    def recado(self) -> Round:
        harness.copied(self._template, self._database)
        with harness.serving(self._bench, self._env, self._port):
            seen = self._wrk(self._many)
        return self._counted(seen, self._many, self._database)

    def bare(self) -> Round:
        with self._rival("bare.py", self._url, AUTH_TOKEN):
            return self._judged(self._wrk(self._many), lost=0)

    def orm(self) -> Round:
        database = self._bench.home / "orm.db"
        for path in self._bench.home.glob("orm.db*"):
            path.unlink()
        with self._rival("orm.py", self._url, AUTH_TOKEN, str(database)):
            seen = self._wrk(self._few)
        return self._counted(seen, self._few, database)

    def wrk_itself(self) -> Round:
        with self._rival("raw.py"):
            return self._judged(self._wrk(self._many), lost=0)

    def _load(self, name: str, requests: int) -> Load:
        path = self._bench.home / f"{name}.requests"
        made = webhooks(requests, self._url, customers=CUSTOMERS, duplicates=DUPLICATES)
        return Load(path, requests, write_requests(path, made, self._port))

    def _rival(self, script: str, *arguments: str) -> "harness.Serving":
        command = [sys.executable, str(BENCH / "rivals" / script), str(self._port), *arguments]
        return harness.Serving(self._bench, command, self._env, self._port)

    def _wrk(self, load: Load) -> dict[str, float]:
        warm_up = str(int(load.requests * WARM_UP))
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{LONGEST_SECONDS}s", "--timeout", "30s"]
        command += ["-s", str(BENCH / "outside" / "webhooks.lua"), self._url, "--", str(load.path), warm_up]
        output = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_SECONDS * 2, check=True).stdout
        seen: dict[str, float] = json.loads(output.strip().splitlines()[-1])
        if seen["answered"] < load.requests:
            answered, refused = seen["answered"], seen["not_200"]
            harness.give_up(
                f"only {answered:.0f} of {load.requests} requests were answered in time ({refused:.0f} not with 200)"
            )
        return seen | {"counted": load.requests * (1 - WARM_UP)}

    def _counted(self, seen: dict[str, float], load: Load, database: Path) -> Round:
        with closing(sqlite3.connect(database)) as connection:
            [stored] = connection.execute("SELECT count(*) FROM messages").fetchone()
        return self._judged(seen, lost=load.messages - stored)

    def _judged(self, seen: dict[str, float], *, lost: int) -> Round:
        refused = int(seen["not_200"] + seen["broken"])
        return Round(seen["counted"] / seen["seconds"], seen["p50_ms"], seen["p99_ms"], lost, refused)


def figures(rounds: dict[str, list[Round]]) -> list[Figure]:
    def rates(name: str) -> list[float]:
        return [each.rate for each in rounds[name]]

    def ratios(name: str) -> list[float]:
        return [ours / theirs for ours, theirs in zip(rates("recado"), rates(name), strict=True)]

    ours = rounds["recado"]
    return [
        Figure("recado: durable webhooks", rates("recado"), "/s"),
        Figure("bare: checks and stores nothing", rates("bare"), "/s"),
        Figure("orm: a commit per request", rates("orm"), "/s"),
        at_least("recado / bare", ratios("bare"), OF_BARE),
        at_least("recado / orm", ratios("orm"), OF_ORM, digits=1),
        Figure("recado: time to the 200, p50", [each.p50_ms for each in ours], "ms", digits=1),
        Figure("recado: time to the 200, p99", [each.p99_ms for each in ours], "ms", digits=1),
        Figure("orm: time to the 200, p50", [each.p50_ms for each in rounds["orm"]], "ms", digits=1),
        Figure("wrk's own limit (at least)", rates("wrk"), "/s"),
        harness.at_most("recado: messages lost or doubled", [sum(abs(each.lost) for each in ours)], 0, ""),
        harness.at_most("recado: answers that were no 200", [sum(each.refused for each in ours)], 0, ""),
    ]


def remarks(rounds: dict[str, list[Round]]) -> Sequence[str]:
    notes = []
    for name in ("bare", "orm"):
        wrong = sum(abs(each.lost) + each.refused for each in rounds[name])
        if wrong:
            notes.append(f"{name}: {wrong} requests were refused, lost or doubled")
    fastest = median([each.rate for each in rounds["bare"]])
    if median([each.rate for each in rounds["wrk"]]) < 2 * fastest:
        notes.append("wrk's own limit is less than twice the fastest contestant: the ratios are too kind to the slower")
    return notes


def main() -> None:
    given = harness.options(__doc__)
    if shutil.which("wrk") is None:
        harness.give_up("wrk is not installed: apt install wrk")
    with harness.workbench() as bench:
        contest = Contest(bench, quick=given.quick)
        contestants = {"recado": contest.recado, "bare": contest.bare, "orm": contest.orm, "wrk": contest.wrk_itself}
        rounds: dict[str, list[Round]] = {name: [] for name in contestants}
        for number in range(given.rounds):
            for name, run in contestants.items():
                rounds[name].append(run())
                progress(f"round {number + 1}: {name} {rounds[name][-1].rate:,.0f}/s")
    title = f"Webhooks: {CONNECTIONS} connections, {DUPLICATES:.0%} duplicates, medians of {given.rounds} rounds"
    harness.show(title, figures(rounds), remarks=remarks(rounds))


if __name__ == "__main__":
    main()
