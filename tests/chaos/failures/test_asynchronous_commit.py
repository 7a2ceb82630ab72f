"""PostgreSQL whose configuration says `synchronous_commit=off`, killed in the middle of things, again and again.

    .venv/bin/python -m pytest tests/chaos/failures/test_asynchronous_commit.py -s

Twenty times each of its processes gets a `kill -9` under webhooks: what it had not yet written of its log is lost, as
in a crash of its host. Its log is written rarely here, so that a commit that did not wait for the disk is lost surely.
"""

import asyncio
import random
from collections.abc import Iterator

import pytest
from sqlalchemy import text

from recado.channels.twilio.webhook.routes import TwilioWebhooks
from recado.core.database.postgres.database import PostgresDatabase
from recado.entrypoints.api.app import build_app
from tests.chaos.failures.hostile import Attacker, Webhook
from tests.chaos.failures.test_webhooks import ACCOUNT, NUMBER, TOKEN, furnished, post
from tests.support.servers.postgres import PostgresServer, postgres

pytestmark = pytest.mark.slow

CRASHES = 20
AT_ONCE = 8
RARELY = {"synchronous_commit": "off", "wal_writer_delay": "10s", "wal_buffers": "16MB"}


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    with postgres(durable=True, settings=RARELY) as server:
        yield server


class Load:
    """Webhooks, some at once, until the server is gone."""

    def __init__(self, front: TwilioWebhooks, attacker: Attacker) -> None:
        self._front = front
        self._attacker = attacker
        self.confirmed: list[Webhook] = []
        self.refused: list[Webhook] = []
        self.over = False

    async def line(self) -> None:
        while not self.over:
            await self.send(self._attacker.true())

    async def send(self, webhook: Webhook) -> None:
        answer = await post(self._front, webhook)
        assert answer.status in {200, 503}, answer
        (self.confirmed if answer.status == 200 else self.refused).append(webhook)


async def stored(database: PostgresDatabase) -> list[str]:
    rows = await database.read(lambda uow: uow.all(text("SELECT provider_message_id FROM messages")), owner=None)
    return sorted("SM" + bytes(row["provider_message_id"])[2:].hex() for row in rows)


async def test_loses_nothing_that_was_confirmed(server: PostgresServer) -> None:
    database, chance = PostgresDatabase(server.make()), random.Random(5)  # noqa: S311 - repeatable is the point
    container = await furnished(database)
    front = TwilioWebhooks(container.webhooks(), build_app(container), container.meters())
    server.command("CHECKPOINT")  # What was made before is not what may be lost.
    load = Load(front, Attacker(1, ACCOUNT, NUMBER, TOKEN))
    lost: set[str] = set()
    for _ in range(CRASHES):
        load.over = False
        lines = [asyncio.ensure_future(load.line()) for _ in range(AT_ONCE)]
        await asyncio.sleep(chance.uniform(0.2, 1.0))  # Any moment will do.
        await asyncio.to_thread(server.kill)
        load.over = True
        restarted = asyncio.to_thread(server.start)
        await asyncio.gather(*lines, restarted)
        there = set(await stored(database))
        lost |= {str(webhook.sid) for webhook in load.confirmed} - there
        refused, load.refused = load.refused, []
        for webhook in refused:  # As Twilio does.
            await load.send(webhook)
    there_at_last = await stored(database)
    print(f"{CRASHES} crashes: {len(load.confirmed)} confirmed, {len(lost)} of them lost")  # noqa: T201 - a result
    await database.close()
    assert lost == set()
    assert len(set(there_at_last)) == len(there_at_last), "and what was sent again is there once"
