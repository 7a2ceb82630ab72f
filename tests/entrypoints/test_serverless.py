"""Hosts that run the server for one request: what the how-to tells people to write, typed as it stands there."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import httpx2
import pytest

from recado.core.errors import ConfigurationError
from recado.entrypoints.api.app import build_app
from recado.entrypoints.serverless import application, container_for
from tests.support.servers.postgres import PostgresServer

PAGE: Final = Path(__file__).parents[2] / "docs" / "how-to" / "run-on-vercel-or-cron.md"
SETTINGS: Final = {"RECADO_PUBLIC_URL": "https://recado.example", "RECADO_SECRET_KEY": "A" * 43}


def example() -> str:
    """`api/index.py` of the page."""
    [code] = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    return str(code)


def test_the_example_refuses_to_start_over_sqlite_and_names_postgresql(tmp_path: Path) -> None:
    place = {"RECADO_DATABASE_URL": f"sqlite:///{tmp_path}/recado.db"}
    ran = subprocess.run(
        [sys.executable, "-c", example()],
        env={**os.environ, **SETTINGS, **place},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode != 0
    assert "names a SQLite file, which this host would delete: use postgresql://" in ran.stderr
    assert list(tmp_path.iterdir()) == []


def test_sqlite_is_refused_where_it_is_not_named_either() -> None:
    with pytest.raises(ConfigurationError, match="use postgresql://"):
        application(SETTINGS)


async def test_over_postgresql_it_serves(postgres_server: PostgresServer) -> None:
    container = container_for("this host", {**SETTINGS, "RECADO_DATABASE_URL": postgres_server.make()})
    transport = httpx2.ASGITransport(build_app(container))
    async with httpx2.AsyncClient(transport=transport, base_url="https://recado.example") as client:
        answer = await client.get("/readyz")
    await container.database().close()
    assert (answer.status_code, answer.json()) == (200, {"status": "ready", "why": None})
