"""What a long queue costs: claims from a million waiting jobs, and one owner's backlog beside another's single job.

Claims: a million jobs wait, all due, each in a lane of its own: the oldest 100,000 of one owner, and the rest of 5,000
others. One caller claims 64 at a time and ends them, as a worker does. Measured are the time of each claim and the jobs
a second; then the same one job at a time, as a worker with one free place does; and both with a thousand jobs. Both
databases wait for the disk; what the filling left behind is on it before anything is measured.

Fairness: a worker with its usual 64 jobs at once and jobs of 100 ms has 100,000 of one owner waiting. Another owner
stores a single job: how long until it starts? And the same among the million: there 5,000 owners wait for their turn
and 640 jobs are done in a second; that figure has no target.

How to read it: claims in milliseconds, the rate as a ratio of the two sizes. Below are the plans of the claim's
statements at the large size: each is a search in an index, with a limit.
"""

import asyncio
import math
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import harness
from harness import BENCH, Figure, Workbench, at_least, at_most, percentile, progress

if TYPE_CHECKING:
    from recado.core.database.engine import Database
    from recado.core.database.prepared import Prepared

AT_ONCE = 64
OWNERS = 5_000
P99_MS = 10.0
OF_SMALL = 0.85
DELAY_SECONDS = 2.0
JOB_SECONDS = 0.1

_JOBS = """
INSERT INTO message_queue (id, name, payload, status, attempts, created_at, timed_at, owner_id, lane, priority, due_at,
    max_attempts, crashes, crashes_alone, faults, dispatches)
SELECT {id}, 'bench.noop', '{{}}', 'waiting', 0, {due}, {due}, {owner}, {id}, 5, {due}, 3, 0, 0, 0, 0 FROM numbers
"""
_NUMBERS = {
    "sqlite": "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {jobs})",
    "postgresql": "WITH numbers AS (SELECT n FROM generate_series(1, {jobs}) AS n)",
}
# Even ids: a job has a lane of its own, named as the job, and an odd name would make a pair of two of them.
_WORDS = {
    "sqlite": {"id": "unhex(printf('%032x', 2 * n))", "due": "n", "owner": "unhex(printf('%032x', {owner}))"},
    "postgresql": {
        "id": "lpad(to_hex(2 * n), 32, '0')::uuid",
        "due": "timestamptz 'epoch' + n * interval '1 microsecond'",
        "owner": "lpad(to_hex({owner}), 32, '0')::uuid",
    },
}
_OWNER = "CASE WHEN n <= {whale} THEN 1 ELSE 2 + n % {owners} END"
_LANES = """
INSERT INTO lanes (lane, kind, owner_id, head_job, next_due_at, next_priority, isolated)
SELECT lane, 'job', owner_id, id, due_at, 5, false FROM message_queue
"""


def fill(url: str, jobs: int, whale: int, owners: int) -> None:
    """Let jobs wait, all of them due: the whale's are the oldest."""
    dialect = "postgresql" if url.startswith("postgresql") else "sqlite"
    owner = _OWNER.format(whale=whale, owners=owners)
    words = {name: word.format(owner=owner) for name, word in _WORDS[dialect].items()}
    statements = [f"{_NUMBERS[dialect].format(jobs=jobs)} {_JOBS.format(**words)}", _LANES, "ANALYZE"]
    if dialect == "sqlite":
        statements[0] = _JOBS.format(**words).replace("INSERT", f"{_NUMBERS[dialect].format(jobs=jobs)} INSERT", 1)
        run_on_sqlite(url, statements)
        return
    statements[0] = _JOBS.format(**words).replace("INSERT", f"{_NUMBERS[dialect].format(jobs=jobs)} INSERT", 1)
    import psycopg

    with closing(psycopg.connect(url, autocommit=True)) as connection:
        for statement in [*statements, "VACUUM ANALYZE", "CHECKPOINT"]:
            connection.execute(statement.encode())


def run_on_sqlite(url: str, statements: list[str]) -> None:
    from recado.core.database.sqlite.driver import sqlite_module

    with closing(sqlite_module().connect(url.removeprefix("sqlite:///"))) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()
    os.sync()


# --- Claims -----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Drained:
    """Milliseconds of each claim, and the jobs and seconds of all."""

    claims: list[float] = field(default_factory=list)
    jobs: int = 0
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        return self.jobs / self.seconds


