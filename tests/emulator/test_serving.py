import asyncio
import json
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qsl

import httpx2
import pytest

from recado.emulator.app import running, serve
from recado.emulator.phone.client import EmulatorClient
from recado.emulator.settings import EmulatorSettings, Number
from recado.emulator.wire.requests import parse_form
from tests.emulator.application import Application
from tests.emulator.world import ANA, BAKERY, MESSAGES, SHOP, SID, TOKEN
from tests.support.patience import PATIENCE


async def test_lives_in_a_loop_until_it_is_cancelled() -> None:
    told: asyncio.Queue[str] = asyncio.Queue()
    serving = asyncio.create_task(serve(EmulatorSettings(accounts={SID: TOKEN}), ready=told.put_nowait))
    async with httpx2.AsyncClient(base_url=await told.get(), auth=(SID, TOKEN)) as client:
        assert (await client.get(MESSAGES)).json()["messages"] == []
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
        with pytest.raises(httpx2.TransportError):
            await client.get(MESSAGES)


def test_the_journal_has_accepted_and_delivered_messages(tmp_path: Path, application: Application) -> None:
    journal = tmp_path / "journal.jsonl"
    number = Number(BAKERY, SID, f"{application.url}/inbox")
    with running(EmulatorSettings(accounts={SID: TOKEN}, numbers=(number,), journal=journal)) as url:
        emulator = EmulatorClient(url)
        sid = emulator.send(ANA, BAKERY, "olá").sid
        assert emulator.deliveries(wait=PATIENCE)
        lines = [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]
    assert [(line["event"], line["sid"], line["status"]) for line in lines] == [
        ("inbound", sid, "received"),
        ("webhook", sid, 200),
    ]


def test_an_account_can_be_added_and_its_token_changed(emulator: EmulatorClient, http: httpx2.Client) -> None:
    other = "AC" + "7" * 32
    emulator.configure_account(other, "first")
    emulator.configure_account(other, "second")
    emulator.add_api_key(other, "SK" + "7" * 32, "key")
    path = MESSAGES.replace(SID, other)
    statuses = [http.get(path, auth=auth).status_code for auth in ((other, "first"), (other, "second"))]
    assert [*statuses, http.get(path, auth=("SK" + "7" * 32, "key")).status_code] == [401, 200, 200]


def test_what_is_new_comes_after_the_cursor(emulator: EmulatorClient) -> None:
    first = emulator.send(ANA, BAKERY, "one", account_sid=SID)
    second = emulator.send(ANA, SHOP.replace("+", "whatsapp:+"), "two", account_sid=SID)
    assert emulator.messages(first.seq) == [second]
    assert emulator.messages(second.seq) == []
    assert emulator.messages(to=BAKERY) == [first]


def test_the_client_can_be_imported_without_the_server() -> None:
    code = "import sys, recado.emulator.phone.client; print({'starlette', 'uvicorn', 'httpx2'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"set()\n"


@pytest.mark.parametrize("raw", [b"", b"a=1&b=&c", b"a=x+y%2B%20z&a=2", b"Body=Ol%C3%A1%F0%9F%91%8B&b%26=%zz%"])
def test_forms_are_read_as_the_standard_library_reads_them(raw: bytes) -> None:
    assert parse_form(raw) == parse_qsl(raw.decode(), keep_blank_values=True)
