"""How long does a valid webhook wait while somebody attacks the server?

A `recado serve` over SQLite gets twenty signed webhooks a second, each on a connection of its own (which is the harder
case: a proxy keeps connections), and is attacked meanwhile by another process, over loopback. The attacks follow one
another on one server; the first is none at all. Measured are the time from the connection's start to the 200, for every
webhook, and the largest memory of the server during each attack.

Why it is fair: without and with attack are measured in one run on one machine by one client, whose own delay is
measured as well (how late it wakes up) and shown. The attacker takes its share of the processor, which an attacker
elsewhere would not; with two cores and three processes the figures are worse than they would be for real.

How to read it: p99 below a second is the target under every attack, and no webhook may be refused or lost.
"""

import asyncio
import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import harness
from harness import BENCH, Figure, Workbench, median, percentile, progress
from outside.attackers import ATTACKS
from outside.posting import keep_posting
from outside.signed import webhooks

PER_SECOND = 20
P99_SECONDS = 1.0
SECONDS = 15.0


@dataclass(slots=True)
class Under:
    """What was seen during one attack."""

    waits: list[float]
    refused: int
    late: float
    megabytes: float
    attacker: str


class Siege:
    """One server, and everything that is done to it."""

    def __init__(self, bench: Workbench, *, quick: bool) -> None:
        self._bench = bench
        self._port = harness.reserved_port()
        self._url = f"http://127.0.0.1:{self._port}"
        self._database = bench.home / "recado.db"
        self._env = harness.environment(self._database, self._url)
        harness.install(self._env)
        self._seconds = 4.0 if quick else SECONDS
        self._scale = 0.2 if quick else 1.0
        self._made = webhooks(1_000_000, self._url, customers=500, duplicates=0.0)

    def run(self) -> dict[str, Under]:
        seen = {}
        with harness.serving(self._bench, self._env, self._port) as server:
            asyncio.run(keep_posting(self._port, self._made, 2.0, PER_SECOND))  # Warms up.
            for name in ATTACKS:
                seen[name] = self._under(name, server)
                progress(f"{name}: p99 {percentile(seen[name].waits, 99) * 1_000:,.0f} ms; it {seen[name].attacker}")
                time.sleep(1.0)
        return seen

    def _under(self, name: str, server: "subprocess.Popen[bytes]") -> Under:
        _forget_peak(server.pid)
        command = [sys.executable, str(BENCH / "outside" / "attackers.py"), name, str(self._port)]
        command += [str(self._seconds), str(self._scale)]
        attacker = subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ, text=True)
        assert attacker.stdout is not None
        try:
            attacker.stdout.readline()
            posted = asyncio.run(keep_posting(self._port, self._made, self._seconds, PER_SECOND))
            did = attacker.stdout.readline().strip()
            attacker.wait(15)
        finally:
            attacker.kill()
            attacker.wait()
        if server.poll() is not None:
            self._bench.complain(server)
        return Under(posted.waits, posted.refused, posted.late, _peak_megabytes(server.pid), did)


def _forget_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def _peak_megabytes(pid: int) -> float:
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


def figures(rounds: list[dict[str, Under]]) -> list[Figure]:
    shown = []
    for name in ATTACKS:
        of = [each[name] for each in rounds]
        p99 = [percentile(under.waits, 99) for under in of]
        calm = [percentile(each["none"].waits, 99) for each in rounds]
        times = median([ours / theirs for ours, theirs in zip(p99, calm, strict=True)])
        p50 = median([percentile(under.waits, 50) for under in of]) * 1_000
        worst = max(max(under.waits) for under in of) * 1_000
        figure = harness.at_most(f"{name}: p99", [each * 1_000 for each in p99], P99_SECONDS * 1_000, "ms")
        shown.append(figure)
        note = f"p50 {p50:,.0f} ms, worst {worst:,.0f} ms, p99 ×{times:,.1f}"
        shown.append(Figure("  memory", [under.megabytes for under in of], "MB", note=note))
        if any(under.refused for under in of):
            shown.append(harness.at_most(f"{name}: not answered 200", [under.refused for under in of], 0, ""))
    return shown


def main() -> None:
    given = harness.options(__doc__)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    rounds = []
    number = 1 if given.quick else min(given.rounds, 3)
    for _ in range(number):
        with harness.workbench() as bench:
            rounds.append(Siege(bench, quick=given.quick).run())
    late = max(under.late for each in rounds for under in each.values()) * 1_000
    remarks = [f"the client itself was up to {late:,.0f} ms late"]
    harness.show(
        f"Valid webhooks under attack: {PER_SECOND} a second, medians of {number}", figures(rounds), remarks=remarks
    )


if __name__ == "__main__":
    main()
