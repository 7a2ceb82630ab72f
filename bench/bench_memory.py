"""How much memory does a worker need while 1,000 conversations wait on a slow model?

A worker process with RECADO_WORKER_CONCURRENCY=1000 and the `llm` agent, pointed at a server in another process that
speaks Chat Completions and answers nobody until it is told to. 1,000 customers write one message each; when all 1,000
requests wait at the model, the worker's memory is read from the kernel. Then the model is released, and the bench waits
until every customer's answer was accepted by the emulator.

Why it is fair: these are 1,000 real runs, each with its row, lease, connection, request and history, and the
whole library that talks to models is loaded. RSS counts shared pages fully, PSS by its share: RSS is the target.

How to read it: megabytes of one process. The idle worker before the first message is given beside it, and what one
waiting conversation costs beyond that, in which the model library (some tens of megabytes, once) is contained.
"""

import asyncio
import http.client
import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import harness
from harness import BENCH, Agent, Emulator, Figure, Posting, Serving, Workbench, at_least, at_most, progress, wait_until
from outside.signed import webhook

CONVERSATIONS = 1_000
MOST_MB = 300
CONNECTIONS = 16
WAIT_SECONDS = 240.0


@dataclass(frozen=True, slots=True)
class Round:
    """Megabytes of the worker, and how many were answered."""

    idle_mb: float
    rss_mb: float
    pss_mb: float
    threads: int
    answered: float
    seconds_to_answers: float


class SlowModel:
    """`slow_model.py` as the bench sees it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.base_url = f"http://127.0.0.1:{port}/v1"

    @property
    def waiting(self) -> int:
        return int(self._call("GET", "/waiting")["waiting"])

    def release(self) -> None:
        self._call("POST", "/release")

    def _call(self, method: str, path: str) -> dict[str, int]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        try:
            connection.request(method, path)
            answer: dict[str, int] = json.loads(connection.getresponse().read())
            return answer
        finally:
            connection.close()


class Crowd:
    """The whole product and a thousand customers."""

    def __init__(self, bench: Workbench, conversations: int) -> None:
        self._bench = bench
        self._conversations = conversations
        self._port = harness.reserved_port()
        self._url = f"http://127.0.0.1:{self._port}"
        self._number = 0

    def round(self) -> Round:
        with self._running() as (emulator, model, worker):
            idle = _memory(worker)
            asyncio.run(self._write_all())
            if not wait_until(lambda: model.waiting >= self._conversations, WAIT_SECONDS, pause=0.2):
                progress(f"only {model.waiting} of {self._conversations} conversations wait at the model")
            time.sleep(1)
            full = _memory(worker)
            model.release()
            released = time.monotonic()
            answered = self._answers(emulator)
        return Round(
            idle["Rss"],
            full["Rss"],
            full["Pss"],
            int(full["Threads"]),
            100 * answered / self._conversations,
            time.monotonic() - released,
        )

    @contextmanager
    def _running(self) -> Iterator[tuple[Emulator, SlowModel, int]]:
        self._number += 1
        model_port = harness.reserved_port()
        model = SlowModel(model_port)
        command = [*harness.PYTHON, str(BENCH / "outside" / "slow_model.py"), str(model_port)]
        with harness.emulating(self._bench) as emulator:
            database = self._bench.home / f"recado-{self._number}.db"
            env = harness.environment(
                database,
                self._url,
                twilio_api_url=emulator.url,
                quiet_seconds=0,
                worker_concurrency=self._conversations,
                agent_timeout_seconds=WAIT_SECONDS * 2,
                answer_deadline_seconds=WAIT_SECONDS * 8,
            )
            harness.install(env, Agent("llm", model="slow", base_url=model.base_url))
            with (
                Serving(self._bench, command, dict(os.environ), model_port),
                harness.serving(self._bench, env, self._port),
                harness.working(self._bench, env) as worker,
            ):
                if not wait_until(lambda: harness.is_idle(database), 60, pause=0.1):
                    self._bench.complain(worker)
                yield emulator, model, worker.pid

    async def _write_all(self) -> None:
        numbers = iter(range(1, self._conversations + 1))

        async def write() -> None:
            async with Posting(self._port) as connection:
                for number in numbers:
                    message = webhook(number, number, self._url, "Que horas vocês abrem amanhã?")
                    await connection.post(message.request(self._port))

        await asyncio.gather(*(write() for _ in range(CONNECTIONS)))

    def _answers(self, emulator: Emulator) -> int:
        """How many customers got an answer."""
        reached = set[str]()
        after, give_up_at = 0, time.monotonic() + WAIT_SECONDS
        while len(reached) < self._conversations and time.monotonic() < give_up_at:
            for message in emulator.client.messages(after, wait=2, direction="outbound-api"):
                after = max(after, message.seq)
                reached.add(message.to)
        return len(reached)


def _memory(pid: int) -> dict[str, float]:
    """Rss and Pss in megabytes, and the number of threads."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text() + Path(f"/proc/{pid}/status").read_text()
    found = dict(re.findall(r"^(Rss|Pss|Threads):\s+(\d+)", text, re.MULTILINE))
    return {name: int(value) / (1 if name == "Threads" else 1024) for name, value in found.items()}


def main() -> None:
    given = harness.options(__doc__)
    conversations = 50 if given.quick else CONVERSATIONS
    with harness.workbench() as bench:
        crowd = Crowd(bench, conversations)
        rounds: list[Round] = []
        for number in range(given.rounds):
            rounds.append(crowd.round())
            last = rounds[-1]
            progress(f"round {number + 1}: {last.rss_mb:.0f} MB, {last.answered:.0f} % answered")
    each_kb = [(one.rss_mb - one.idle_mb) * 1024 / conversations for one in rounds]
    harness.show(
        f"Memory: a worker with {conversations:,} conversations at a slow model, medians of {given.rounds} rounds",
        [
            Figure("idle worker, RSS", [one.idle_mb for one in rounds], "MB"),
            at_most("all waiting, RSS", [one.rss_mb for one in rounds], MOST_MB, "MB"),
            Figure("all waiting, PSS", [one.pss_mb for one in rounds], "MB"),
            Figure("each waiting conversation", each_kb, "KB"),
            Figure("threads", [one.threads for one in rounds], ""),
            at_least("answered after the release", [one.answered for one in rounds], 100, "%", digits=1),
            Figure("release to the last answer", [one.seconds_to_answers for one in rounds], "s", digits=1),
        ],
    )


if __name__ == "__main__":
    main()
