"""`recado health`, and the file by which a worker shows that it lives."""

import asyncio
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from recado.entrypoints.health_file import STALE_SECONDS, show_life
from tests.entrypoints.cli.conftest import Recado
from tests.support.processes import Running, until


class Answer(BaseHTTPRequestHandler):
    """Answers with the status that the path names."""

    def do_GET(self) -> None:
        self.send_response(int(self.path.strip("/")))
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def serving() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class TestAServer:
    def test_that_answers_is_well(self) -> None:
        with serving() as url:
            assert Recado({}).one("health", "--url", f"{url}/200") == {"server": {"url": f"{url}/200", "status": 200}}

    def test_that_refuses_is_not(self) -> None:
        with serving() as url:
            assert Recado({}).refuses("health", "--url", f"{url}/503") == f"Error: {url}/503 answers 503\n"

    def test_that_is_not_there_is_not(self) -> None:
        assert "nothing answers at http://127.0.0.1:1/" in Recado({}).refuses("health", "--url", "http://127.0.0.1:1/")

    def test_is_asked_by_http_only(self) -> None:
        assert "--url must begin with http" in Recado({}).refuses("health", "--url", "file:///etc/passwd")


class TestAWorker:
    def test_is_well_while_its_file_is_young(self, tmp_path: Path) -> None:
        file = tmp_path / "worker"
        file.touch()
        assert Recado({}).says("health", "--worker", file) == "well\n"
        os.utime(file, (1_000_000_000, 1_000_000_000))
        assert "the worker last showed life" in Recado({}).refuses("health", "--worker", file)

    def test_without_a_file_has_not_come_up(self, tmp_path: Path) -> None:
        assert f"{tmp_path}/worker is not there" in Recado({}).refuses("health", "--worker", tmp_path / "worker")

    def test_touches_its_file(self, environment: Mapping[str, str], tmp_path: Path) -> None:
        file = tmp_path / "life"
        env = {**os.environ, **environment, "RECADO_PUBLIC_URL": "https://bot.example"}
        worker = Running("worker", ["worker", "--health-file", str(file)], env, tmp_path / "log")
        try:
            until(file.exists, said=lambda: worker.said)
        finally:
            worker.stop()
        assert Recado({}).one("health", "--worker", file).keys() == {"worker"}


class FixedSteps:
    """Maintenance whose last step was then."""

    def __init__(self, last_step: float | None) -> None:
        self.last_step = last_step


class FixedWatch:
    """A clock whose monotonic time is set."""

    def __init__(self, monotonic: float) -> None:
        self._monotonic = monotonic

    def monotonic(self) -> float:
        return self._monotonic


@pytest.mark.parametrize(("last_step", "shown"), [(None, False), (100.0, True), (100.0 - STALE_SECONDS - 1, False)])
async def test_a_worker_shows_life_only_while_its_maintenance_succeeds(
    tmp_path: Path, last_step: float | None, shown: bool
) -> None:
    showing = asyncio.create_task(show_life(tmp_path / "life", FixedSteps(last_step), FixedWatch(100.0)))
    await asyncio.wait({showing}, timeout=0.5)
    showing.cancel()
    assert (tmp_path / "life").exists() == shown
