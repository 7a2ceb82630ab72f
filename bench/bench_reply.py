"""How long after a customer's message does the answer leave?

`echo` answers, without a burst window (RECADO_QUIET_SECONDS=0), through everything that is there in production: the API
process, a worker process, and Twilio's part played by the emulator in a third. A client of ours posts signed webhooks
from many customers at a fixed pace, a fifth of what the road was measured to carry just before; each sample is the time
from just before the webhook is sent to the moment at which the emulator accepted the create of its answer.

Then the same pace again, for half a minute on a fresh database, for an owner with a dozen event endpoints that take
connections and never answer. Each is sent four events at a time, which is more than a worker may have under way for
them.

Why it is fair: nothing waits for the road. The pace is kept whatever the answers do (open loop), so a slow moment is
paid by every message that came in it. Both moments are of this machine's clock. Capacity is measured by sending a burst
as fast as 16 connections can and dividing by the time until its last answer was accepted.

How to read it: p50 and p99 of all samples of a round, medians over the rounds. Every message must be answered; how many
were is in the table. The last figure is p99 beside the hanging endpoints as a multiple of p99 without them, in one run.
"""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import harness
from harness import Emulator, Figure, Posting, Workbench, at_least, at_most, percentile, wall
from outside.signed import Webhook, webhook

CONNECTIONS = 16
BURST = 1_500
SECONDS = 15.0
SHARE = 0.2
P50_MS = 30.0
ENDPOINTS = 12
BESIDE = 1.5
BESIDE_SECONDS = 30.0
"""Longer than an attempt at an endpoint that hangs may take (15 to 20 s), so that the ends of them are in it."""
LONGEST_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Round:
    """One pace kept for some seconds."""

    capacity: float
    pace: float
    taken_ms: list[float]
    sent: int
    beside_ms: list[float]
    """The same, beside endpoints that hang."""
    held: int
    """How many connections these held."""

    @property
    def answered(self) -> float:
        return 100 * len(self.taken_ms) / self.sent


class Road:
    """API, worker and emulator, each in a process of its own, on a fresh database."""

    def __init__(self, bench: Workbench, *, quick: bool) -> None:
        self._bench = bench
        self._burst, self._seconds = (150, 3.0) if quick else (BURST, SECONDS)
        self._port = harness.reserved_port()
        self._url = f"http://127.0.0.1:{self._port}"
        self._number = 0

    def round(self) -> Round:
        with self._running() as emulator:
            asyncio.run(self._capacity(emulator, 100))  # Warms up: imports, connections, the compiled statements.
            capacity = asyncio.run(self._capacity(emulator, self._burst))
            pace = max(1.0, capacity * SHARE)
            sent, taken = self._taken(emulator, pace, self._seconds)
        with Hanging() as hanging, self._running([hanging.url] * ENDPOINTS) as emulator:
            asyncio.run(self._capacity(emulator, 100))
            _, beside = self._taken(emulator, pace, max(self._seconds, BESIDE_SECONDS))
        return Round(capacity, pace, taken, sent, beside, hanging.held)

    def _taken(self, emulator: Emulator, pace: float, seconds: float) -> tuple[int, list[float]]:
        """Send at the pace; how many were sent, and the milliseconds until each answer."""
        sent = asyncio.run(self._paced(pace, seconds))
        accepted = self._accepted(emulator, set(sent))
        return len(sent), [(accepted[text] - at) * 1000 for text, at in sent.items() if text in accepted]

    @contextmanager
    def _running(self, endpoints: Sequence[str] = ()) -> Iterator[Emulator]:
        database = self._bench.home / f"recado-{self._number}.db"
        with harness.emulating(self._bench) as emulator:
            env = harness.environment(database, self._url, twilio_api_url=emulator.url, quiet_seconds=0)
            harness.install(env)
            asyncio.run(_tell(env, endpoints))
            with harness.serving(self._bench, env, self._port), harness.working(self._bench, env):
                yield emulator

    async def _capacity(self, emulator: Emulator, count: int) -> float:
        """Answers a second when everything comes at once."""
        made = [self._next() for _ in range(count)]
        texts = {text for text, _ in made}
        started = wall()
        waiting = iter([each for _, each in made])

        async def send() -> None:
            async with Posting(self._port) as connection:
                for each in waiting:
                    await connection.post(each.request(self._port))

        await asyncio.gather(*(send() for _ in range(CONNECTIONS)))
        accepted = await asyncio.to_thread(self._accepted, emulator, texts)
        if len(accepted) < count:
            harness.give_up(f"only {len(accepted)} of {count} messages were answered in {LONGEST_SECONDS:g} s")
        return count / (max(accepted.values()) - started)

    async def _paced(self, pace: float, seconds: float) -> dict[str, float]:
        """Send at the pace; when each text was sent."""
        made = [self._next() for _ in range(int(pace * seconds))]
        sent: dict[str, float] = {}
        idle: asyncio.LifoQueue[Posting] = asyncio.LifoQueue()
        connections = [Posting(self._port) for _ in range(CONNECTIONS)]
        for connection in connections:
            await connection.open()
            idle.put_nowait(connection)

        async def post(text: str, each: Webhook) -> None:
            sent[text] = wall()  # Before a connection is free: waiting for one is waiting too.
            connection = await idle.get()
            try:
                await connection.post(each.request(self._port))
            except (asyncio.IncompleteReadError, ConnectionError):  # The server ends connections that idle.
                await connection.open()
                await connection.post(each.request(self._port))
            idle.put_nowait(connection)

        started, posts = time.monotonic(), []
        for number, (text, each) in enumerate(made):
            await asyncio.sleep(max(0.0, started + number / pace - time.monotonic()))
            posts.append(asyncio.create_task(post(text, each)))
        await asyncio.gather(*posts)
        for connection in connections:
            await connection.close()
        return sent

    def _next(self) -> tuple[str, Webhook]:
        self._number += 1
        text = f"pedido {self._number}"
        return text, webhook(self._number, self._number, self._url, text)

    def _accepted(self, emulator: Emulator, texts: set[str]) -> dict[str, float]:
        """When the create of each text's answer was accepted, by the emulator's own time stamp."""
        found: dict[str, float] = {}
        after, give_up_at = 0, time.monotonic() + LONGEST_SECONDS
        while len(found) < len(texts) and time.monotonic() < give_up_at:
            for message in emulator.client.messages(after, wait=2, direction="outbound-api"):
                after = max(after, message.seq)
                text = message.body.removeprefix("echo: ")
                if text in texts:
                    found.setdefault(text, message.created)
        return found


