"""How fast is the product on PostgreSQL: jobs through the queue, the start of a single one, and webhooks.

The server is the tests' own, as it comes, and it waits for the disk (fsync, synchronous_commit, full pages).
Contestants take turns; each has a new database and begins after a checkpoint.

Throughput: 20,000 jobs that do nothing, from the first enqueue to the last one marked done in the tables, the consumer
alive in another process all the time. 64 callers at once store one job a call, and each waits until it is durable.

  recado         a call is a row of `message_queue` and one of `lanes`; callers share the commits of four connections.
                 Its worker, 64 jobs at a time, claims each (both rows change, with a lease) and ends it (one changes,
                 one goes) in commits that are shared too. The finished row stays
  pgqueuer       asyncpg. A call is a transaction: a row of `pgqueuer`, one of `pgqueuer_log`, a notification. Its
                 worker takes up to 64 in one statement and ends them in another, when 64 are done or after 0.1 s: the
                 rows go, a line of the log stays for each. What is done but not ended runs again after a crash
  procrastinate  psycopg. A call is a transaction: a row of `procrastinate_jobs`, a line of `procrastinate_events`, two
                 notifications. Its worker takes each job and ends each job in a transaction, with an event: two more.
                 The finished row stays, as by default

Why it is fair: all three keep every job and every change of it in logged tables, in two processes beside the server.
The others run on uvloop, recado on asyncio's own loop. pgqueuer is set up as its guide to performance says: a pool for
the callers, a connection of its own for the worker, `pgq autovac`'s settings; its worker takes on any number at a time.
Sizes are the best of those tried on two cores: 4 to 64 connections for the callers, batches of 10 to 1,000 for pgqueuer
(8 and 64; between 8 and 64 connections and 32 and 256 jobs it made no difference that could be told), 2 to 64 jobs at a
time, with as many connections, for procrastinate's worker (8 and 8: at least twice as fast as 64 and 64). After a run
the tables must hold every job as done, once. Jobs share no lane here, and no lock, as procrastinate calls it.

Latency: one job at a time to an idle worker in another process, as in `bench_queue.py`.

Webhooks: as in `bench_webhooks.py`, with the same requests, the same checks and the same bare server; the rows are
counted in PostgreSQL, which shares the cores with the product. The bare server has them to itself.

How to read it: the ratios. pgqueuer comes from requirements/rivals.txt, into an environment that is made for the run.
"""

import asyncio
import math
import os
import shutil
import socket
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import harness
from bench_webhooks import CONNECTIONS, Contest, Round
from harness import BENCH, Figure, Workbench, at_least, at_most, percentile, progress, wait_until

if TYPE_CHECKING:
    import psycopg
    from tests.support.servers.postgres import PostgresServer

JOBS = 20_000
CALLERS = 64
SAMPLES = 500
LONGEST_SECONDS = 300.0
OF_PGQUEUER = 0.5
OF_PROCRASTINATE = 5.0
OF_BARE = 0.5
START_P99_MS = 50.0
PGQUEUER_CONNECTIONS = 8
PGQUEUER_BATCH = 64
PROCRASTINATE_CONNECTIONS = 8
PROCRASTINATE_CONCURRENCY = 8
NOWHERE = "http://127.0.0.1:1"
LOCKED = BENCH.parent / "requirements" / "rivals.txt"


# --- Databases --------------------------------------------------------------------------------------------------------


@contextmanager
def fresh(server: "PostgresServer", *, empty: bool = False) -> Iterator[str]:
    """The URL of a database for one contestant; dropped afterwards, so that it is not vacuumed in another's time."""
    url = server.make(empty=empty)
    server.command("CHECKPOINT")
    try:
        yield url
    finally:
        server.command(f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE)")


def asking(url: str) -> "closing[psycopg.Connection[tuple[int]]]":
    """A connection to look at what is stored."""
    import psycopg

    return closing(psycopg.connect(url, autocommit=True))


def count(asked: "psycopg.Connection[tuple[int]]", rows: str) -> int:
    """How many `rows` there are; the words that follow FROM."""
    [[number]] = asked.execute(f"SELECT count(*) FROM {rows}".encode()).fetchall()
    return number


def python_of_rivals(bench: Workbench) -> str:
    """The Python of an environment with pgqueuer in it, made for this run."""
    home = bench.home / "rivals"
    python = str(home / "bin" / "python")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
    for words in ([sys.executable, "-m", "venv", str(home)], [*pip, "-r", str(LOCKED)]):
        made = subprocess.run(words, capture_output=True, text=True, check=False)
        if made.returncode:
            last = (made.stderr or made.stdout).strip().rpartition("\n")[2]
            harness.give_up(f"pgqueuer could not be installed from requirements/{LOCKED.name}: {last}")
    return python


