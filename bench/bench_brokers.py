"""What a broker costs: jobs through BullMQ, from storing a job to its start, and webhooks while Redis fails.

Throughput: 20,000 jobs that do nothing, from the first enqueue to the last one done, the consumer in another process.

recado each job is a durable row (SQLite, synchronous=FULL) before the call returns; Redis carries wake-ups; a worker
claims, runs and ends each in the database: two more durable changes bullmq BullMQ's own Python client: jobs in a Redis
that keeps nothing on disk, its own worker, as many at a time

The comparison is unfair on purpose: BullMQ's jobs are gone with Redis, ours are durable. The ratio says what that
costs.

Latency: one job at a time to an idle worker in another process, with pauses of random length, on one clock.

Webhooks: `recado serve` takes signed webhooks at 8 connections, while a worker publishes wake-ups to BullMQ for 50 jobs
a second. The same load is posted with Redis up, stopped, frozen (SIGSTOP) and black-holed (an address that answers no
connection). Nothing of the webhook waits for Redis, so its p99 must not move.
"""

import asyncio
import contextlib
import json
import math
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import harness
from harness import BENCH, Figure, Workbench, at_least, at_most, percentile, progress, wait_until
from outside.signed import webhooks, write_requests

sys.path.insert(0, str(BENCH.parent))

from tests.support.servers.brokers import RedisServer, redis

JOBS = 20_000
CALLERS = 64
SAMPLES = 500
LONGEST_SECONDS = 240.0
OF_BULLMQ = 0.5
START_P99_MS = 250.0
WEBHOOKS = 20_000
CONNECTIONS = 8
P99_MORE = 1.2
ILLNESSES = ("up", "stopped", "frozen", "black hole")


class Rings:
    """Recado over BullMQ, and BullMQ by itself."""

    def __init__(self, bench: Workbench, server: RedisServer, jobs: int) -> None:
        self._bench, self._server, self._jobs = bench, server, jobs
        self._template, self._database = bench.home / "template.db", bench.home / "recado.db"
        harness.install(harness.environment(self._template, "http://127.0.0.1:1"))
        self._env = harness.environment(
            self._database, "http://127.0.0.1:1", queue_backend="bullmq", redis_url=server.url
        )
        os.environ.update({name: value for name, value in self._env.items() if name.startswith("RECADO_")})

    def recado(self) -> float:
        """Jobs a second."""
        from jobs.feeder import store_all

        with self._worker():
            started = time.monotonic()
            asyncio.run(store_all(self._jobs, CALLERS))
            if not wait_until(self._is_drained, LONGEST_SECONDS, pause=0.02):
                harness.give_up(f"{self._jobs} jobs were not done within {LONGEST_SECONDS:g} seconds")
            return self._jobs / (time.monotonic() - started)

    def bullmq(self) -> float:
        """Jobs a second."""
        self._server.command_line("FLUSHALL")
        done = self._bench.home / "bullmq-done"
        for path in (done, done.with_suffix(".ready")):
            path.unlink(missing_ok=True)
        script = [sys.executable, str(BENCH / "rivals" / "bullmq_queue.py")]
        words = [self._server.url, str(self._jobs), str(CALLERS)]
        consumer = self._bench.start([*script, "consume", *words, str(done)], self._env)
        if not wait_until(done.with_suffix(".ready").exists, 30):
            self._bench.complain(consumer)
        started = time.monotonic()
        producer = self._bench.start([*script, "produce", *words], self._env)
        if not wait_until(done.exists, LONGEST_SECONDS, pause=0.01):
            self._bench.complain(consumer)
        rate = self._jobs / (time.monotonic() - started)
        self._bench.stop(producer)
        self._bench.stop(consumer)
        return rate

    def starts(self, samples: int) -> list[float]:
        """Milliseconds from storing a job to its start in an idle worker."""
        from jobs.feeder import one_by_one

        address = str(self._bench.home / "started.sock")
        Path(address).unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told, self._worker(address):
            told.bind(address)
            told.settimeout(30)
            return asyncio.run(one_by_one(told, samples))

    @contextmanager
    def _worker(self, *words: str) -> Iterator[None]:
        self._server.command_line("FLUSHALL")
        harness.copied(self._template, self._database)
        process = self._bench.start([sys.executable, str(BENCH / "jobs" / "worker.py"), *words], self._env)
        ready = wait_until(lambda: process.poll() is not None or harness.is_idle(self._database), 30)
        if not ready or process.poll() is not None:
            self._bench.complain(process)
        try:
            yield
        finally:
            self._bench.stop(process)

    def _is_drained(self) -> bool:
        with closing(sqlite3.connect(self._database, timeout=30)) as connection:
            question = "SELECT 1 FROM message_queue WHERE status IN ('collecting','waiting','running') AND name = ?"
            return connection.execute(f"{question} LIMIT 1", ("bench.noop",)).fetchone() is None