class Hanging:
    """A server that takes connections, reads, and never answers."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._taken: list[socket.socket] = []
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/"

    @property
    def held(self) -> int:
        """How many connections it has taken."""
        return len(self._taken)

    def __enter__(self) -> "Hanging":
        threading.Thread(target=self._take, daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._socket.close()
        for each in self._taken:
            each.close()

    def _take(self) -> None:
        with suppress(OSError):  # It is closed.
            while True:
                self._taken.append(self._socket.accept()[0])


async def _tell(env: dict[str, str], urls: Sequence[str]) -> None:
    """Give the owner event endpoints."""
    from recado.bootstrap import Container
    from recado.events.service import NewEndpoint
    from recado.identity.principal import operator_of
    from recado.settings import load_settings

    container = Container(settings=load_settings(env, purpose="cli"))
    [owner] = await container.owners().owners()
    for url in urls:
        await container.endpoints().add(operator_of(owner.id, "bench"), NewEndpoint(url, allow_private=True))
    await container.database().close()


def main() -> None:
    given = harness.options(__doc__)
    with harness.workbench() as bench:
        road = Road(bench, quick=given.quick)
        rounds: list[Round] = []
        for number in range(given.rounds):
            rounds.append(road.round())
            last = rounds[-1]
            harness.progress(
                f"round {number + 1}: capacity {last.capacity:.0f}/s, at {last.pace:.0f}/s "
                f"p50 {percentile(last.taken_ms, 50):.1f} ms, p99 {percentile(last.taken_ms, 99):.1f} ms"
            )
    harness.show(
        f"Reply: webhook to accepted create, medians of {given.rounds} rounds",
        [
            Figure("capacity of the whole road", [each.capacity for each in rounds], "/s"),
            Figure("pace (a fifth of it)", [each.pace for each in rounds], "/s"),
            at_most("p50", [percentile(each.taken_ms, 50) for each in rounds], P50_MS, "ms", digits=1),
            Figure("p99", [percentile(each.taken_ms, 99) for each in rounds], "ms", digits=1),
            Figure(f"p99 beside {ENDPOINTS} hanging endpoints", [_p99_beside(each) for each in rounds], "ms", digits=1),
            at_most(
                "the one as a multiple of the other",
                [_p99_beside(each) / percentile(each.taken_ms, 99) for each in rounds],
                BESIDE,
                "x",
                digits=2,
            ),
            Figure("connections that the endpoints held", [float(each.held) for each in rounds], ""),
            at_least("answered", [each.answered for each in rounds], 100, "%", digits=1),
        ],
    )


def _p99_beside(found: Round) -> float:
    return percentile(found.beside_ms, 99)


if __name__ == "__main__":
    main()
