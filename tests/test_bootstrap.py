"""The container: every provider can be built, and a test can hand in its own."""

import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from recado.bootstrap import Container
from recado.core.clock import FrozenClock
from recado.core.errors import ConfigurationError
from recado.core.queue.running.worker import Worker
from recado.entrypoints.worker import close_container
from recado.settings import QueueBackend, Settings


def settings(tmp_path: Path) -> Settings:
    url = f"sqlite:///{tmp_path}/recado.db"
    return Settings(database_url=url, public_url="http://127.0.0.1:8000", secret_key=bytes(32))


@pytest.fixture
async def container(tmp_path: Path) -> AsyncIterator[Container]:
    container = Container(settings=settings(tmp_path))
    yield container
    await close_container(container)


async def test_every_provider_can_be_built(container: Container) -> None:
    built = {name: provider() for name, provider in container.providers.items()}

    assert {name for name, made in built.items() if made is None} == {"broker", "dispatcher"}
    assert isinstance(built["worker"], Worker)


@pytest.mark.parametrize("backend", ["bullmq", "sqs"])
async def test_with_a_broker_somebody_rings_it(tmp_path: Path, backend: QueueBackend) -> None:
    queue = "https://sqs.sa-east-1.amazonaws.com/123456789012/recado.fifo"
    container = Container(settings=replace(settings(tmp_path), queue_backend=backend, sqs_queue_url=queue))

    assert container.dispatcher() is not None
    assert container.delivery() is container.broker()
    await close_container(container)


async def test_everything_is_there_once(container: Container) -> None:
    assert container.queue() is container.queue()
    assert container.worker() is container.worker()


async def test_a_test_can_hand_in_its_own_clock(container: Container, clock: FrozenClock) -> None:
    with container.clock.override(clock):
        first, second = container.ids().new(), container.ids().new()

    milliseconds = int(clock.now().timestamp() * 1000)
    assert [each.int >> 80 for each in (first, second)] == [milliseconds, milliseconds]


def test_a_missing_secret_is_told_with_the_variable_that_mends_it(tmp_path: Path) -> None:
    container = Container(settings=Settings(database_url=f"sqlite:///{tmp_path}/recado.db"))

    with pytest.raises(ConfigurationError, match="RECADO_SECRET_KEY"):
        container.sealer()


def test_a_missing_public_url_is_told_with_the_variable_that_mends_it(tmp_path: Path) -> None:
    settings = Settings(database_url=f"sqlite:///{tmp_path}/recado.db", secret_key=bytes(32))

    with pytest.raises(ConfigurationError, match="RECADO_PUBLIC_URL"):
        Container(settings=settings).webhooks()


def test_a_worker_loads_no_web_framework() -> None:
    look = "import sys, recado.entrypoints.worker; print(sorted({'fastapi', 'starlette'} & set(sys.modules)))"
    seen = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert seen.stdout.strip() == "[]"


def test_a_web_framework_can_be_loaded_all_the_same() -> None:
    look = "import recado.bootstrap; from fastapi.params import Depends; from starlette.requests import Request"
    assert subprocess.run([sys.executable, "-c", look], check=False).returncode == 0
