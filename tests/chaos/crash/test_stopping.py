"""Processes end when they are told to or their parent is gone, whatever hangs in them, and give back what they hold."""

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.support.processes import BAKERY, Road, Running, Shop, answers_at, customer, until
from tests.support.servers.ports import reserved_port
from tests.support.servers.postgres import PostgresServer
from tests.support.unruly import HANGING, HOLDS_THE_LOCK, MENDED

pytestmark = pytest.mark.proof

HANG = Shop(BAKERY.name, BAKERY.number, BAKERY.account_sid, BAKERY.token, agent="hanging")
AT_ONCE = ("--grace", "0.1")
_numbers = count()


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Road]:
    with Road.open(tmp_path_factory.mktemp("stopping"), HANG, lease_seconds=2) as road:
        road.serve()
        yield road


def hangs(road: Road, *ways: str) -> None:
    """Customers who never wrote before write, one after the other, and their runs hang."""
    for how in ways:
        road.emulator.send(customer(next(_numbers)), HANG.number, how)
        held(road, how)


def held(road: Road, *ways: str) -> None:
    """Wait until processes hang in these ways."""
    until(lambda: all(is_held(road.directory, how) for how in ways), said=lambda: road.said)


def gone(road: Road, *ways: str) -> None:
    """Wait until no process hangs in one of these ways any more."""
    until(lambda: not any(is_held(road.directory, how) for how in ways), said=lambda: road.said)


def is_held(directory: Path, how: str) -> bool:
    """Whether a process lives that left this mark."""
    path = directory / f"{how}.mark"
    if not path.exists():
        return False
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def standing(road: Road) -> list[tuple[object, ...]]:
    """The jobs of customers that are not over: what they are, what they have burnt, and who holds them."""
    return road.rows(
        "SELECT status, attempts, crashes_alone, lease_token FROM message_queue "
        "WHERE message_sid IS NOT NULL AND status <> 'done'"
    )


def test_a_worker_with_hanging_agents_ends_when_it_is_told_and_gives_their_jobs_back(road: Road) -> None:
    ways = [how for how in HANGING if how != HOLDS_THE_LOCK]
    worker = road.worker(None, *AT_ONCE)
    hangs(road, *ways)

    worker.tell()
    worker.tell()

    assert worker.ends() == 0, worker.said
    assert "recycled" not in worker.said
    assert set(standing(road)) == {("waiting", 0, 0, None)}

    (road.directory / MENDED).touch()
    road.worker(drain=True).ends()
    (road.directory / MENDED).unlink()
    assert standing(road) == []
    assert road.verified().outcomes == {"answered": road.accepted()}


def test_jobs_that_hang_alone_end_with_their_worker_and_go_back_when_it_is_told(road: Road) -> None:
    ways = ["swallows", HOLDS_THE_LOCK]
    first = road.worker()
    hangs(road, *ways)
    first.kill()
    gone(road, *ways)

    second = road.worker()
    held(road, *ways)
    second.kill()
    gone(road, *ways)

    third = road.worker(None, *AT_ONCE, drain=True)
    held(road, *ways)
    third.tell()
    assert third.ends() == 0, third.said
    gone(road, *ways)
    assert set(standing(road)) == {("waiting", 0, 0, None)}


def test_a_worker_ends_when_it_is_told_though_the_database_takes_nothing(road: Road) -> None:
    worker = road.worker(None, *AT_ONCE)
    hangs(road, "waits")

    with road.locked():
        worker.tell()
        assert worker.ends() == 0, worker.said


def test_a_worker_ends_when_it_is_told_though_postgresql_stands_still(
    road: Road, postgres_server: PostgresServer
) -> None:
    port = reserved_port()
    env = {**road.env, "RECADO_DATABASE_URL": postgres_server.make(), "RECADO_METRICS_PORT": str(port)}
    worker = Running("worker-of-postgresql", ["worker", *AT_ONCE], env, road.directory / "worker-of-postgresql.log")
    road.processes.append(worker)
    until(lambda: listens(port), said=lambda: worker.said)

    with postgres_server.frozen():
        worker.tell()
        assert worker.ends() == 0, worker.said
    assert "process.left_late" in worker.said


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


def test_a_worker_beside_a_server_ends_with_it(tmp_path: Path) -> None:
    with Road.open(tmp_path, HANG) as road:
        (road.directory / MENDED).touch()
        api = road.serve(None, "--with-worker")
        hangs(road, "oi")

        api.kill()

        gone(road, "oi")
        assert "parent_gone" in api.said


def test_the_processes_of_a_demo_end_with_it(tmp_path: Path) -> None:
    port = reserved_port()
    env = {name: text for name, text in os.environ.items() if not name.startswith("RECADO_")}
    words = [sys.executable, "-m", "recado", "demo", "--port", str(port)]
    demo = subprocess.Popen(
        words, env={**env, "TMPDIR": str(tmp_path)}, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    assert demo.stdin is not None
    with demo, demo.stdin:
        until(lambda: answers_at(port))
        demo.send_signal(signal.SIGKILL)

    until(lambda: not answers_at(port))
    logs = [next(tmp_path.glob(f"recado-demo-*/{name}.log")) for name in ("serve", "worker")]
    until(lambda: all("parent_gone" in log.read_text() for log in logs))
    shutil.rmtree(logs[0].parent)
