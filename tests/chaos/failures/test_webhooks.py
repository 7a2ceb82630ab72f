"""A hundred thousand hostile webhooks through the whole server: no 5xx, no row without a signature, no memory kept."""

import asyncio
import ctypes
import gc
import resource
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from starlette.types import ASGIApp, Message

from recado.bootstrap import Container
from recado.channels.twilio.accounts import NewNumber
from recado.channels.twilio.values import AccountSid
from recado.conversation.values import Address
from recado.core.database.engine import Database
from recado.core.database.sqlite.database import SqliteDatabase
from recado.entrypoints.api.app import build_app
from recado.identity.owners import Registration
from recado.identity.principal import operator_of
from recado.settings import Settings
from tests.chaos.failures.hostile import PUBLIC, Attacker, Webhook

SEED = 20_261_122
ACCOUNT, NUMBER, TOKEN = "AC" + "7" * 32, "whatsapp:+5511900000007", "7" * 32
EXPECTED = {200, 204, 400, 403, 404, 405, 413}
AT_ONCE = 50
MEBIBYTE = 1 << 20


@pytest.fixture
async def container(database: SqliteDatabase) -> Container:
    return await furnished(database)


async def furnished(database: Database) -> Container:
    """The product over a database, with one owner who has one number."""
    settings = Settings(database_url=database.url, public_url=PUBLIC, secret_key=bytes(32))
    container = Container(settings=settings)
    container.database.override(database)
    form = Registration("Padaria", "dona@padaria.example", "pão quente às seis")
    owner_id = (await container.owners().register_organization(form)).owner_id
    await container.numbers().add(operator_of(owner_id, "test"), NewNumber(AccountSid(ACCOUNT), TOKEN, Address(NUMBER)))
    return container


@dataclass(slots=True)
class Answer:
    """What the app said."""

    status: int = 0
    body: bytes = b""


async def post(app: ASGIApp, webhook: Webhook) -> Answer:
    """What a server does with a request, without its sockets."""
    size = max(1, -(-len(webhook.body) // webhook.pieces))
    bodies = [webhook.body[at : at + size] for at in range(0, len(webhook.body), size)] or [b""]
    answer = Answer()

    async def receive() -> Message:
        return {"type": "http.request", "body": bodies.pop(0), "more_body": bool(bodies)}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
        else:
            answer.body += message["body"]

    await app(scope_of(webhook), receive, send)
    return answer


def scope_of(webhook: Webhook) -> dict[str, Any]:
    signature = [(b"x-twilio-signature", webhook.signature)] if webhook.signature else []
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": webhook.method,
        "scheme": "http",
        "path": webhook.path,
        "raw_path": webhook.path.encode(),
        "query_string": webhook.query,
        "root_path": "",
        "headers": [(b"host", b"bot.example"), *webhook.headers, *signature],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }


async def resident(container: Container) -> int:
    """Bytes of this process in memory, without the pages of the database, of which SQLite may keep 64 MB."""
    await container.database().write(lambda uow: uow.execute(text("PRAGMA shrink_memory")).close(), owner=None)
    return _resident()


def _resident() -> int:
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


async def disturb(app: ASGIApp, attacker: Attacker, count: int) -> Counter[int]:
    statuses = Counter[int]()
    for _ in range(count // AT_ONCE):
        answers = await asyncio.gather(*[post(app, attacker.next()) for _ in range(AT_ONCE)])
        statuses.update(answer.status for answer in answers)
    return statuses


@pytest.mark.parametrize("count", [2_000, pytest.param(100_000, marks=pytest.mark.slow)])
async def test_none_of_them_breaks_anything(container: Container, count: int) -> None:
    app, attacker = build_app(container), Attacker(SEED, ACCOUNT, NUMBER, TOKEN)
    statuses = await disturb(app, attacker, count // 5)
    before, began = await resident(container), time.monotonic()
    statuses += await disturb(app, attacker, count - count // 5)
    took, grown = time.monotonic() - began, await resident(container) - before
    rate = 0.8 * count / took
    figures = f"{dict(sorted(statuses.items()))}, {rate:.0f}/s, {grown / MEBIBYTE:.1f} MiB more"
    print(f"seed {SEED}: {count} webhooks, {figures}")  # noqa: T201 - the figures are a result
    assert set(statuses) <= EXPECTED, statuses
    assert grown < 16 * MEBIBYTE
    await only_what_was_signed_is_stored(container, attacker)
    assert (await post(app, attacker.true())).status == 200, "and Twilio is still heard"


async def only_what_was_signed_is_stored(container: Container, attacker: Attacker) -> None:
    """SIDs as Twilio signed them, to our number only, each with its job; what else was signed lies with the orphans."""
    sql = "SELECT provider_message_id, to_address, account_ref FROM messages"
    rows = await container.database().read(lambda uow: uow.all(text(sql)), owner=None)
    assert rows, "some of them were true"
    for row in rows:
        assert ("SM" + row["provider_message_id"][2:].hex()) in attacker.signed
        assert (row["to_address"], row["account_ref"]) == (NUMBER, b"AC" + bytes.fromhex(ACCOUNT[2:]))
    strangers = await container.orphans().list()
    assert {each.orphan.provider_message_id for each in strangers} <= attacker.signed
    report = await container.verifier().verify()
    assert (report.violations, report.accepted) == ([], len(rows))
