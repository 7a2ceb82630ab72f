"""pgqueuer over asyncpg: a producer and a worker. It runs in an environment of its own (requirements/rivals.txt).

    python bench/rivals/pgqueuer_queue.py produce DATABASE_URL COUNT CALLERS CONNECTIONS FILE
    python bench/rivals/pgqueuer_queue.py consume DATABASE_URL BATCH_SIZE FILE

Set up as its own guide to performance says: `pgq autovac`'s settings, a pool for the callers, one connection for the
worker, uvloop as `pgq run` has it; and durable, as by default: all its tables are logged. The producer makes
FILE.started when it begins and FILE.stored after the last job, the worker FILE.ready when its tables are there.
"""

import asyncio
import sys
from pathlib import Path

import asyncpg
import uvloop
from pgqueuer import AsyncpgPoolDriver, PgQueuer, Queries
from pgqueuer.models import Job

NAME = "noop"


async def produce(url: str, count: int, callers: int, connections: int, file: Path) -> None:
    async with asyncpg.create_pool(url, min_size=connections, max_size=connections) as pool:
        queries, numbers = Queries(AsyncpgPoolDriver(pool)), iter(range(count))

        async def call() -> None:
            for _ in numbers:
                await queries.enqueue(NAME, None)

        file.with_suffix(".started").touch()
        await asyncio.gather(*(call() for _ in range(callers)))
        file.with_suffix(".stored").touch()


async def consume(url: str, batch_size: int, file: Path) -> None:
    connection = await asyncpg.connect(url)
    queries = Queries.from_asyncpg_connection(connection)
    await queries.install()
    await queries.optimize_autovacuum()
    worker = PgQueuer.from_asyncpg_connection(connection)

    @worker.entrypoint(NAME)
    async def noop(_job: Job) -> None:
        """Nothing."""

    file.with_suffix(".ready").touch()
    await worker.run(batch_size=batch_size)


if __name__ == "__main__":
    _, role, database, *numbers, name = sys.argv
    uvloop.run({"produce": produce, "consume": consume}[role](database, *map(int, numbers), Path(name)))
