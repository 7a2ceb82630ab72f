"""How soon does a thousand listeners hear what happened, and does one that reconnects miss anything?

A server alone, with SQLite and then with PostgreSQL. A thousand programs listen to `/api/v1/events/stream` of one
owner, each over a connection of its own. This process stores events as a worker would, one transaction each, and notes
when each commit was confirmed; the time from there until a listener has read the event is a sample, a thousand of them
an event. One more listener leaves and comes again a hundred times meanwhile, with the id of its last event.

The listeners live in this process, on the other half of a two-core machine: what they cost is in the figures.

How to read it: p99 of all samples with the bar of 500 ms, and the number of listeners that missed an event or had one
twice, which must be 0.
"""

import asyncio
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import harness
from harness import Figure, Workbench, at_most, percentile, progress

if TYPE_CHECKING:
    from recado.bootstrap import Container
    from recado.core.database.unit_of_work import UnitOfWork
    from recado.core.event_log.models import NewEvent

LISTENERS = 1_000
SECONDS = 20
PER_SECOND = 5
RECONNECTIONS = 100
P99_MS = 500.0


@dataclass(slots=True)
class Heard:
    """What was stored and when, and what each listener has read and when."""

    stored: dict[str, float] = field(default_factory=dict)
    read: dict[str, list[float]] = field(default_factory=dict)
    by_listener: list[list[str]] = field(default_factory=list)

    def samples(self) -> list[float]:
        """Return milliseconds from the commit to a listener."""
        return [(at - self.stored[id_]) * 1_000 for id_, times in self.read.items() for at in times]


class Listener:
    """One connection to the stream."""

    def __init__(self, port: int, key: str, after: str | None = None) -> None:
        self._port, self._key, self._after = port, key, after

    async def __aenter__(self) -> "Listener":
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        last = f"Last-Event-ID: {self._after}\r\n" if self._after else ""
        head = f"GET /api/v1/events/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self._key}\r\n{last}\r\n"
        self._writer.write(head.encode())
        answer = await self._reader.readuntil(b"\r\n\r\n")
        assert b" 200 " in answer.split(b"\r\n")[0], answer
        await self._reader.readuntil(b"retry: 1000\n\n")
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._writer.close()

    async def next(self) -> str:
        """Return the id of the next event."""
        while True:
            line = await self._reader.readline()
            if line.startswith(b"id: "):
                return line[4:].strip().decode()


async def listen(port: int, key: str, heard: Heard, ready: asyncio.Semaphore) -> None:
    mine: list[str] = []
    heard.by_listener.append(mine)
    async with Listener(port, key) as listener:
        ready.release()
        while True:
            id_ = await listener.next()
            heard.read.setdefault(id_, []).append(time.perf_counter())
            mine.append(id_)


async def come_and_go(port: int, key: str, first: str, count: int) -> list[str]:
    """Return what somebody read who was gone between each few events."""
    had, each = [first], max(1, count // RECONNECTIONS)
    while len(had) <= count:
        async with Listener(port, key, had[-1]) as listener:
            had += [await listener.next() for _ in range(min(each, count + 1 - len(had)))]
    return had


def _append(uow: "UnitOfWork", event: "NewEvent") -> None:
    from recado.core.event_log.repository import append

    append(uow, [event])


async def happen(container: "Container", owner_id: UUID, heard: Heard, count: int) -> None:
    from recado.core.event_log.models import NewEvent
    from recado.core.queue.lane import job_lane

    ids, clock, database = container.ids(), container.clock(), container.database()
    for _ in range(count):
        id_ = ids.new()
        event = NewEvent(id_, owner_id, "message.received", job_lane(id_), clock.now(), data={"message_id": str(id_)})
        await database.write(partial(_append, event=event), owner=None)
        heard.stored[str(id_)] = time.perf_counter()
        await asyncio.sleep(1 / PER_SECOND)


async def measured(env: dict[str, str], port: int, listeners: int, count: int) -> tuple[Heard, list[str], int]:
    from recado.bootstrap import Container
    from recado.identity.access.api_keys import NewKey
    from recado.identity.principal import operator_of
    from recado.settings import load_settings

    container = Container(settings=load_settings(env, purpose="serve"))
    container.event_publisher().start()
    [owner] = await container.owners().owners()
    created = await container.api_keys().create(operator_of(owner.id, "bench"), NewKey("bench", ["events.read"]))
    heard, ready = Heard(), asyncio.Semaphore(0)
    await happen(container, owner.id, heard, 1)
    [first] = heard.stored
    key = created.text
    tasks = []
    for _ in range(listeners):
        tasks.append(asyncio.create_task(listen(port, key, heard, ready)))
        await ready.acquire()
    going = asyncio.create_task(come_and_go(port, key, first, count))
    await happen(container, owner.id, heard, count)
    had = await asyncio.wait_for(going, 60)
    await asyncio.sleep(2)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await container.event_publisher().aclose()
    await container.database().close()
    del heard.stored[first]
    expected = list(heard.stored)
    missed = sum(mine != expected for mine in heard.by_listener) + (had != [first, *expected])
    return heard, had, missed


def measure(bench: Workbench, name: str, database: Path | str, *, listeners: int, count: int) -> list[Figure]:
    port = harness.reserved_port()
    env = harness.environment(database, f"http://127.0.0.1:{port}")
    harness.install(env)
    progress(f"{name}: {listeners} listeners, {count} events")
    with harness.serving(bench, env, port):
        heard, _, missed = asyncio.run(measured(env, port, listeners, count))
    samples = heard.samples()
    return [
        at_most(f"{name}: p99 from commit to listener", [percentile(samples, 99)], P99_MS, "ms"),
        at_most(f"{name}: median", [percentile(samples, 50)], P99_MS, "ms"),
        at_most(f"{name}: listeners that missed or repeated something", [float(missed)], 0, ""),
    ]


def main() -> None:
    options = harness.options(__doc__)
    listeners, count = (50, 30) if options.quick else (LISTENERS, SECONDS * PER_SECOND)
    with harness.workbench() as bench:
        figures = measure(bench, "sqlite", bench.home / "recado.db", listeners=listeners, count=count)
        with harness.postgres() as server:
            figures += measure(bench, "postgres", server.make(empty=True), listeners=listeners, count=count)
    harness.show("Events to a thousand listeners", figures)


if __name__ == "__main__":
    main()
