"""procrastinate over psycopg: a producer and a worker.

    python bench/rivals/procrastinate_queue.py produce DATABASE_URL COUNT CALLERS CONNECTIONS FILE
    python bench/rivals/procrastinate_queue.py consume DATABASE_URL CONCURRENCY FILE

The producer makes FILE.started when it begins and FILE.stored after the last job, the worker FILE.ready when its tables
are there. Finished jobs stay in its table, as by default.
"""

import asyncio
import sys
from pathlib import Path

import uvloop
from procrastinate import App, PsycopgConnector


def app(url: str, connections: int) -> App:
    made = App(connector=PsycopgConnector(conninfo=url, min_size=connections, max_size=connections))

    @made.task(name="noop")
    async def noop() -> None:
        """Nothing."""

    return made


async def produce(url: str, count: int, callers: int, connections: int, file: Path) -> None:
    async with app(url, connections).open_async() as opened:
        noop, numbers = opened.tasks["noop"], iter(range(count))

        async def call() -> None:
            for _ in numbers:
                await noop.defer_async()

        file.with_suffix(".started").touch()
        await asyncio.gather(*(call() for _ in range(callers)))
        file.with_suffix(".stored").touch()


async def consume(url: str, concurrency: int, file: Path) -> None:
    async with app(url, concurrency).open_async() as opened:
        await opened.schema_manager.apply_schema_async()
        file.with_suffix(".ready").touch()
        await opened.run_worker_async(concurrency=concurrency)


if __name__ == "__main__":
    _, role, database, *numbers, name = sys.argv
    uvloop.run({"produce": produce, "consume": consume}[role](database, *map(int, numbers), Path(name)))