# --- Queues -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rows:
    """Where a queue keeps its jobs: those still to be done, and those done."""

    still: str
    done: str


RECADO = Rows(
    "message_queue WHERE status IN ('collecting', 'waiting', 'running') AND name = 'bench.noop'",
    "message_queue WHERE status = 'done' AND name = 'bench.noop'",
)
PGQUEUER = Rows("pgqueuer", "pgqueuer_log WHERE status = 'successful'")
PROCRASTINATE = Rows(
    "procrastinate_jobs WHERE status IN ('todo', 'doing')", "procrastinate_jobs WHERE status = 'succeeded'"
)


class Queues:
    """The three queues, each on a database of its own every round."""

    def __init__(self, bench: Workbench, server: "PostgresServer", jobs: int) -> None:
        self._bench, self._server, self._jobs = bench, server, jobs
        self._python = python_of_rivals(bench)

    def recado(self) -> float:
        """Jobs a second."""
        from jobs.feeder import store_all

        with fresh(self._server) as url, self._worker(url):
            started = time.monotonic()
            asyncio.run(store_all(self._jobs, CALLERS))
            return self._rate(url, RECADO, started)

    def pgqueuer(self) -> float:
        """Jobs a second."""
        with fresh(self._server, empty=True) as url:
            words = [self._python, str(BENCH / "rivals" / "pgqueuer_queue.py")]
            return self._rival(url, PGQUEUER, words, PGQUEUER_CONNECTIONS, PGQUEUER_BATCH)

    def procrastinate(self) -> float:
        """Jobs a second."""
        with fresh(self._server, empty=True) as url:
            words = [sys.executable, str(BENCH / "rivals" / "procrastinate_queue.py")]
            return self._rival(url, PROCRASTINATE, words, PROCRASTINATE_CONNECTIONS, PROCRASTINATE_CONCURRENCY)

    def starts(self, samples: int) -> list[float]:
        """Milliseconds from storing a job to its start in an idle worker."""
        from jobs.feeder import one_by_one

        address = str(self._bench.home / "started.sock")
        Path(address).unlink(missing_ok=True)
        with (
            fresh(self._server) as url,
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told,
            self._worker(url, address),
        ):
            told.bind(address)
            told.settimeout(30)
            return asyncio.run(one_by_one(told, samples))

    @contextmanager
    def _worker(self, url: str, *words: str) -> Iterator[None]:
        env = harness.environment(url, NOWHERE)
        os.environ.update({name: value for name, value in env.items() if name.startswith("RECADO_")})
        process = self._bench.start([sys.executable, str(BENCH / "jobs" / "worker.py"), *words], env)
        try:
            with asking(url) as asked:
                wait_until(lambda: process.poll() is not None or count(asked, "cron_slots") > 0, 30)
                if process.poll() is not None or not count(asked, "cron_slots"):
                    self._bench.complain(process)
            yield
        finally:
            self._bench.stop(process)

    def _rival(self, url: str, rows: Rows, words: list[str], connections: int, at_once: int) -> float:
        file = self._bench.home / "rival"
        for path in self._bench.home.glob("rival.*"):
            path.unlink()
        consumer = self._bench.start([*words, "consume", url, str(at_once), str(file)], os.environ)
        self._await(file.with_suffix(".ready"), consumer)
        numbers = map(str, (self._jobs, CALLERS, connections))
        producer = self._bench.start([*words, "produce", url, *numbers, str(file)], os.environ)
        self._await(file.with_suffix(".started"), producer)
        started = time.monotonic()
        self._await(file.with_suffix(".stored"), producer)
        rate = self._rate(url, rows, started)
        self._bench.stop(producer)
        self._bench.stop(consumer)
        return rate

    def _await(self, file: Path, process: "subprocess.Popen[bytes]") -> None:
        wait_until(lambda: file.exists() or process.poll() is not None, LONGEST_SECONDS, pause=0.001)
        if not file.exists():
            self._bench.complain(process)

    def _rate(self, url: str, rows: Rows, started: float) -> float:
        """Wait for the last one; then each must have been done once."""
        with asking(url) as asked:
            one = f"(SELECT FROM {rows.still} LIMIT 1) AS one"
            if not wait_until(lambda: not count(asked, one), LONGEST_SECONDS, pause=0.02):
                harness.give_up(f"{self._jobs} jobs were not done within {LONGEST_SECONDS:g} seconds")
            seconds = time.monotonic() - started
            done = count(asked, rows.done)
        if done != self._jobs:
            harness.give_up(f"{done} of {self._jobs} jobs were done ({rows.done})")
        return self._jobs / seconds


# --- Webhooks ---------------------------------------------------------------------------------------------------------


