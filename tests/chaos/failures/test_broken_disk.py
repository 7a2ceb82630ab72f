"""A disk that answers EIO: whatever cannot be stored is refused, and all is well again as soon as the disk is.

`strace` lays the error into the system calls of a process that runs (`-e inject`), and takes it away when it lets go.
"""

import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from recado.core.database.sqlite.driver import sqlite_module
from tests.end_to_end.webhooks import Hook, post
from tests.support.patience import PATIENCE
from tests.support.processes import BAKERY, Road, Running, customer, until

pytestmark = pytest.mark.slow

WRITES = "pwrite64,pwritev,ftruncate"
SYNCS = "fsync,fdatasync"


@pytest.fixture
def road(tmp_path: Path) -> Iterator[Road]:
    with Road.open(tmp_path) as road:
        road.serve()
        yield road


@contextmanager
def failing(calls: str, process: Running, directory: Path) -> Iterator[None]:
    """Every one of these system calls of the process, in any of its threads, ends with EIO meanwhile."""
    strace = shutil.which("strace")
    assert strace is not None, "strace breaks the disk in this test: apt install strace"
    log = directory / "strace.log"
    words = [strace, "-f", "-e", f"trace={calls}", "-e", f"inject={calls}:error=EIO", "-p", str(process.pid)]
    with log.open("w") as stream:
        tracer = subprocess.Popen(words, stderr=stream, stdin=subprocess.DEVNULL)
        try:
            until(lambda: "attached" in log.read_text() or tracer.poll() is not None, said=log.read_text)
            assert tracer.poll() is None, f"strace may not look into another process here: {log.read_text()}"
            yield
        finally:
            tracer.send_signal(signal.SIGINT)
            tracer.wait(PATIENCE)
    assert "(INJECTED)" in log.read_text(), "no call was reached: nothing was broken"


def integrity(road: Road) -> list[tuple[str]]:
    with closing(sqlite_module().connect(road.directory / "recado.db", timeout=PATIENCE)) as connection:
        found: list[tuple[str]] = connection.execute("PRAGMA integrity_check").fetchall()
        return found


def ended_once(road: Road, count: int) -> None:
    """Each of so many customers got the one answer to the one message."""
    heard = sorted((each.to, each.body) for each in road.answers())
    assert heard == sorted((customer(n), f"echo: oi {n}") for n in range(count))
    assert integrity(road) == [("ok",)]
    assert road.verified().outcomes == {"answered": count}


@pytest.mark.parametrize("calls", [WRITES, SYNCS], ids=["writes", "syncs"])
class TestADiskThatAnswersEio:
    def test_makes_the_server_say_503_until_it_is_well(self, road: Road, calls: str) -> None:
        hooks = [Hook.of(road, BAKERY, customer(n), f"oi {n}") for n in range(30)]
        assert [post(road, hook) for hook in hooks[:10]] == [200] * 10
        with failing(calls, road.api, road.directory):
            assert [post(road, hook) for hook in hooks[10:20]] == [503] * 10
        assert [road.rows_of(hook.sid) for hook in hooks[:10]] == [1] * 10, "what was answered 200 is there"
        assert [post(road, hook) for hook in hooks[10:]] == [200] * 20, "Twilio tries again, and the disk is well"
        worker = road.worker(drain=True)
        assert worker.ends() == 0, worker.said
        ended_once(road, 30)

    def test_lets_a_worker_send_nothing_twice(self, road: Road, calls: str) -> None:
        assert post(road, Hook.of(road, BAKERY, customer(0), "oi 0")) == 200
        worker = road.worker()
        road.answers_to(customer(0))
        with failing(calls, worker, road.directory):
            for n in range(1, 20):
                assert post(road, Hook.of(road, BAKERY, customer(n), f"oi {n}")) == 200
            assert worker.lives, worker.said
        road.quiet(accepted=20)
        ended_once(road, 20)