async def drain(database: "Database", jobs: int, seen: Drained, at_once: int = AT_ONCE) -> None:
    """Claim and end jobs until so many are done."""
    import gc

    from jobs.worker import Noop
    from recado.core.clock import SystemClock
    from recado.core.ids import UuidV7, system_chance
    from recado.core.queue.job import Done
    from recado.core.queue.service import QueueService

    clock = SystemClock()
    queue = QueueService(database, clock, UuidV7(clock, random.getrandbits), system_chance(), [Noop(None)])
    for _ in range(10):  # Warms up: connections, prepared statements, pages.
        for job in await queue.claim(1, max_isolated=4):
            await queue.finish(job, Done())
    gc.freeze()  # As every worker does.
    done, started = 0, time.perf_counter()
    while done < jobs:
        before = time.perf_counter()
        claimed = await queue.claim(at_once, max_isolated=4)
        seen.claims.append((time.perf_counter() - before) * 1000)
        if not claimed:
            break
        await asyncio.gather(*(queue.finish(job, Done()) for job in claimed))
        done += len(claimed)
    seen.jobs += done
    seen.seconds += time.perf_counter() - started
    await database.close()


# --- Plans ------------------------------------------------------------------------------------------------------------


def plans(url: str) -> list[str]:
    """How the database finds what a claim asks for."""
    from recado.core.queue.storage import claiming

    asked = {
        "page": claiming._PAGE,
        "next priority": claiming._PRIORITY,
        "walk": claiming._WALK,
        "line": claiming._OWNER_HEADS,
        "hold": claiming._HOLD,
    }
    explain = _explained_by_postgresql if url.startswith("postgresql") else _explained_by_sqlite
    if not url.startswith("postgresql"):
        del asked["hold"]
    return [f"  {name}: {queue}" for name, prepared in asked.items() for queue in explain(url, prepared)]


def _explained_by_sqlite(url: str, prepared: "Prepared") -> list[str]:
    from recado.core.database.sqlite.driver import sqlite_module

    sql = prepared.compiled("sqlite").sql
    with closing(sqlite_module().connect(url.removeprefix("sqlite:///"))) as connection:
        rows = connection.execute(f"EXPLAIN QUERY PLAN {sql}", [1] * sql.count("?")).fetchall()
    return [str(row[3]) for row in rows if "lanes" in str(row[3])]


def _explained_by_postgresql(url: str, prepared: "Prepared") -> list[str]:
    import psycopg

    sql, number = prepared.compiled("postgresql").sql, 0
    while "%s" in sql:
        number += 1
        sql = sql.replace("%s", f"${number}", 1)
    with closing(psycopg.connect(url)) as connection:
        rows = connection.execute(f"EXPLAIN (GENERIC_PLAN, COSTS OFF) {sql}".encode()).fetchall()
    return [" ".join(str(row[0]).split()) for row in rows if "lanes" in str(row[0])]


# --- Fairness ---------------------------------------------------------------------------------------------------------


def delay(bench: Workbench, url: str) -> float:
    """Seconds from storing another owner's single job to its start, while the whale's run."""
    env = harness.environment(url, "http://127.0.0.1:1")
    address = str(bench.home / "started.sock")
    Path(address).unlink(missing_ok=True)
    os.environ.update({name: value for name, value in env.items() if name.startswith("RECADO_")})
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        told.bind(address)
        told.settimeout(60)
        worker = bench.start([sys.executable, str(BENCH / "jobs" / "worker.py"), address, str(JOB_SECONDS)], env)
        try:
            for _ in range(10 * AT_ONCE):  # All the worker's places are taken by the whale's jobs.
                told.recv(64)
            return _until_it_starts(told, worker)
        finally:
            bench.stop(worker)


def _until_it_starts(told: socket.socket, worker: "subprocess.Popen[bytes]") -> float:
    import uuid

    from jobs.feeder import job
    from jobs.worker import container

    made = container()
    one = job(made, owner=uuid.UUID(int=99_999))

    async def store() -> int:
        stored = time.monotonic_ns()
        await made.queue().enqueue([one])
        await made.database().close()
        return stored

    stored = asyncio.run(store())
    while worker.poll() is None:
        started, owner = told.recv(64).split()
        if int(owner, 16) == 99_999:
            return (int(started) - stored) / 1e9
    raise SystemExit("the worker ended")


# --- The bench --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Size:
    """How many jobs wait, and how many of them are the whale's."""

    jobs: int
    whale: int
    owners: int


def measured(make: Callable[[], str], size: Size, drained: int, seen: Drained) -> str:
    from recado.bootstrap import open_database

    url = make()
    fill(url, size.jobs, size.whale, size.owners)
    asyncio.run(drain(open_database(url), drained, seen))
    return url


