"""A backup taken while a server and a worker are at work is restored elsewhere, and keeps every promise made before."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from recado.core.database.sqlite.driver import sqlite_module
from recado.migrations import HEAD
from tests.end_to_end.webhooks import Hook, lines
from tests.support.processes import BAKERY, Road, customer, until

BEFORE = 40
"""Messages that were answered 200 before the backup begins."""


@pytest.fixture
def road(tmp_path: Path) -> Iterator[Road]:
    with Road.open(tmp_path / "road", BAKERY) as road:
        road.serve()
        road.worker()
        yield road


@pytest.fixture(autouse=True)
def directory(tmp_path: Path) -> None:
    (tmp_path / "road").mkdir()


def test_a_backup_under_load_holds_all_that_was_confirmed_before_it(road: Road, tmp_path: Path) -> None:
    confirmed: list[str] = []
    stopping = threading.Event()
    customers = threading.Thread(target=lambda: asyncio.run(_write_until(road, stopping, confirmed)))
    customers.start()
    try:
        until(lambda: len(confirmed) >= BEFORE, said=lambda: road.said)
        before = list(confirmed)
        made = json.loads(road.command("backup", str(tmp_path / "copy.db"), "--json"))
        after = len(confirmed)
    finally:
        stopping.set()
        customers.join()

    assert after > len(before), "nobody wrote while the backup was made"
    restored = tmp_path / "elsewhere" / "recado.db"
    restored.parent.mkdir()
    (tmp_path / "copy.db").rename(restored)
    road.env["RECADO_DATABASE_URL"] = f"sqlite:///{restored}"
    assert made["schema"] == HEAD
    assert road.verified().accepted >= BEFORE
    assert set(before) <= _sids_in(restored)


async def _write_until(road: Road, stopping: threading.Event, confirmed: list[str]) -> None:
    """Five people, each of whom writes again as soon as the last message is confirmed."""

    async def one(number: int) -> None:
        async with lines(road, 1) as [line]:
            while not stopping.is_set():
                hook = Hook.of(road, BAKERY, customer(number), "oi")
                if await line.post(hook) == 200:
                    confirmed.append(hook.sid)

    await asyncio.gather(*[one(number) for number in range(5)])


def _sids_in(path: Path) -> set[str]:
    with closing(sqlite_module().connect(path)) as connection:
        found = connection.execute("SELECT provider_message_id FROM messages").fetchall()
    return {sid[:2].decode() + sid[2:].hex() for (sid,) in found}
