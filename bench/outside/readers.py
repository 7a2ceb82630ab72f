"""Programs that read over the API: so many requests a second, over some connections that are kept open.

    readers.py PORT PER_SECOND SECONDS FILE_OF_PATHS        with the keys in BENCH_KEYS, between commas

Prints a line when it begins, and one of JSON when it has ended.
"""

import asyncio
import itertools
import json
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from million.client import Client

CONNECTIONS = 16


async def _read(clients: "asyncio.Queue[Client]", path: str, due: float, taken: list[float]) -> None:
    client = await clients.get()
    await client.get(path)
    taken.append(time.perf_counter() - due)
    clients.put_nowait(client)


async def keep_reading(port: int, keys: list[str], per_second: float, seconds: float, paths: list[str]) -> list[float]:
    """Return how long each request waited for its answer, from when it was due."""
    clients: asyncio.Queue[Client] = asyncio.Queue()
    for key in itertools.islice(itertools.cycle(keys), CONNECTIONS):
        clients.put_nowait(await Client(port, key).__aenter__())
    print("reading", flush=True)
    begun, tasks, taken = time.perf_counter(), [], list[float]()
    for number, path in zip(range(int(seconds * per_second)), itertools.cycle(paths), strict=False):
        due = begun + number / per_second
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        tasks.append(asyncio.create_task(_read(clients, path, due, taken)))
    await asyncio.gather(*tasks)
    return taken


def main() -> None:
    port, per_second, seconds, file = sys.argv[1:]
    paths = Path(file).read_text("utf-8").splitlines()
    keys = os.environ["BENCH_KEYS"].split(",")
    begun = time.perf_counter()
    taken = sorted(asyncio.run(keep_reading(int(port), keys, float(per_second), float(seconds), paths)))
    answer = {
        "answered": len(taken),
        "per_second": len(taken) / (time.perf_counter() - begun),
        "p50_ms": taken[len(taken) // 2] * 1_000,
        "p95_ms": taken[len(taken) * 95 // 100] * 1_000,
    }
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
