"""How long does a command make one wait?

  recado --help   from the start of the process to its end
  recado serve    from the start of the process until `/readyz` answers 200, on a database that exists

Why it is fair: both are started as a person would start them, their files in the system's cache, after one start that
is not counted. Beside them, a Python that does nothing: what no command can be faster than on this machine.

How to read it: wall-clock medians. They grow with whatever else the machine does; the ratio to a bare Python does less.
"""

import subprocess
import sys
import time
from collections.abc import Callable

import harness
from harness import RECADO, Figure, Workbench, answers, at_most, progress, wait_until

HELP_MS = 200.0
READY_MS = 1500.0


def milliseconds(run: Callable[[], None]) -> float:
    started = time.perf_counter()
    run()
    return (time.perf_counter() - started) * 1000


class Starts:
    """The three starts, each as a function that returns when it is over."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._port = harness.reserved_port()
        self._env = harness.environment(bench.home / "recado.db", f"http://127.0.0.1:{self._port}")
        harness.install(self._env)

    def bare_python(self) -> float:
        return milliseconds(lambda: self._run([sys.executable, "-c", ""]))

    def help(self) -> float:
        return milliseconds(lambda: self._run([*RECADO, "--help"]))

    def ready(self) -> float:
        url = f"http://127.0.0.1:{self._port}/readyz"
        started = time.perf_counter()
        process = self._bench.start([*RECADO, "serve", "--port", str(self._port)], self._env)
        try:
            if not wait_until(lambda: process.poll() is not None or answers(url), 30, pause=0.002):
                self._bench.complain(process)
            if process.poll() is not None:
                self._bench.complain(process)
            return (time.perf_counter() - started) * 1000
        finally:
            self._bench.stop(process)

    def _run(self, command: list[str]) -> None:
        subprocess.run(command, env=self._env, stdout=subprocess.DEVNULL, check=True, timeout=60)


def main() -> None:
    given = harness.options(__doc__)
    repeats = max(5, given.rounds)
    with harness.workbench() as bench:
        starts = Starts(bench)
        contestants = {"python": starts.bare_python, "help": starts.help, "ready": starts.ready}
        taken: dict[str, list[float]] = {name: [] for name in contestants}
        for run in contestants.values():
            run()
        for number in range(repeats):
            for name, run in contestants.items():
                taken[name].append(run())
            progress(f"round {number + 1}: " + ", ".join(f"{name} {times[-1]:.0f} ms" for name, times in taken.items()))
    harness.show(
        f"Start, medians of {repeats}",
        [
            Figure("a Python that does nothing", taken["python"], "ms"),
            at_most("recado --help", taken["help"], HELP_MS, "ms"),
            at_most("recado serve, ready", taken["ready"], READY_MS, "ms"),
        ],
    )


if __name__ == "__main__":
    main()