def one_by_one(url: str, jobs: int) -> Drained:
    """The same, a job at a time: what a worker claims that has one place free."""
    from recado.bootstrap import open_database

    seen = Drained()
    asyncio.run(drain(open_database(url), jobs, seen, at_once=1))
    return seen


@dataclass(slots=True)
class Results:
    """What was measured on one database."""

    small: Drained = field(default_factory=Drained)
    large: Drained = field(default_factory=Drained)
    ones: Drained = field(default_factory=Drained)
    in_the_crowd: float = 0.0
    late: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    scale: int
    rounds: int

    @property
    def large(self) -> Size:
        return Size(1_000_000 // self.scale, 100_000 // self.scale, OWNERS // self.scale)

    @property
    def small(self) -> Size:
        return Size(1_000, 100, 50)


def measure(bench: Workbench, name: str, make: Callable[[], str], plan: Plan) -> tuple[Results, list[str]]:
    """Measure one database. Return what was seen, and the plans of the claim's statements."""
    seen, small, large = Results(), plan.small, plan.large
    for _ in range(math.ceil(20 / plan.scale)):
        measured(make, small, 900, seen.small)
    progress(f"{name}: {small.jobs:,} waiting: {seen.small.rate:,.0f} jobs/s")
    url = measured(make, large, 20_000 // plan.scale, seen.large)
    progress(f"{name}: {large.jobs:,} waiting: {seen.large.rate:,.0f} jobs/s")
    seen.ones = one_by_one(url, 2_000 // plan.scale)
    told = [f"{name}, plans:", *plans(url)]
    seen.in_the_crowd = delay(bench, url)
    url = make()
    fill(url, large.whale, large.whale, 1)
    seen.late = [delay(bench, url) for _ in range(min(plan.rounds, 3))]
    return seen, told


def figures_of(name: str, seen: Results, small: Size, large: Size) -> list[Figure]:
    one, many = f"{name}: claim of one job, {large.jobs:,} waiting", f"{name}: claim of {AT_ONCE}"
    other = f"{name}: another's single job beside {large.whale:,} of one starts after"
    return [
        at_most(f"{one}, p99", [percentile(seen.ones.claims, 99)], P99_MS, "ms", digits=1),
        Figure(f"{many}, {large.jobs:,} waiting, p50", [percentile(seen.large.claims, 50)], "ms", digits=1),
        at_most(f"{name}: the same, p99", [percentile(seen.large.claims, 99)], P99_MS, "ms", digits=1),
        Figure(f"{many}, {small.jobs:,} waiting, p99", [percentile(seen.small.claims, 99)], "ms", digits=1),
        Figure(f"{name}: claimed and done, {small.jobs:,} waiting", [seen.small.rate], "/s"),
        Figure(f"{name}: claimed and done, {large.jobs:,} waiting", [seen.large.rate], "/s"),
        at_least(f"{name}: large / small", [seen.large.rate / seen.small.rate], OF_SMALL),
        at_most(other, seen.late, DELAY_SECONDS, "s", digits=2),
        Figure(f"{name}: the same beside {large.owners:,} owners' backlog", [seen.in_the_crowd], "s", digits=2),
    ]


def new_file(bench: Workbench, number: int) -> str:
    """Return the URL of a new SQLite database."""
    from recado.bootstrap import metadata
    from recado.migrations.runner import migrate_sqlite

    url = f"sqlite:///{bench.home / f'backlog-{number}.db'}"
    migrate_sqlite(url, metadata)
    return url


def main() -> None:
    given = harness.options(__doc__)
    plan = Plan(20 if given.quick else 1, given.rounds)
    figures: list[Figure] = []
    remarks: list[str] = [f"load average when it began: {os.getloadavg()[0]:.1f}"]
    with harness.workbench() as bench, harness.postgres() as server:
        count = iter(range(1_000))
        for name, make in (("sqlite", lambda: new_file(bench, next(count))), ("postgres", server.make)):
            seen, told = measure(bench, name, make, plan)
            remarks += told
            figures += figures_of(name, seen, plan.small, plan.large)
    remarks.append(f"load average when it ended: {os.getloadavg()[0]:.1f}")
    large = plan.large
    harness.show(
        f"Backlog: {large.jobs:,} jobs of {large.owners + 1:,} owners, {large.whale:,} of them of one",
        figures,
        remarks=remarks,
    )


if __name__ == "__main__":
    main()