class Webhooks:
    """Signed webhooks to an API whose worker has a Redis that is more or less well."""

    def __init__(self, bench: Workbench, server: RedisServer, count: int) -> None:
        self._bench, self._server, self._count = bench, server, count
        self._port = harness.reserved_port()
        self._url = f"http://127.0.0.1:{self._port}"
        self._template, self._database = bench.home / "hooks-template.db", bench.home / "hooks.db"
        harness.install(harness.environment(self._template, self._url))
        self._requests = bench.home / "hooks.requests"
        made = webhooks(count, self._url, customers=5_000, duplicates=0.05)
        self._messages = write_requests(self._requests, made, self._port)

    def p99(self, illness: str) -> float:
        """Milliseconds; ends the bench when a message was lost or refused."""
        harness.copied(self._template, self._database)
        with self._redis(illness) as url:
            # No message is answered meanwhile: measured is the webhook, while a worker publishes wake-ups.
            env = harness.environment(
                self._database,
                self._url,
                queue_backend="bullmq",
                redis_url=url,
                quiet_seconds=120,
                max_wait_seconds=120,
            )
            worker = self._bench.start([sys.executable, str(BENCH / "jobs" / "worker.py")], env)
            with harness.serving(self._bench, env, self._port), _feeding(env):
                seen = self._wrk()
            self._bench.stop(worker, patience=25.0)
        with closing(sqlite3.connect(self._database)) as connection:
            [stored] = connection.execute("SELECT count(*) FROM messages").fetchone()
        if stored != self._messages or seen["not_200"] or seen["broken"]:
            harness.give_up(f"with Redis {illness}: {stored} of {self._messages} stored, {seen}")
        return float(seen["p99_ms"])

    @contextmanager
    def _redis(self, illness: str) -> Iterator[str]:
        match illness:
            case "stopped":
                self._server.crash()
            case "frozen":
                self._server.signal(signal.SIGSTOP)
        with _black_hole() if illness == "black hole" else contextlib.nullcontext(self._server.url) as url:
            yield url
        match illness:
            case "stopped":
                self._server.start()
            case "frozen":
                self._server.signal(signal.SIGCONT)

    def _wrk(self) -> dict[str, float]:
        words = [
            "wrk",
            "-t1",
            f"-c{CONNECTIONS}",
            "-d180s",
            "--timeout",
            "30s",
            "-s",
            str(BENCH / "outside" / "webhooks.lua"),
        ]
        words += [self._url, "--", str(self._requests), str(self._count // 10)]
        ran = subprocess.run(words, capture_output=True, text=True, timeout=360, check=True)
        seen: dict[str, float] = json.loads(ran.stdout.strip().splitlines()[-1])
        return seen


@contextmanager
def _feeding(env: dict[str, str]) -> Iterator[None]:
    """Store fifty jobs a second for which the worker publishes wake-ups, from another process."""
    script = "import asyncio; from jobs import feeder; asyncio.run(feeder.feed(50))"
    process = subprocess.Popen([sys.executable, "-c", script], env={**env, "PYTHONPATH": str(BENCH)})
    try:
        yield
    finally:
        process.terminate()
        process.wait(15)


@contextmanager
def _black_hole() -> Iterator[str]:
    """An address whose backlog is full: a connection to it is never answered, neither yes nor no."""
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(8):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(listener.getsockname())
        threading.Event().wait(0.1)
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}/0"


def main() -> None:
    given = harness.options(__doc__)
    jobs, samples, count = (1_000, 20, 2_000) if given.quick else (JOBS, math.ceil(SAMPLES / given.rounds), WEBHOOKS)
    rates: dict[str, list[float]] = {"recado": [], "bullmq": []}
    starts: list[float] = []
    waits: dict[str, list[float]] = {illness: [] for illness in ILLNESSES}
    with harness.workbench() as bench, redis() as server:
        rings, hooks = Rings(bench, server, jobs), Webhooks(bench, server, count)
        for number in range(given.rounds):
            rates["recado"].append(rings.recado())
            rates["bullmq"].append(rings.bullmq())
            starts += rings.starts(samples)
            for illness in ILLNESSES:
                waits[illness].append(hooks.p99(illness))
            said = ", ".join(f"{illness} {waits[illness][-1]:.1f}" for illness in ILLNESSES)
            progress(
                f"round {number + 1}: recado {rates['recado'][-1]:,.0f}/s, bullmq {rates['bullmq'][-1]:,.0f}/s, "
                f"start p99 {percentile(starts, 99):.1f} ms, webhook p99 {said} ms"
            )
    ratios = [ours / theirs for ours, theirs in zip(rates["recado"], rates["bullmq"], strict=True)]
    harness.show(
        f"Brokers: {jobs:,} jobs, {len(starts)} single starts, {count:,} webhooks; medians of {given.rounds} rounds",
        [
            Figure("recado over BullMQ: stored, run, done", rates["recado"], "/s"),
            Figure("BullMQ's Python client: added, run", rates["bullmq"], "/s"),
            at_least("recado / BullMQ", ratios, OF_BULLMQ, digits=2),
            Figure("enqueue to start, p50", [percentile(starts, 50)], "ms", digits=1),
            at_most("enqueue to start, p99", [percentile(starts, 99)], START_P99_MS, "ms", digits=1),
            Figure("webhook p99 with Redis up", waits["up"], "ms", digits=1),
            *(
                at_most(
                    f"webhook p99 with Redis {illness}, of that",
                    [ill / well for ill, well in zip(waits[illness], waits["up"], strict=True)],
                    P99_MORE,
                    "x",
                    digits=2,
                )
                for illness in ILLNESSES[1:]
            ),
        ],
    )


if __name__ == "__main__":
    main()
