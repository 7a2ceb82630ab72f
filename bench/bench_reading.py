"""What do lists, searches and transcripts cost when a million messages are stored?

A `recado serve` over SQLite, and another over PostgreSQL, each with a million messages in 100,000 conversations (see
`million/rows.py`). One program with an API key asks for pages of 50, one after the other: nothing else runs. Measured
is the time from the request to the last byte of its answer, so the server's own time is a little less.

How to read it: p95 of each kind of page, with the bar of 50 ms. Then what a page in the last tenth of a list costs,
compared with one in its first tenth: the ratio of the medians should be about 1.

Filling takes minutes. `--place FOLDER` keeps the databases, and finds them there the next time.
"""

import asyncio
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import harness
from harness import Figure, Workbench, at_most, percentile, progress
from million.client import Client
from million.databases import api_keys, databases
from million.filling import Filled
from million.questions import Path, Questions

P95_MS = 50.0
OF_NEAR = 1.5
SAMPLES = 200
WARM_UP = 10


@dataclass(frozen=True, slots=True)
class Measured:
    """Milliseconds of each page, by what it was."""

    pages: Mapping[str, list[float]]
    depths: Mapping[str, tuple[list[float], list[float]]]


class Measuring:
    """One server that is asked for pages, one after the other."""

    def __init__(self, port: int, filled: Filled, keys: Iterator[str], of_small: str, samples: int) -> None:
        self._port, self._keys, self._of_small, self._samples = port, keys, of_small, samples
        self._questions = Questions(filled)

    async def all(self) -> Measured:
        asked = self._questions
        groups = {"list": asked.lists(), "search": asked.searches(), "read": asked.reads()}
        pages = {
            f"{group}: {name}": await self._ask(f"{group}: {name}", path)
            for group, paths in groups.items()
            for name, path in paths.items()
        }
        name, usual = "search: the smaller organisation, a usual word", asked.searches()["a usual word"]
        pages[name] = await self._ask(name, usual, self._of_small)
        depths = {
            name: (await self._ask(f"near: {name}", near), await self._ask(f"deep: {name}", deep))
            for name, (near, deep) in asked.depths().items()
        }
        return Measured(pages, depths)

    async def _ask(self, name: str, path: Path, key: str | None = None) -> list[float]:
        """Ask with another key each time: one key may make a hundred requests a second."""
        async with Client(self._port, key or next(self._keys)) as client:
            for _ in range(WARM_UP):
                await client.get(path())
            taken = [(await client.get(path()))[0] for _ in range(self._samples)]
        progress(f"{name}: p50 {percentile(taken, 50):.1f} ms, p95 {percentile(taken, 95):.1f} ms")
        return taken


def measured(bench: Workbench, filled: Filled, samples: int) -> Measured:
    port = harness.reserved_port()
    env = harness.environment(filled.url, f"http://127.0.0.1:{port}")
    keys, [of_small] = iter(api_keys(env, filled.owners.big, 40)), api_keys(env, filled.owners.small, 1)
    with harness.serving(bench, env, port):
        return asyncio.run(Measuring(port, filled, keys, of_small, samples).all())


def figures(name: str, found: Measured) -> list[Figure]:
    pages = {**found.pages, **{f"deep: {what}": deep for what, (_, deep) in found.depths.items()}}
    shown = [
        at_most(f"{name}: {what}, p95", [percentile(taken, 95)], P95_MS, "ms", digits=1)
        for what, taken in pages.items()
    ]
    for what, (near, deep) in found.depths.items():
        ratio = percentile(deep, 50) / percentile(near, 50)
        shown.append(at_most(f"{name}: deep / near, {what}", [ratio], OF_NEAR, "x", digits=2))
    return shown


def main() -> None:
    given = harness.options(__doc__, keeps=True)
    samples = 30 if given.quick else SAMPLES
    shown: list[Figure] = []
    messages = 0
    with harness.workbench() as bench:
        for filled in databases(bench, given):
            messages = filled.messages
            shown += figures(filled.name, measured(bench, filled, samples))
    remarks = [f"load average when it ended: {os.getloadavg()[0]:.1f}"]
    harness.show(f"A page of 50 among {messages:,} messages", shown, remarks=remarks)


if __name__ == "__main__":
    main()
