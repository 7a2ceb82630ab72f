"""How fast is the queue: jobs through it, and the moment from storing a job to its start.

Throughput: 20,000 jobs that do nothing, from the first enqueue to the last one done, with the consumer alive in another
process all the time.

  recado  a job is one durable call of the queue service each, 64 callers at once (commits are shared); a worker process
          with the concurrency it has by default claims, runs and ends each one: two more durable changes per job
  huey    SqliteHuey(fsync=True), one durable insert each, by one caller (more would only wait for each other's lock);
          its own consumer with two threads takes a task by deleting it: one more durable change per task

Why it is fair: both store every job in a SQLite file with synchronous=FULL before the caller goes on, and run it in one
other process. huey does less for it: a task whose process dies is gone, and a line for each customer does not exist.
The number of huey's threads is the best of 1, 2, 4 and 8 on two cores; each of them takes the same lock.

Latency: one job at a time to an idle worker in another process, from the call that stores it to the first line of its
handler, on one clock. The pauses between are of random length, so that no sample is in step with a poll.

How to read it: throughput as a ratio. Latency in milliseconds; it holds the commit of the enqueue (one fsync) and the
worker's poll of the file, which is every 20 ms.
"""

import asyncio
import math
import os
import socket
import sqlite3
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import harness
from harness import BENCH, Figure, Workbench, at_least, at_most, percentile, progress, wait_until

if TYPE_CHECKING:
    pass

JOBS = 20_000
CALLERS = 64
HUEY_THREADS = 2
SAMPLES = 500
LONGEST_SECONDS = 180.0
OF_HUEY = 3.0
START_P99_MS = 50.0


class Queues:
    """Both queues, each on fresh files every round."""

    def __init__(self, bench: Workbench, jobs: int) -> None:
        self._bench = bench
        self._jobs = jobs
        self._database = bench.home / "recado.db"
        self._template = bench.home / "template.db"
        self._env = harness.environment(self._database, "http://127.0.0.1:1")
        harness.install(harness.environment(self._template, "http://127.0.0.1:1"))
        os.environ.update({name: value for name, value in self._env.items() if name.startswith("RECADO_")})

    def recado(self) -> float:
        """Jobs a second."""
        from jobs.feeder import store_all

        with self._worker():
            started = time.monotonic()
            asyncio.run(store_all(self._jobs, CALLERS))
            self._wait_for_the_last(self._is_drained)
            return self._jobs / (time.monotonic() - started)

    def huey(self) -> float:
        """Tasks a second."""
        for path in self._bench.home.glob("huey*"):
            path.unlink()
        database, done = self._bench.home / "huey.db", self._bench.home / "huey-done"
        script = [sys.executable, str(BENCH / "rivals" / "huey_queue.py")]
        arguments = [str(database), str(self._jobs)]
        consumer = self._bench.start([*script, "consume", *arguments, str(HUEY_THREADS), str(done)], self._env)
        try:
            if not wait_until(done.with_suffix(".ready").exists, 30):
                self._bench.complain(consumer)
            producer = self._bench.start([*script, "produce", *arguments], self._env)
            if not wait_until(Path(f"{database}-producing").exists, 30, pause=0.001):
                self._bench.complain(producer)
            started = time.monotonic()
            self._wait_for_the_last(done.exists)
            return self._jobs / (time.monotonic() - started)
        finally:
            self._bench.stop(consumer)

    def starts(self, samples: int) -> list[float]:
        """Milliseconds from storing a job to its start in an idle worker."""
        from jobs.feeder import one_by_one

        address = str(self._bench.home / "started.sock")
        Path(address).unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told, self._worker(address):
            told.bind(address)
            told.settimeout(30)
            return asyncio.run(one_by_one(told, samples))

    def _worker(self, *arguments: str) -> "_Worker":
        harness.copied(self._template, self._database)
        return _Worker(self._bench, self._env, self._database, arguments)

    def _is_drained(self) -> bool:
        with closing(sqlite3.connect(self._database, timeout=30)) as connection:
            open_ones = "SELECT 1 FROM message_queue WHERE status IN ('collecting','waiting','running') AND name = ?"
            return connection.execute(f"{open_ones} LIMIT 1", ("bench.noop",)).fetchone() is None

    def _wait_for_the_last(self, is_over: "harness.Condition") -> None:
        if not wait_until(is_over, LONGEST_SECONDS, pause=0.02):
            harness.give_up(f"{self._jobs} jobs were not done within {LONGEST_SECONDS:g} seconds")


class _Worker:
    """`jobs/worker.py`, entered when it claims."""

    def __init__(self, bench: Workbench, env: dict[str, str], database: Path, arguments: Sequence[str]) -> None:
        self._bench, self._env, self._database = bench, env, database
        self._command = [sys.executable, str(BENCH / "jobs" / "worker.py"), *arguments]

    def __enter__(self) -> None:
        self._process = self._bench.start(self._command, self._env)
        if not wait_until(lambda: self._process.poll() is not None or harness.is_idle(self._database), 30):
            self._bench.complain(self._process)
        if self._process.poll() is not None:
            self._bench.complain(self._process)

    def __exit__(self, *_error: object) -> None:
        self._bench.stop(self._process)


def main() -> None:
    given = harness.options(__doc__)
    jobs, samples = (1_000, 20) if given.quick else (JOBS, math.ceil(SAMPLES / given.rounds))
    rates: dict[str, list[float]] = {"recado": [], "huey": []}
    starts: list[float] = []
    with harness.workbench() as bench:
        queues = Queues(bench, jobs)
        for number in range(given.rounds):
            rates["recado"].append(queues.recado())
            rates["huey"].append(queues.huey())
            starts += queues.starts(samples)
            progress(
                f"round {number + 1}: recado {rates['recado'][-1]:,.0f}/s, huey {rates['huey'][-1]:,.0f}/s, "
                f"start p50 {percentile(starts, 50):.1f} ms"
            )
    ratios = [ours / theirs for ours, theirs in zip(rates["recado"], rates["huey"], strict=True)]
    harness.show(
        f"Queue: {jobs:,} jobs, medians of {given.rounds} rounds; {len(starts)} single starts",
        [
            Figure("recado: stored, run, done", rates["recado"], "/s"),
            Figure(f"huey, {HUEY_THREADS} threads: stored, run", rates["huey"], "/s"),
            at_least("recado / huey", ratios, OF_HUEY, digits=1),
            Figure("recado: enqueue to start, p50", [percentile(starts, 50)], "ms", digits=1),
            at_most("recado: enqueue to start, p99", [percentile(starts, 99)], START_P99_MS, "ms", digits=1),
        ],
    )


if __name__ == "__main__":
    main()
