"""A database that says nothing: a webhook is answered within its time all the same, and what comes late comes once."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import closing

import pytest
from sqlalchemy import make_url, text
from starlette.types import Message

from recado.bootstrap import Container
from recado.channels.twilio.webhook.routes import TwilioWebhooks
from recado.core.database.engine import Database
from recado.core.database.postgres.database import PostgresDatabase
from recado.core.database.sqlite.database import SqliteDatabase
from recado.core.database.unit_of_work import UnitOfWork
from recado.core.errors import Busy, StorageUnavailable
from recado.core.metrics import FORBIDDEN, WEBHOOKS
from recado.entrypoints.api.app import build_app
from tests.chaos.failures.hostile import Attacker, Webhook
from tests.chaos.failures.test_webhooks import ACCOUNT, NUMBER, TOKEN, Answer, furnished, post, scope_of
from tests.support.patience import PATIENCE
from tests.support.servers.postgres import PostgresServer
from tests.support.servers.proxy import Proxy, proxied

pytestmark = pytest.mark.proof

SOON = 0.3
"""The time that a webhook has in these tests."""
BOUND = 45.0
"""Far more than any wait may take, and far less than for ever."""


@pytest.fixture
def attacker() -> Attacker:
    return Attacker(3, ACCOUNT, NUMBER, TOKEN)


@pytest.fixture
def line(postgres_url: str) -> Iterator[Proxy]:
    port = make_url(postgres_url).port
    assert port is not None
    with proxied(port) as proxy:
        yield proxy


@pytest.fixture
async def through(postgres_database: PostgresDatabase, line: Proxy) -> AsyncIterator[PostgresDatabase]:
    """The database, over a line that can go silent."""
    url = make_url(postgres_database.url).set(port=line.port)
    database = PostgresDatabase(url.render_as_string(hide_password=False), outage_seconds=1.0, answer_seconds=3.0)
    yield database
    line.answer_again()
    await database.close()


class Front:
    """What Twilio talks to."""

    def __init__(self, container: Container) -> None:
        rest = build_app(container)
        self._impatient, self._patient = [
            TwilioWebhooks(container.webhooks(), rest, container.meters(), answer_seconds=seconds)
            for seconds in (SOON, BOUND)
        ]

    async def soon(self, webhook: Webhook) -> Answer:
        """The answer of one that has little time."""
        return await post(self._impatient, webhook)

    async def takes(self, webhook: Webhook) -> bool:
        """Whether all is well, however long it takes on a busy machine."""
        return (await post(self._patient, webhook)).status == 200


async def rows_of(database: Database, sid: str | None) -> int:
    """How many messages there are with the SID."""
    assert sid is not None
    question = text("SELECT count(*) AS n FROM messages WHERE provider_message_id = :sid")
    stored = sid[:2].encode() + bytes.fromhex(sid[2:])
    rows = await database.read(lambda uow: uow.all(question, {"sid": stored}), owner=None)
    return int(rows[0]["n"])


class TestAWebhook:
    async def test_whose_commit_is_not_known_in_time_is_to_be_sent_again_and_is_there_once(
        self, through: PostgresDatabase, postgres_database: PostgresDatabase, line: Proxy, attacker: Attacker
    ) -> None:
        front = Front(await furnished(through))
        assert await front.takes(attacker.true())
        webhook = attacker.true()
        line.hold_the_answer_to(b"COMMIT")

        late = await front.soon(webhook)
        assert line.muted.is_set()
        line.answer_again()
        again = await front.takes(webhook)

        assert (late.status, late.body) == (503, b"not confirmed; send again\n")
        assert again
        assert await rows_of(postgres_database, webhook.sid) == 1

    async def test_that_is_not_begun_in_time_is_withdrawn(
        self, through: PostgresDatabase, postgres_database: PostgresDatabase, line: Proxy, attacker: Attacker
    ) -> None:
        front = Front(await furnished(through))
        assert await front.takes(attacker.true())
        line.stop_answering()
        webhooks = [attacker.true() for _ in range(40)]
        answers = await asyncio.gather(*[front.soon(webhook) for webhook in webhooks])
        assert {answer.status for answer in answers} == {503}
        line.answer_again()
        await through.write(lambda uow: uow.execute_raw("SELECT 1"), owner=None)
        assert await front.takes(webhooks[-1])
        assert await rows_of(postgres_database, webhooks[-1].sid) == 1

    async def test_is_answered_in_time_when_reading_is_what_hangs(
        self, through: PostgresDatabase, line: Proxy, attacker: Attacker
    ) -> None:
        front = Front(await furnished(through))
        line.stop_answering()
        answers = await asyncio.gather(*[front.soon(attacker.true()) for _ in range(20)])
        assert {(answer.status, answer.body) for answer in answers} == {(503, b"not confirmed; send again\n")}
        line.answer_again()
        assert await front.takes(attacker.true())

    async def test_is_answered_in_time_by_a_server_whose_processes_stand_still(
        self, postgres_server: PostgresServer, postgres_database: PostgresDatabase, attacker: Attacker
    ) -> None:
        front = Front(await furnished(postgres_database))
        assert await front.takes(attacker.true())
        webhook = attacker.true()
        with postgres_server.frozen():
            assert (await front.soon(webhook)).status == 503
        assert await front.takes(webhook)
        assert await rows_of(postgres_database, webhook.sid) == 1

    async def test_is_answered_in_time_when_another_holds_the_file(
        self, database: SqliteDatabase, attacker: Attacker
    ) -> None:
        front = Front(await furnished(database))
        webhooks = [attacker.true() for _ in range(3)]
        with closing(database.open_connection()) as other:
            other.execute("BEGIN EXCLUSIVE")
            answers = await asyncio.gather(*[front.soon(webhook) for webhook in webhooks])
            assert {answer.status for answer in answers} == {503}
            other.execute("ROLLBACK")
        assert [await front.takes(webhook) for webhook in webhooks] == [True] * 3
        assert [await rows_of(database, webhook.sid) for webhook in webhooks] == [1, 1, 1]

    async def test_that_hangs_up_in_the_middle_of_its_body_gets_no_answer_and_counts_as_no_forgery(
        self, database: SqliteDatabase, attacker: Attacker
    ) -> None:
        container = await furnished(database)
        app = TwilioWebhooks(container.webhooks(), build_app(container), container.meters())
        webhook = attacker.true()
        pieces: list[Message] = [
            {"type": "http.request", "body": webhook.body[:20], "more_body": True},
            {"type": "http.disconnect"},
        ]
        sent: list[Message] = []

        async def receive() -> Message:
            return pieces.pop(0)

        async def send(message: Message) -> None:
            sent.append(message)

        await app(scope_of(webhook), receive, send)
        assert (sent, pieces) == ([], [])
        assert container.meters().counted()[WEBHOOKS] == {("messages", "499"): 1.0}
        assert sum(container.meters().counted()[FORBIDDEN].values()) == 0

    async def test_whose_body_never_ends_is_answered_in_time(
        self, database: SqliteDatabase, attacker: Attacker
    ) -> None:
        container = await furnished(database)
        app = TwilioWebhooks(container.webhooks(), build_app(container), container.meters(), answer_seconds=SOON)
        sent: list[Message] = []

        async def receive() -> Message:
            await asyncio.Event().wait()
            raise AssertionError("nothing ever comes")

        async def send(message: Message) -> None:
            sent.append(message)

        async with asyncio.timeout(BOUND):
            await app(scope_of(attacker.true()), receive, send)
        assert sent[0]["status"] == 503

    async def test_that_came_after_another_has_an_end_of_its_own(
        self, database: SqliteDatabase, attacker: Attacker
    ) -> None:
        """One timer serves all: when one is over, the next is still to come."""
        app = Front(await furnished(database))
        with closing(database.open_connection()) as other:
            other.execute("BEGIN EXCLUSIVE")
            early = asyncio.ensure_future(app.soon(attacker.true()))
            await asyncio.sleep(SOON / 2)  # Not at once; how much later does not matter.
            late = asyncio.ensure_future(app.soon(attacker.true()))
            async with asyncio.timeout(BOUND):
                assert [(await early).status, (await late).status] == [503, 503]
            other.execute("ROLLBACK")


class TestWhatIsWithdrawn:
    async def test_is_never_run(self, database: SqliteDatabase) -> None:
        runs: list[str] = []

        def run(_uow: UnitOfWork, names: Sequence[str]) -> Sequence[str]:
            runs.extend(names)
            return names

        begun, may_end = threading.Event(), threading.Event()

        def keeps_the_writer_busy(_uow: UnitOfWork) -> None:
            begun.set()
            assert may_end.wait(PATIENCE)
            runs.append("first")

        first = asyncio.ensure_future(database.write(keeps_the_writer_busy, owner=None))
        assert await asyncio.to_thread(begun.wait, PATIENCE)
        gone = asyncio.ensure_future(database.batched(run, refusable=True)("gone"))
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        may_end.set()
        await first
        await database.write(lambda _: runs.append("last"), owner=None)
        assert runs == ["first", "last"]


class TestASilentServer:
    async def test_gives_threads_back_and_lets_the_database_be_closed(
        self, through: PostgresDatabase, line: Proxy
    ) -> None:
        await through.write(lambda uow: uow.execute_raw("SELECT 1"), owner=None)
        await through.read(lambda uow: uow.execute_raw("SELECT 1"), owner=None)
        line.stop_answering()
        asked = [through.write(lambda uow: uow.execute_raw("SELECT 1"), owner=None) for _ in range(20)]
        asked += [through.read(lambda uow: uow.execute_raw("SELECT 1"), owner=None) for _ in range(40)]
        heartbeat = through.write_from_thread(lambda uow: uow.execute_raw("SELECT 1"))
        async with asyncio.timeout(BOUND):
            answers = await asyncio.gather(*asked, return_exceptions=True)
            await asyncio.gather(asyncio.wrap_future(heartbeat), return_exceptions=True)
            assert all(isinstance(answer, StorageUnavailable | Busy) for answer in answers)
            assert "cannot be reached" in str(through.last_failure)
            await through.close()

    async def test_is_noticed_by_who_asks_for_the_time(self, through: PostgresDatabase, line: Proxy) -> None:
        line.stop_answering()
        with pytest.raises(StorageUnavailable):
            await asyncio.to_thread(lambda: through.clock)


async def test_a_file_that_another_holds_is_given_up_by_all_who_wait_at_once(database: SqliteDatabase) -> None:
    """Those who wait behind the first do not wait from the start: that would be twenty times as long for the last."""
    impatient = SqliteDatabase(database.url, lock_seconds=2.0)
    with closing(database.open_connection()) as other:
        other.execute("BEGIN EXCLUSIVE")
        first = asyncio.ensure_future(impatient.write(lambda uow: uow.execute_raw("SELECT 1"), owner=None))
        await asyncio.sleep(0)
        asked = [impatient.write(lambda uow: uow.execute_raw("SELECT 1"), owner=None) for _ in range(30)]
        async with asyncio.timeout(BOUND):
            answers = await asyncio.gather(first, *asked, return_exceptions=True)
        other.execute("ROLLBACK")
    assert all(isinstance(answer, Busy) for answer in answers)
    await impatient.close()