class Ingest(Contest):
    """`bench_webhooks.py` with the product on PostgreSQL."""

    def __init__(self, bench: Workbench, server: "PostgresServer", *, quick: bool) -> None:
        super().__init__(bench, quick=quick)
        self._server = server

    def recado(self) -> Round:
        with fresh(self._server, empty=True) as url:
            env = harness.environment(url, self._url)
            harness.install(env)
            with harness.serving(self._bench, env, self._port):
                seen = self._wrk(self._many)
            with asking(url) as asked:
                return self._judged(seen, lost=self._many.messages - count(asked, "messages"))


# --- The bench --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Seen:
    """What was measured: jobs a second, milliseconds to a start, and the rounds of webhooks."""

    rates: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    starts: list[float] = field(default_factory=list)
    hooks: dict[str, list[Round]] = field(default_factory=lambda: defaultdict(list))


def take(seen: Seen, queues: Queues, ingest: Ingest, samples: int) -> None:
    """One round of everything."""
    number = len(seen.rates["recado"]) + 1
    for name, run in (
        ("recado", queues.recado),
        ("pgqueuer", queues.pgqueuer),
        ("procrastinate", queues.procrastinate),
    ):
        seen.rates[name].append(run())
        progress(f"round {number}: {name} {seen.rates[name][-1]:,.0f} jobs/s")
    seen.starts.extend(queues.starts(samples))
    progress(f"round {number}: start p50 {percentile(seen.starts, 50):.1f} ms")
    for name, serve in (("recado", ingest.recado), ("bare", ingest.bare), ("wrk", ingest.wrk_itself)):
        seen.hooks[name].append(serve())
        progress(f"round {number}: {name} {seen.hooks[name][-1].rate:,.0f} webhooks/s")


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    return [one / other for one, other in zip(ours, theirs, strict=True)]


def figures_of_queues(rates: dict[str, list[float]], starts: list[float]) -> list[Figure]:
    return [
        Figure("recado: stored, run, done", rates["recado"], "/s"),
        Figure("pgqueuer: stored, run, done", rates["pgqueuer"], "/s"),
        Figure("procrastinate: stored, run, done", rates["procrastinate"], "/s"),
        at_least("recado / pgqueuer", ratios(rates["recado"], rates["pgqueuer"]), OF_PGQUEUER),
        at_least("recado / procrastinate", ratios(rates["recado"], rates["procrastinate"]), OF_PROCRASTINATE, digits=1),
        Figure("recado: enqueue to start, p50", [percentile(starts, 50)], "ms", digits=1),
        at_most("recado: enqueue to start, p99", [percentile(starts, 99)], START_P99_MS, "ms", digits=1),
    ]


def figures_of_webhooks(hooks: dict[str, list[Round]]) -> list[Figure]:
    rates = {name: [each.rate for each in rounds] for name, rounds in hooks.items()}
    ours = hooks["recado"]
    return [
        Figure("recado: durable webhooks", rates["recado"], "/s"),
        Figure("bare: checks and stores nothing", rates["bare"], "/s"),
        at_least("recado / bare", ratios(rates["recado"], rates["bare"]), OF_BARE),
        Figure("recado: time to the 200, p50", [each.p50_ms for each in ours], "ms", digits=1),
        Figure("recado: time to the 200, p99", [each.p99_ms for each in ours], "ms", digits=1),
        Figure("wrk's own limit (at least)", rates["wrk"], "/s"),
        at_most("recado: messages lost or doubled", [sum(abs(each.lost) for each in ours)], 0, ""),
        at_most("recado: answers that were no 200", [sum(each.refused for each in ours)], 0, ""),
    ]


def main() -> None:
    given = harness.options(__doc__)
    if shutil.which("wrk") is None:
        harness.give_up("wrk is not installed: apt install wrk")
    jobs, samples = (1_000, 20) if given.quick else (JOBS, math.ceil(SAMPLES / given.rounds))
    seen, loads = Seen(), [os.getloadavg()[0]]
    with harness.workbench() as bench, harness.postgres() as server:
        ingest, queues = Ingest(bench, server, quick=given.quick), Queues(bench, server, jobs)
        for _ in range(given.rounds):
            take(seen, queues, ingest, samples)
            loads.append(os.getloadavg()[0])
    harness.show(
        f"PostgreSQL: {jobs:,} jobs, {len(seen.starts)} single starts, webhooks at {CONNECTIONS} connections; "
        f"medians of {given.rounds} rounds",
        [*figures_of_queues(seen.rates, seen.starts), *figures_of_webhooks(seen.hooks)],
        remarks=[f"load average before, and after each round: {', '.join(f'{load:.1f}' for load in loads)}"],
    )


if __name__ == "__main__":
    main()
